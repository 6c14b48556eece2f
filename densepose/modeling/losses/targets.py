"""From matched proposals to what the losses compare with.

Shapes: N proposals of all images together (each with its matched person), P annotated points of
all of them, Q <= P points that fall inside their proposal, M = side of the annotated masks, Z =
side of the full maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detectron2.structures import Instances

from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.coordinates import grid_to_image

from ..sampling import MapPositions, positions_in_boxes


@dataclass(frozen=True)
class PointTargets:
    """Q annotated points and where they fall on the predictor's maps."""

    at: MapPositions
    part: Tensor  # (Q,) int64, 0 is background
    uv: Tensor  # (Q, 2) float in [0, 1]


def pack_matches(proposals: Sequence[Instances]) -> tuple[Tensor, DensePoseAnnotations]:
    """(N, 4) proposal boxes of all images and the annotations of their matched people.

    An image without ``gt_densepose`` contributes people without annotation. At least one image.
    """
    boxes = torch.cat([image.proposal_boxes.tensor for image in proposals])
    people = [
        image.gt_densepose
        if image.has("gt_densepose")
        else DensePoseAnnotations.empty(len(image)).to(boxes.device)
        for image in proposals
    ]
    return boxes, DensePoseAnnotations.cat(people)


def point_targets(
    boxes_xyxy_px: Tensor,
    people: DensePoseAnnotations,
    side: int | tuple[int, int],
    upscale: int,
    map_of_person: Tensor | None = None,
) -> PointTargets:
    """Targets at the points that fall inside their proposal.

    Args:
        boxes_xyxy_px: (K, 4) proposals.
        people: N people, one for each proposal.
        side: of the predictor's small maps; rows and columns if they are not square.
        upscale: from the small to the full maps.
        map_of_person: (N,) proposal that each person is looked up in; left out where each person
            has its own.
    """
    points_px = grid_to_image(people.points_grid, people.boxes_xyxy_px[people.owner])
    own_map = people.owner if map_of_person is None else map_of_person[people.owner]
    at, inside = positions_in_boxes(points_px, own_map, boxes_xyxy_px, side, upscale)
    return PointTargets(at, people.part[inside], people.uv[inside])


def coarse_targets(
    boxes_xyxy_px: Tensor, people: DensePoseAnnotations, full_side: int | tuple[int, int]
) -> Tensor:
    """Annotated part masks brought into the proposals: nearest cell, background outside.

    Map pixel i reads the box position x0 + i / Z * width, as detectron2's DensePose does (no
    half-pixel offset, the M cells spread from border to border of the annotated box).

    Args:
        boxes_xyxy_px: (N, 4) proposals.
        people: N people, one for each proposal.
        full_side: Z, or rows and columns of maps that are not square.

    Returns:
        (N, Z, Z) int64: 0 background, 1..14.
    """
    cells = people.coarse.shape[-1]
    rows, columns = (full_side, full_side) if isinstance(full_side, int) else full_side
    column, column_inside = _nearest_cells(boxes_xyxy_px, people.boxes_xyxy_px, 0, columns, cells)
    row, row_inside = _nearest_cells(boxes_xyxy_px, people.boxes_xyxy_px, 1, rows, cells)
    person = torch.arange(len(people), device=row.device)[:, None, None]
    labels = people.coarse[person, row[:, :, None], column[:, None, :]]
    return labels.long() * (row_inside[:, :, None] & column_inside[:, None, :])


def _nearest_cells(
    target_xyxy_px: Tensor, source_xyxy_px: Tensor, axis: int, full_side: int, cells: int
) -> tuple[Tensor, Tensor]:
    """(N, Z) nearest mask cells along one axis, and whether they lie inside the mask."""
    source_low, source_high = source_xyxy_px[:, axis, None], source_xyxy_px[:, axis + 2, None]
    target_low, target_high = target_xyxy_px[:, axis, None], target_xyxy_px[:, axis + 2, None]
    size = (source_high - source_low).clamp(min=torch.finfo(source_low.dtype).eps)
    # In the order of grid_sample's normalised coordinates, so that cells on a tie fall to the same
    # side.
    first = 2 * (target_low - source_low) / size - 1
    last = 2 * (target_high - source_low) / size - 1
    step = torch.arange(full_side, device=size.device, dtype=size.dtype) / full_side
    position = (step * (last - first) + first + 1) / 2 * (cells - 1)
    nearest = position.round()
    inside = (nearest >= 0) & (nearest <= cells - 1)
    return nearest.clamp(0, cells - 1).long(), inside


def mask_targets(proposals: Sequence[Instances], full_side: int) -> tuple[Tensor, Tensor]:
    """Instance masks cropped to the proposals.

    Args:
        proposals: of each image; images without ``gt_masks`` contribute no target.
        full_side: Z.

    Returns:
        (K, Z, Z) int64 labels 0 or 1 of the proposals that have a mask, and the (N,) bool mask
        that selects these K.
    """
    device = proposals[0].proposal_boxes.device
    labels = [torch.zeros(0, full_side, full_side, dtype=torch.int64, device=device)]
    has_mask = []
    for image in proposals:
        found = image.has("gt_masks")
        has_mask.append(torch.full((len(image),), found, device=device))
        if found and len(image):
            cropped = image.gt_masks.crop_and_resize(image.proposal_boxes.tensor, full_side)
            labels.append(cropped.to(device=device, dtype=torch.int64))
    return torch.cat(labels), torch.cat(has_mask)
