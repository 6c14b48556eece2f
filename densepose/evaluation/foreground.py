"""Foreground masks of people and of detections, and how much they overlap.

A mask is kept as a crop: a rectangle of the image outside of which it is empty.

Shapes: G people, D detections, N pairs of them, see ``image_pairs``. Rectangles are rows of (first
image row, first image column, rows, columns, first mask row, first mask column).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from densepose.structures.body_parts import ANNOTATION_GRID, NUM_REGIONS

from . import mask_kernels
from .image_pairs import ImagePairs, starts
from .packed_people import PackedPeople, Record

_GRID = int(ANNOTATION_GRID)
# dp_masks holds one mask for each of the 14 annotated regions; anything beyond is not read.
_NO_MASK, _OF_BOX, _OF_IMAGE = 0, 1, 2


@dataclass(frozen=True)
class PeopleMasks:
    """Masks of G people."""

    crop: np.ndarray  # (G, 6) int64
    first_pixel: np.ndarray  # (G + 1,) int64 where the pixels of each start
    pixels: np.ndarray  # uint8 0 or 1, row by row
    area: np.ndarray  # (G,) int64: how many of its pixels are 1

    def of_person(self, index: int) -> np.ndarray:
        """(rows, columns) uint8 mask inside the crop."""
        flat = self.pixels[self.first_pixel[index] : self.first_pixel[index + 1]]
        return flat.reshape(self.crop[index, 2:4])


def people_masks(people: PackedPeople) -> PeopleMasks:
    """Masks of people: the union of ``dp_masks``, else ``segmentation``, else nothing.

    The union is zoomed to the box by linear interpolation with the corners of the two grids on one
    another, and cut above one half: the result of ``scipy.ndimage.zoom(..., order=1)``, which the
    released evaluators use, to the pixel.

    Raises:
        ValueError: a mask does not have the size it must have, or can not be decoded.
    """
    sizes = people.image_sizes[people.image]
    kind = np.zeros(len(people), np.int64)
    texts: list[bytes] = []
    num_texts = np.zeros(len(people), np.int64)
    for index, (record, size) in enumerate(zip(people.records, sizes.tolist(), strict=True)):
        try:
            kind[index], of_person = _encodings(record, size)
        except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
            raise ValueError(_unreadable(people, index, error)) from error
        texts += of_person
        num_texts[index] = len(of_person)
    boxes = people.boxes_xywh_px
    zoomed = np.maximum(np.rint(boxes[:, 3:1:-1]), 1).astype(np.int64)
    crop = crops_in_image(boxes, zoomed, sizes)
    of_image = kind == _OF_IMAGE
    crop[of_image] = _crops_of_runs(texts, starts(num_texts)[:-1][of_image], sizes[of_image])
    crop[kind == _NO_MASK] = 0
    first_pixel = starts(crop[:, 2] * crop[:, 3])
    pixels = np.zeros(first_pixel[-1], np.uint8)
    area, broken = np.zeros(len(people), np.int64), np.zeros(len(people), bool)
    mask_kernels.draw_people(
        kind,
        np.frombuffer(b"".join(texts), np.uint8),
        starts(np.array([len(text) for text in texts], np.int64)),
        starts(num_texts),
        _GRID,
        np.where(of_image[:, None], sizes, zoomed),
        crop,
        first_pixel,
        pixels,
        area,
        broken,
    )
    if broken.any():
        error = "the runs of a mask do not fill it"
        raise ValueError(_unreadable(people, int(broken.argmax()), error))
    return PeopleMasks(crop, first_pixel, pixels, area)


def crops_in_image(
    boxes_xywh_px: np.ndarray,
    mask_sizes: np.ndarray,
    image_sizes: np.ndarray,
    *,
    towards_zero: bool = True,
) -> np.ndarray:
    """Rectangles of masks whose first pixel is their box's, cut at the box and at the image.

    Args:
        boxes_xywh_px: (K, 4).
        mask_sizes: (K, 2) rows and columns.
        image_sizes: (K, 2) height and width in px.
        towards_zero: the first pixel is int(x), int(y) as in detectron2's evaluator; else the
            floor, which differs for boxes that start left of or above the image.

    Returns:
        (K, 6) int64; zeros where nothing of the mask is in the image.
    """
    near, size = boxes_xywh_px[:, 1::-1], boxes_xywh_px[:, :1:-1]
    first = (near if towards_zero else np.floor(near)).astype(np.int64)
    last = np.minimum((near + size).astype(np.int64), image_sizes)
    last = np.minimum(last, first + mask_sizes)
    start = np.maximum(first, 0)
    crop = np.concatenate([start, last - start, start - first], axis=1)
    crop[(last <= start).any(axis=1)] = 0
    return crop


def mask_overlap(pairs: ImagePairs, masks: PeopleMasks, crop: np.ndarray) -> np.ndarray:
    """(N,) intersection over union; over the detection's area alone where a person is a crowd.

    Args:
        pairs: detections and people.
        masks: of the people.
        crop: (D, 6) where the label maps lie, see ``crops_in_image``.
    """
    width, shared = pairs.detections.map_sizes[:, 1], np.zeros(len(pairs), np.int64)
    area = np.zeros(len(pairs.detections), np.int64)
    mask_kernels.count_foreground(pairs.labels, pairs.first_label, width, crop, area)
    mask_kernels.count_shared(
        *(pairs.detection, pairs.person),
        *(pairs.labels, pairs.first_label, width, crop),
        *(masks.pixels, masks.first_pixel, masks.crop),
        shared,
    )
    return _share(shared, area[pairs.detection], masks.area[pairs.person], _crowd(pairs))


def box_overlap(pairs: ImagePairs) -> np.ndarray:
    """(N,) intersection over union of boxes, crowds as in ``mask_overlap``."""
    boxes = pairs.detections.boxes_xywh_px[pairs.detection]
    people = pairs.people.boxes_xywh_px[pairs.person]
    first = np.maximum(boxes[:, :2], people[:, :2])
    last = np.minimum(boxes[:, :2] + boxes[:, 2:], people[:, :2] + people[:, 2:])
    width, height = (last - first).T
    shared = np.where((width > 0) & (height > 0), width * height, 0.0)
    return _share(shared, boxes[:, 2] * boxes[:, 3], people[:, 2] * people[:, 3], _crowd(pairs))


def _crowd(pairs: ImagePairs) -> np.ndarray:
    return pairs.people.crowd[pairs.person]


def _share(
    shared: np.ndarray, detection: np.ndarray, person: np.ndarray, crowd: np.ndarray
) -> np.ndarray:
    union = np.where(crowd, detection, detection + person - shared).astype(np.float64)
    return np.divide(shared, union, out=np.zeros(len(shared)), where=shared > 0)


def _unreadable(people: PackedPeople, index: int, error: object) -> str:
    name = f"{people.source}: annotation {people.annotation_ids[index]}"
    return f"{name}: its masks can not be read: {error}"


def _encodings(record: Record, image_size: list[int]) -> tuple[int, list[bytes]]:
    """Kind of a person's mask and its run lengths in COCO's compressed form."""
    if "dp_masks" in record:
        given = record["dp_masks"]
        # A single mask in place of the list (DensePose-Chimps) is the union itself.
        given = [given] if isinstance(given, Mapping) else given[:NUM_REGIONS]
        texts = [_compressed(mask, [_GRID, _GRID], "dp_masks are") for mask in given if mask]
        return (_OF_BOX if texts else _NO_MASK), texts
    segmentation = record.get("segmentation")
    if not segmentation:
        return _NO_MASK, []
    if not isinstance(segmentation, Mapping):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, *image_size))
    return _OF_IMAGE, [_compressed(segmentation, image_size, "segmentation is")]


def _compressed(mask: Mapping[str, Any], size: list[int], name: str) -> bytes:
    counts = mask["counts"]
    if list(mask["size"]) != size:
        rows, columns = size
        raise ValueError(f"{name} of {mask['size']} pixels, must be {rows} x {columns}")
    if isinstance(counts, str):
        return counts.encode("ascii")
    return (
        counts if isinstance(counts, bytes) else coco_mask.frPyObjects(dict(mask), *size)["counts"]
    )


def _crops_of_runs(texts: list[bytes], index: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(K, 6) rectangles around masks of whole images."""
    runs = [
        {"size": size, "counts": texts[k]}
        for k, size in zip(index.tolist(), sizes.tolist(), strict=True)
    ]
    boxes = coco_mask.toBbox(runs).astype(np.int64).reshape(-1, 4) if runs else np.zeros((0, 4))
    left, top, width, height = boxes.T
    return np.stack([top, left, height, width, top, left], axis=1).astype(np.int64)
