"""RoIAlign as a weighted gather of channels-last rows, over all pyramid levels at once.

Every output cell of RoIAlign is a fixed weighted sum of feature rows (one row: the C channels of
one cell), so the operator is a matrix with (2 * sampling_ratio)^2 entries per row times the table
of feature rows. ``embedding_bag`` evaluates such a product without writing the samples out, and
its backward adds into the table.

Shapes: L levels (B, C, H_l, W_l), K boxes, R output cells per side, G = sampling_ratio samples per
cell and axis. Boxes are in image px, (x0, y0, x1, y1); ``scale`` is feature cells per image px.
Values equal torchvision.ops.roi_align up to rounding (tested at 1e-5).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def multilevel_roi_align(
    features: Sequence[Tensor],
    boxes_xyxy_px: Tensor,
    image: Tensor,
    level: Tensor,
    *,
    scales: Sequence[float],
    output_size: tuple[int, int],
    sampling_ratio: int,
    aligned: bool = True,
) -> Tensor:
    """Pool every box from its own level and image.

    Args:
        features: L maps (B, C, H_l, W_l) with equal B and C.
        boxes_xyxy_px: (K, 4) boxes in image px.
        image: (K,) int64 in [0, B).
        level: (K,) int64 in [0, L).
        scales: L factors from image px to feature cells.
        output_size: cells (rows, columns) of the result.
        sampling_ratio: samples per cell and axis, at least 1.
        aligned: half-cell shift of the boxes, as in torchvision.

    Returns:
        (K, C, rows, columns), channels-last in memory; differentiable in ``features``.

    Raises:
        ValueError: for a sampling ratio below 1 (the adaptive mode of torchvision).
    """
    if sampling_ratio < 1:
        raise ValueError(
            f"sampling_ratio must be at least 1, got {sampling_ratio}; use torchvision for 0"
        )
    channels = features[0].shape[1]
    table = torch.cat([f.permute(0, 2, 3, 1).reshape(-1, channels) for f in features])
    rows, columns = output_size
    if len(boxes_xyxy_px) == 0:
        return table.new_zeros(0, channels, rows, columns) + table[:0].sum()

    index, weight = _cell_taps(
        _level_geometry(features, scales, boxes_xyxy_px)[level],
        boxes_xyxy_px,
        image,
        output_size=output_size,
        samples=sampling_ratio,
        aligned=aligned,
    )
    pooled = F.embedding_bag(index, table, mode="sum", per_sample_weights=weight.to(table.dtype))
    return pooled.view(len(boxes_xyxy_px), rows, columns, channels).permute(0, 3, 1, 2)


def _cell_taps(
    geometry: Tensor,
    boxes_xyxy_px: Tensor,
    image: Tensor,
    *,
    output_size: tuple[int, int],
    samples: int,
    aligned: bool,
) -> tuple[Tensor, Tensor]:
    """Table rows and weights of every output cell: both (K * rows * columns, (2 * samples)^2).

    ``geometry`` (K, 5) is the row of ``_level_geometry`` of each box.
    """
    scale, height, width, cells, first = geometry.unbind(1)
    origin = (first + image.to(geometry.dtype) * cells).long()
    boxes = boxes_xyxy_px.to(geometry.dtype) * scale[:, None] - (0.5 if aligned else 0.0)
    extent = boxes[:, 2:] - boxes[:, :2]
    if not aligned:
        extent = extent.clamp(min=1.0)
    rows, columns = output_size
    y_index, y_weight = axis_taps(boxes[:, 1], extent[:, 1], height, rows, samples)
    x_index, x_weight = axis_taps(boxes[:, 0], extent[:, 0], width, columns, samples)
    # (K, rows, columns, taps of y, taps of x)
    y_index = y_index * width.long()[:, None, None]
    index = y_index[:, :, None, :, None] + x_index[:, None, :, None, :]
    index = index + origin[:, None, None, None, None]
    weight = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :] / samples**2
    taps = index.shape[-1] * index.shape[-2]
    return index.reshape(-1, taps), weight.reshape(-1, taps)


def axis_taps(
    start: Tensor, extent: Tensor, size: Tensor, cells: int, samples: int
) -> tuple[Tensor, Tensor]:
    """Linear-interpolation taps of one axis.

    Args:
        start: (K,) lower edge of the box in feature cells.
        extent: (K,) length of the box in feature cells.
        size: (K,) number of feature cells on the axis (same dtype as ``start``).
        cells: output cells R.
        samples: samples per output cell G.

    Returns:
        index (K, R, 2 * G) int64 inside the map and weight (K, R, 2 * G), which is 0 for samples
        more than one cell outside.
    """
    # Summed in torchvision's order: float32 positions near a cell border then round the same way.
    bin_size = extent[:, None, None] / cells
    corner = torch.arange(cells, device=start.device, dtype=start.dtype)[:, None]
    inner = torch.arange(samples, device=start.device, dtype=start.dtype) + 0.5
    position = start[:, None, None] + corner * bin_size + inner * bin_size / samples
    position = position.flatten(1)
    last = size[:, None] - 1
    inside = (position >= -1.0) & (position <= size[:, None])
    clamped = position.clamp(min=0.0).minimum(last)
    low = clamped.floor()
    high = (low + 1).minimum(last)
    upper = torch.where(inside, clamped - low, 0.0)
    lower = torch.where(inside, 1.0 - (clamped - low), 0.0)
    index = torch.stack([low, high], dim=-1).long()
    weight = torch.stack([lower, upper], dim=-1)
    return index.view(len(start), cells, -1), weight.view(len(start), cells, -1)


def _level_geometry(features: Sequence[Tensor], scales: Sequence[float], like: Tensor) -> Tensor:
    """(L, 5): scale, height, width, cells per image, first row of the level in the table."""
    rows, first = [], 0
    for feature, scale in zip(features, scales, strict=True):
        batch, _, height, width = feature.shape
        rows.append((scale, height, width, height * width, first))
        first += batch * height * width
    dtype = torch.float64 if like.dtype == torch.float64 or first >= 2**24 else torch.float32
    return torch.tensor(rows, dtype=dtype, device=like.device)
