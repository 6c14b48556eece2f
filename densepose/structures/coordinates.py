"""The frames of DensePose coordinates and the functions that convert between them.

Frames:
    image px: continuous, (0, 0) is the outer corner of the top-left pixel; pixel (i, j) covers
        [i, i + 1) x [j, j + 1) and has its centre at (i + 0.5, j + 0.5).
    annotation grid: DensePose-COCO places points on a 256-step grid over the person's box:
        x_px = x0 + x_grid * width / 256.
    uv: chart coordinates in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from densepose.structures.body_parts import ANNOTATION_GRID, METRIC_GRID, UV_STEPS

__all__ = [
    "ANNOTATION_GRID",
    "METRIC_GRID",
    "UV_STEPS",
    "grid_to_image",
    "image_to_grid",
    "quantize_uv",
]


def grid_to_image(
    points_grid: Tensor, boxes_xyxy_px: Tensor, grid: float = ANNOTATION_GRID
) -> Tensor:
    """(P, 2) grid positions and (P, 4) boxes of their owners -> (P, 2) positions in image px."""
    origin = boxes_xyxy_px[:, :2]
    return origin + points_grid / grid * (boxes_xyxy_px[:, 2:] - origin)


def image_to_grid(
    points_px: Tensor, boxes_xyxy_px: Tensor, grid: float = ANNOTATION_GRID
) -> Tensor:
    """(P, 2) positions in image px and (P, 4) boxes of their owners -> (P, 2) grid positions."""
    origin = boxes_xyxy_px[:, :2]
    size = (boxes_xyxy_px[:, 2:] - origin).clamp(min=torch.finfo(points_px.dtype).eps)
    return (points_px - origin) / size * grid


def quantize_uv(uv: Tensor) -> Tensor:
    """Chart coordinates, any shape -> uint8 steps of 1 / 255; clamped to [0, 1]."""
    return (uv * UV_STEPS).clamp(0, UV_STEPS).to(torch.uint8)
