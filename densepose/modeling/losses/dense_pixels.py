"""Dense targets that a teacher inpainted: every cell of a map is compared, not only a few points.

Güler et al., DensePose, 2018: the teacher's I, U and V supervise the student on the whole person.

Shapes: N instances, K maps of S x S cells (a proposal each, or a whole image), Q cells of these
maps where the teacher knows something about the matched instance, G = side of the dense labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.body_parts import NUM_PARTS, UV_STEPS
from densepose.structures.chart_output import ChartOutput
from densepose.structures.dense_labels import CONFIDENCE_STEPS


@dataclass(frozen=True)
class DensePixels:
    """Q cells of small maps and what the teacher says about them."""

    instance: Tensor  # (Q,) int64 in [0, N)
    map_index: Tensor  # (Q,) int64 in [0, K)
    row: Tensor  # (Q,) int64
    column: Tensor  # (Q,) int64
    part: Tensor  # (Q,) int64, 1..24
    uv: Tensor  # (Q, 2) float32 in [0, 1]
    confidence: Tensor  # (Q,) float32 in [0, 1]


@dataclass(frozen=True)
class DenseWeights:
    """How much dense targets count; the terms are means over cells."""

    part: float = 1.0
    uv: float = 1.0
    points: float = 1.0  # factor of the losses at annotated points while dense targets are used
    confidence_power: float = 0.0  # a cell counts confidence ** power; 0: all cells alike
    part_balance: float = 0.0  # and (cells of its part of its person) ** -balance
    background: float = 0.0  # of the cells of a proposal that are not on its person


def dense_pixels(
    boxes_xyxy_px: Tensor,
    annotations: DensePoseAnnotations,
    map_of_instance: Tensor,
    size: tuple[int, int],
    upscale: int,
) -> DensePixels:
    """The cells whose centre lies on a part of the matched instance, according to the teacher.

    Args:
        boxes_xyxy_px: (K, 4) image px that the maps cover.
        annotations: of N instances; without ``dense`` labels there are no cells.
        map_of_instance: (N,) int64 in [0, K).
        size: rows and columns of the small maps.
        upscale: from the small maps to the full ones, in whose frame points are read.
    """
    if annotations.dense is None or len(annotations) == 0:
        return _no_cells(boxes_xyxy_px.device)
    dense = annotations.dense
    labels, row, column = _cell_labels(boxes_xyxy_px[map_of_instance], annotations, size, upscale)
    instance, at_row, at_column = labels.nonzero(as_tuple=True)
    source = (row[instance, at_row], column[instance, at_column])
    uv = dense.uv.permute(0, 2, 3, 1)[instance, source[0], source[1]]
    confidence = dense.confidence[instance, source[0], source[1]]
    return DensePixels(
        instance=instance,
        map_index=map_of_instance[instance],
        row=at_row,
        column=at_column,
        part=labels[instance, at_row, at_column].long(),
        uv=uv.float() / UV_STEPS,
        confidence=confidence.float() / CONFIDENCE_STEPS,
    )


def background_nll(
    output: ChartOutput, boxes_xyxy_px: Tensor, annotations: DensePoseAnnotations
) -> Tensor:
    """(Q,) -log of the probability of background, at the cells that are not on the own person.

    The paper's part maps have 25 classes; annotated points never say background, inpainted maps
    do: a teacher labels all of its person, so the rest of a proposal is none of it.

    Args:
        output: a map for each person.
        boxes_xyxy_px: (N, 4) image px that the maps cover.
        annotations: of N instances; those without ``dense`` labels have no cells.
    """
    logits = output.part_logits
    if annotations.dense is None or len(annotations) == 0:
        return logits[:0, 0].flatten()  # empty, and connected to the maps
    labels, _, _ = _cell_labels(boxes_xyxy_px, annotations, output.size, output.upscale)
    known = (annotations.dense.part > 0).flatten(1).any(dim=1)
    outside = (labels == 0) & known[:, None, None]
    return (logits.logsumexp(dim=1) - logits[:, 0])[outside]


def _cell_labels(
    own_boxes_xyxy_px: Tensor,
    annotations: DensePoseAnnotations,
    size: tuple[int, int],
    upscale: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """(N, rows, columns) uint8 parts, and the rows (N, rows) and columns of the labels read."""
    rows, columns = size
    grid = annotations.dense.part.shape[-1]
    source = annotations.boxes_xyxy_px
    column, column_inside = _cells(own_boxes_xyxy_px, source, 0, columns, upscale, grid)
    row, row_inside = _cells(own_boxes_xyxy_px, source, 1, rows, upscale, grid)
    owner = torch.arange(len(annotations), device=row.device)[:, None, None]
    labels = annotations.dense.part[owner, row[:, :, None], column[:, None, :]]
    return labels * (row_inside[:, :, None] & column_inside[:, None, :]), row, column


def _cells(
    target_xyxy_px: Tensor,
    source_xyxy_px: Tensor,
    axis: int,
    cells: int,
    upscale: int,
    grid: int,
) -> tuple[Tensor, Tensor]:
    """(N, cells) cells of the labels at the centres of map cells, and whether these are inside."""
    low, high = target_xyxy_px[:, axis, None], target_xyxy_px[:, axis + 2, None]
    source_low, source_high = source_xyxy_px[:, axis, None], source_xyxy_px[:, axis + 2, None]
    # Row z of the full map is read at z / Z of the box, so the middle of ``upscale`` rows is half
    # a row of the full map before the middle of the cell.
    step = torch.arange(cells, device=low.device, dtype=low.dtype)
    fraction = ((step + 0.5) * upscale - 0.5) / (cells * upscale)
    position_px = low + fraction * (high - low)
    size_px = (source_high - source_low).clamp(min=torch.finfo(low.dtype).eps)
    position = (position_px - source_low) / size_px * grid
    inside = (position >= 0) & (position < grid)
    return position.clamp(0, grid - 1).long(), inside


def cell_weights(cells: DensePixels, power: float, balance: float = 0.0) -> Tensor:
    """(Q,) how much each cell counts.

    Annotators put nearly as many points on a hand as on the back, and a model is scored at such
    points; a mean over cells would hardly see the hand.

    Args:
        cells: Q cells.
        power: of the teacher's confidence; 0: it does not matter.
        balance: a cell is divided by the number of cells of its part of its person to this power;
            0: all cells alike, 1: all parts alike.
    """
    weight = cells.confidence**power if power else torch.ones_like(cells.confidence)
    if not balance or len(weight) == 0:
        return weight
    group = cells.instance * (NUM_PARTS + 1) + cells.part
    return weight * torch.bincount(group)[group].to(weight) ** -balance


def _no_cells(device: torch.device) -> DensePixels:
    index = torch.zeros(0, dtype=torch.int64, device=device)
    uv, confidence = torch.zeros(0, 2, device=device), torch.zeros(0, device=device)
    return DensePixels(index, index, index, index, index, uv, confidence)
