"""Read a few positions of up-sampled maps without making the full maps.

A full map is the bilinear up-sampling (align_corners=False) of a small map by a whole factor. A
value between two rows of the full map is a weighted sum of at most three neighbouring rows of the
small one: ``compose_taps``. In two dimensions that makes 9 cells for each position.

Shapes: N maps, P positions on all of them together, S = side of the small maps, Z = S * upscale
= side of the full maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


@dataclass(frozen=True)
class MapPositions:
    """P positions on N maps, as weighted cells of the small maps."""

    map_index: Tensor  # (P,) int64 in [0, N)
    cell: Tensor  # (P, K) int64: row * width of the map + column; K = 9 on square maps
    weight: Tensor  # (P, K) float; each row sums to 1


def compose_taps(
    low: Tensor, weight_high: Tensor, side: int, upscale: int
) -> tuple[Tensor, Tensor]:
    """Up-sampling composed with an interpolation between two rows (or columns) of the full map.

    Args:
        low: (P,) int64 row of the full map in [0, Z); the other row is min(low + 1, Z - 1).
        weight_high: (P,) weight of the other row in [0, 1].
        side: S.
        upscale: Z / S.

    Returns:
        (P, 3) int64 rows of the small map and (P, 3) their weights.
    """
    high = (low + 1).clamp(max=side * upscale - 1)
    low_row, low_fraction = _row_below(low, upscale, weight_high.dtype)
    high_row, high_fraction = _row_below(high, upscale, weight_high.dtype)
    shift = (high_row - low_row).to(weight_high.dtype)  # 0 or 1
    weight_low = 1 - weight_high
    at_low, at_next = weight_high * (1 - high_fraction), weight_high * high_fraction
    weights = (
        weight_low * (1 - low_fraction) + at_low * (1 - shift),
        weight_low * low_fraction + at_low * shift + at_next * (1 - shift),
        at_next * shift,
    )
    rows = low_row[:, None] + torch.arange(3, device=low.device)
    return rows.clamp(max=side - 1), torch.stack(weights, dim=1)


def _row_below(row: Tensor, upscale: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The small row that up-sampling reads for a full row, and the weight of the row after it."""
    source = ((row.to(dtype) + 0.5) / upscale - 0.5).clamp(min=0)
    below = source.floor()
    return below.long(), source - below


def positions_in_boxes(
    points_px: Tensor,
    map_index: Tensor,
    boxes_xyxy_px: Tensor,
    size: tuple[int, int],
    upscale: int,
) -> tuple[MapPositions, Tensor]:
    """Where image points fall on the maps of the boxes they are looked up in.

    The box covers the full map from 0 to Z and a point at map position z is interpolated between
    floor(z) and floor(z) + 1, as detectron2's DensePose does (without half-pixel offset).

    Args:
        points_px: (P, 2) image positions.
        map_index: (P,) int64 in [0, N), the map each point is looked up in.
        boxes_xyxy_px: (N, 4) boxes the maps belong to.
        size: rows and columns of the small maps.
        upscale: Z / S.

    Returns:
        Positions of all points, and which of them are inside of their box, (P,) bool; a point
        outside gets some position on the border.
    """
    boxes = boxes_xyxy_px[map_index]
    offset = points_px - boxes[:, :2]
    extent = boxes[:, 2:] - boxes[:, :2]
    inside = ((offset >= 0) & (offset < extent)).all(dim=1)
    smallest = torch.finfo(extent.dtype).tiny
    taps = []
    for axis, cells in ((1, size[0]), (0, size[1])):
        full = cells * upscale
        position = offset[:, axis] * full / extent[:, axis].clamp(min=smallest)
        position = position.clamp(min=0, max=full)
        low = position.floor().long().clamp(max=full - 1)
        high = (low + 1).clamp(max=full - 1)
        weight_high = torch.minimum(position, high.to(position.dtype)) - low
        taps.append(compose_taps(low, weight_high, cells, upscale))
    row, column = taps
    cell = row[0][:, :, None] * size[1] + column[0][:, None, :]
    weight = row[1][:, :, None] * column[1][:, None, :]
    return MapPositions(map_index, cell.flatten(1), weight.flatten(1)), inside


def resize_taps(size_px: int, side: int, upscale: int) -> tuple[Tensor, Tensor]:
    """Rows of a small map that make each row of its full map resized to ``size_px`` rows.

    The resizing is bilinear with align_corners=False, without smoothing; columns work the same way.

    Returns:
        (size_px, 3) int64 rows of the small map and (size_px, 3) their float32 weights.
    """
    full = side * upscale
    pixel = torch.arange(size_px, dtype=torch.float32)
    source = (full / size_px * (pixel + 0.5) - 0.5).clamp(min=0)
    low = source.long().clamp(max=full - 1)
    return compose_taps(low, source - low, side, upscale)


def sample_all_channels(maps: Tensor, at: MapPositions) -> Tensor:
    """All channels at P positions. maps (N, C, H, W) -> (P, C), float32 or wider."""
    count, channels, height, width = maps.shape
    table = maps.permute(0, 2, 3, 1).reshape(count * height * width, channels)
    return _WeightedRows.apply(table, at.map_index[:, None] * (height * width) + at.cell, at.weight)


def sample_channel(maps: Tensor, channel: Tensor, at: MapPositions) -> Tensor:
    """One channel at each position.

    maps (N, C, H, W), channel (P,) int64 -> (P,), float32 or wider.
    """
    _, channels, height, width = maps.shape
    plane = at.map_index * channels + channel
    table = maps.reshape(-1, 1)
    index = plane[:, None] * (height * width) + at.cell
    return _WeightedRows.apply(table, index, at.weight)[:, 0]


class _WeightedRows(torch.autograd.Function):
    """Weighted sums of rows in at least float32, with one gradient for the whole table.

    table (R, C), index (P, K) int64 in [0, R), weight (P, K) without gradient -> (P, C).
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        dtype = torch.promote_types(table.dtype, weight.dtype)
        weight = weight.to(dtype)
        ctx.save_for_backward(index, weight)
        ctx.table_like = table.new_empty(0)
        ctx.table_shape = table.shape
        if len(index) == 0:
            return table.new_zeros(0, table.shape[1], dtype=dtype)
        return F.embedding_bag(index, table.to(dtype), per_sample_weights=weight, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        index, weight = ctx.saved_tensors
        total = grad.new_zeros(ctx.table_shape)
        total.index_add_(0, index.flatten(), (grad[:, None] * weight[..., None]).flatten(0, 1))
        return total.to(ctx.table_like.dtype), None, None
