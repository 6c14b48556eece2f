"""Step 1: strokes of annotators become regions of an instance.

A canvas covers the box of the instance with square cells, CANVAS of them along its longer side; its
values are region numbers. DensePose-COCO stores regions on 256 x 256 cells over the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from densepose.structures.annotated_regions import encode_masks
from densepose.structures.body_parts import ANNOTATION_GRID

from .events import Box, Stroke

CANVAS = 512
_GRID = int(ANNOTATION_GRID)
_SHIFT = 4  # cv2 draws at multiples of 1 / 16 cell


def cells_per_px(box: Box) -> float:
    """Cells of the canvas along one image px."""
    return CANVAS / max(box[2:])


def empty_canvas(box: Box) -> NDArray[np.uint8]:
    """(H, W) zeros over a box."""
    width, height = (max(1, round(side * cells_per_px(box))) for side in box[2:])
    return np.zeros((height, width), np.uint8)


def draw_stroke(canvas: NDArray[np.uint8], stroke: Stroke, box: Box) -> None:
    """Draw a stroke into the canvas of a box, in place."""
    scale = cells_per_px(box)
    # The middle of a cell is a whole number to cv2.
    cells = (np.array(stroke.xy, np.float64) - box[:2]) * scale - 0.5
    corners = np.rint(cells * (1 << _SHIFT)).astype(np.int32)
    if stroke.tool == "polygon":
        cv2.fillPoly(canvas, [corners], stroke.region, shift=_SHIFT)
        return
    width = max(1, round(stroke.width * scale))
    # A line of one point is drawn as a dot.
    ends = corners if len(corners) > 1 else np.repeat(corners, 2, axis=0)
    cv2.polylines(canvas, [ends], False, stroke.region, width, shift=_SHIFT)


def canvas_from_grid(grid: NDArray[np.uint8] | None, grid_box: Box, box: Box) -> NDArray[np.uint8]:
    """(256, 256) regions over one box -> the canvas of another; empty without a grid."""
    canvas = empty_canvas(box)
    if grid is None:
        return canvas
    index, inside = [], []
    for axis, cells in ((1, canvas.shape[0]), (0, canvas.shape[1])):
        middle_px = box[axis] + (np.arange(cells) + 0.5) / cells * box[axis + 2]
        place = np.floor((middle_px - grid_box[axis]) / grid_box[axis + 2] * _GRID).astype(int)
        inside.append((place >= 0) & (place < _GRID))
        index.append(place.clip(0, _GRID - 1))
    return np.where(np.outer(*inside), grid[np.ix_(*index)], canvas)


def grid_from_canvas(canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A canvas -> (256, 256) regions at the middles of the cells of the grid."""
    rows, columns = (
        ((np.arange(_GRID) + 0.5) / _GRID * side).astype(np.int64) for side in canvas.shape
    )
    return canvas[np.ix_(rows, columns)]


def canvas_positions(
    canvas: NDArray[np.uint8], region: int, box: Box
) -> tuple[NDArray[np.float64], float]:
    """Middles of the cells of a region, (P, 2) image px, and its area in square px."""
    rows, columns = np.nonzero(canvas == region)
    scale = cells_per_px(box)
    positions = (np.stack([columns, rows], axis=1) + 0.5) / scale + np.array(box[:2])
    return positions, len(rows) / scale**2


def region_at(
    canvas: NDArray[np.uint8], points_px: NDArray[np.floating], box: Box
) -> NDArray[np.uint8]:
    """(P,) region at each of (P, 2) image px; 0 outside of the box."""
    column, row = np.floor((points_px - np.array(box[:2])) * cells_per_px(box)).astype(int).T
    height, width = canvas.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    found = np.zeros(len(points_px), np.uint8)
    found[inside] = canvas[row[inside], column[inside]]
    return found


def grid_from_masks(masks: Sequence[Any]) -> NDArray[np.uint8]:
    """Run-length masks on the grid, [] for none, -> (256, 256) region numbers."""
    grid = np.zeros((_GRID, _GRID), np.uint8)
    for number, runs in enumerate(masks, start=1):
        if runs:
            grid[coco_mask.decode(runs) > 0] = number
    return grid


def foreground(canvas: NDArray[np.uint8], box: Box, image_size: tuple[int, int]) -> dict[str, Any]:
    """All regions together as a run-length mask of an image of (height, width)."""
    # Image pixel (i, j) has its middle at (i + 0.5, j + 0.5).
    scale = cells_per_px(box)
    to_canvas = np.array(
        [
            [scale, 0, (0.5 - box[0]) * scale - 0.5],
            [0, scale, (0.5 - box[1]) * scale - 0.5],
        ]
    )
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    body = (canvas > 0).astype(np.uint8)
    whole = cv2.warpAffine(body, to_canvas, image_size[::-1], flags=flags)
    return encode_masks(whole[..., None])[0]
