"""Foreground masks of people and of detections as crops of the image, and their overlap.

Shapes: G people, D detections of one image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from densepose.structures.grids import ANNOTATION_GRID

_GRID = int(ANNOTATION_GRID)
# dp_masks holds one mask for each of the 14 annotated regions; anything beyond is not read.
_NUM_REGIONS = 14


@dataclass(frozen=True)
class MaskCrop:
    """A mask that is False outside one rectangle of the image."""

    pixels: np.ndarray  # (h, w) bool
    top: int  # row of the image its first row lies on, at least 0
    left: int

    @property
    def area(self) -> int:
        """Number of pixels in the mask."""
        return int(np.count_nonzero(self.pixels))


EMPTY_CROP = MaskCrop(np.zeros((0, 0), bool), 0, 0)


def person_crop(record: Mapping[str, Any], image_size: tuple[int, int], source: str) -> MaskCrop:
    """Mask of an annotated person: the union of ``dp_masks``, else ``segmentation``, else nothing.

    Args:
        record: the annotation.
        image_size: height, width in px.
        source: the annotation's name in error messages.

    Raises:
        ValueError: a mask does not have the size it must have, or can not be decoded.
    """
    try:
        if "dp_masks" in record:
            union = union_of_regions(record["dp_masks"])
            if union is None:
                return EMPTY_CROP
            return place_in_image(zoom_to_box(union, record["bbox"]), record["bbox"], image_size)
        return _crop_of_segmentation(record.get("segmentation"), image_size)
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise ValueError(f"{source}: its masks can not be read: {error}") from error


def union_of_regions(dp_masks: Sequence[Any] | Mapping[str, Any]) -> np.ndarray | None:
    """RLE masks on the annotation grid -> (256, 256) uint8 union; None where there is no mask.

    A single mask in place of the list (DensePose-Chimps) is the union itself.
    """
    given = [dp_masks] if isinstance(dp_masks, Mapping) else list(dp_masks)[:_NUM_REGIONS]
    runs = [_compressed(mask, mask["size"]) for mask in given if mask]
    if not runs:
        return None
    sizes = {tuple(run["size"]) for run in runs}
    if sizes != {(_GRID, _GRID)}:
        raise ValueError(f"dp_masks must be {_GRID} x {_GRID}, got {sorted(sizes)}")
    return coco_mask.decode(coco_mask.merge(runs))


def zoom_to_box(mask: np.ndarray, box_xywh_px: Sequence[float]) -> np.ndarray:
    """(256, 256) uint8 mask of 0 and 1 -> bool mask of the box's size in pixels, at least 1 x 1.

    Linear interpolation with the corners of the two grids on one another, and above one half: the
    result of ``scipy.ndimage.zoom(..., order=1)``, which the released evaluators use, to the pixel.
    """
    height, width = (max(round(float(box_xywh_px[axis])), 1) for axis in (3, 2))
    row, row_weight = _linear_steps(mask.shape[0], height)
    column, column_weight = _linear_steps(mask.shape[1], width)
    of_rows = mask[row[0]] + mask[row[1]]
    neighbours = np.take(of_rows, column[0], axis=1)
    neighbours += np.take(of_rows, column[1], axis=1)
    zoomed = neighbours == 4
    # Where the four neighbours differ: their weighted sum, in scipy's order of operations.
    y, x = np.nonzero((neighbours > 0) & ~zoomed)
    value = sum(
        mask[row[i, y], column[j, x]] * row_weight[i, y] * column_weight[j, x]
        for i in range(2)
        for j in range(2)
    )
    zoomed[y, x] = value > 0.5
    zoomed[row_weight.sum(axis=0) == 0] = False
    zoomed[:, column_weight.sum(axis=0) == 0] = False
    return zoomed


def _linear_steps(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The two old places (2, new_size) beside each new one, and their weights (2, new_size).

    A last place that rounding puts beyond the old grid has weight 0, as in scipy.
    """
    position = np.arange(new_size) * ((size - 1) / (new_size - 1) if new_size > 1 else 1.0)
    low = np.minimum(np.floor(position).astype(np.int64), size - 1)
    fraction = position - low
    weight = np.stack([1 - fraction, fraction]) * (position <= size - 1)
    return np.stack([low, np.minimum(low + 1, size - 1)]), weight


def place_in_image(
    mask: np.ndarray,
    box_xywh_px: Sequence[float],
    image_size: tuple[int, int],
    *,
    towards_zero: bool = True,
) -> MaskCrop:
    """A mask whose first pixel is the box's first pixel, cut at the box and at the image.

    Args:
        mask: (h, w) bool.
        box_xywh_px: the box.
        image_size: height, width in px.
        towards_zero: the first pixel is int(x), int(y) as in detectron2's evaluator; else the
            floor, which differs for boxes that start left of or above the image.
    """
    x, y, width, height = (float(value) for value in box_xywh_px)
    left, top = (int(x), int(y)) if towards_zero else (int(np.floor(x)), int(np.floor(y)))
    right = min(int(x + width), image_size[1], left + mask.shape[1])
    bottom = min(int(y + height), image_size[0], top + mask.shape[0])
    first_row, first_column = max(top, 0), max(left, 0)
    if right <= first_column or bottom <= first_row:
        return EMPTY_CROP
    inside = mask[first_row - top : bottom - top, first_column - left : right - left]
    return MaskCrop(inside, first_row, first_column)


def overlap(
    detections: Sequence[MaskCrop], people: Sequence[MaskCrop], crowd: np.ndarray
) -> np.ndarray:
    """(D, G) intersection over union; over the detection's area alone where a person is a crowd."""
    detection_area = np.array([crop.area for crop in detections], np.float64)
    person_area = np.array([crop.area for crop in people], np.float64)
    shared = np.array([[_shared(d, p) for p in people] for d in detections], np.float64)
    shared = shared.reshape(len(detections), len(people))
    union = detection_area[:, None] + person_area[None] - shared
    union = np.where(crowd[None], detection_area[:, None], union)
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def box_overlap(
    boxes_xywh_px: np.ndarray, people_xywh_px: np.ndarray, crowd: np.ndarray
) -> np.ndarray:
    """(D, 4) and (G, 4) boxes -> (D, G) intersection over union, crowds as in ``overlap``."""
    first = np.maximum(boxes_xywh_px[:, None, :2], people_xywh_px[None, :, :2])
    last = np.minimum(
        (boxes_xywh_px[:, :2] + boxes_xywh_px[:, 2:])[:, None],
        (people_xywh_px[:, :2] + people_xywh_px[:, 2:])[None],
    )
    width, height = np.moveaxis(last - first, -1, 0)
    shared = np.where((width > 0) & (height > 0), width * height, 0.0)
    detection_area = (boxes_xywh_px[:, 2] * boxes_xywh_px[:, 3])[:, None]
    person_area = (people_xywh_px[:, 2] * people_xywh_px[:, 3])[None]
    union = np.where(crowd[None], detection_area, detection_area + person_area - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def _shared(a: MaskCrop, b: MaskCrop) -> int:
    top, left = max(a.top, b.top), max(a.left, b.left)
    bottom = min(a.top + a.pixels.shape[0], b.top + b.pixels.shape[0])
    right = min(a.left + a.pixels.shape[1], b.left + b.pixels.shape[1])
    if bottom <= top or right <= left:
        return 0
    of_a = a.pixels[top - a.top : bottom - a.top, left - a.left : right - a.left]
    of_b = b.pixels[top - b.top : bottom - b.top, left - b.left : right - b.left]
    return int(np.count_nonzero(of_a & of_b))


def _compressed(mask: Mapping[str, Any], size: Sequence[int]) -> dict[str, Any]:
    if isinstance(mask["counts"], list):
        return coco_mask.frPyObjects(dict(mask), *size)
    return dict(mask)


def _crop_of_segmentation(segmentation: Any, image_size: tuple[int, int]) -> MaskCrop:
    if not segmentation:
        return EMPTY_CROP
    if isinstance(segmentation, Mapping):
        run = _compressed(segmentation, image_size)
    else:
        run = coco_mask.merge(coco_mask.frPyObjects(segmentation, *image_size))
    if tuple(run["size"]) != tuple(image_size):
        raise ValueError(f"segmentation is {run['size']}, the image is {list(image_size)} px")
    left, top, width, height = (int(value) for value in coco_mask.toBbox(run))
    pixels = coco_mask.decode(run)[top : top + height, left : left + width].astype(bool)
    return MaskCrop(pixels, top, left)
