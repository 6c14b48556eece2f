"""Foreground masks of people and detections, how much they overlap, and regions to ignore.

Shapes: G people, D detections, N pairs of them, see ``pairs``; K masks of either; an image has
H x W px. Masks are never drawn on a whole image: each is a plane of pixels, with the window of the
image that it covers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from pycocotools import mask as coco_mask

from densepose.ops.run_lengths import draw_masks
from densepose.structures.body_parts import ANNOTATION_GRID

from .ground_truth import PackedPeople, Record
from .pairs import ImagePairs, PackedDetections
from .ragged import starts

_GRID = int(ANNOTATION_GRID)
# Fractions of an annotated box, and of the pixels a detection labels, from which on it is ignored.
IGNORED_BOX_FRACTION = 0.7
IGNORED_MASK_FRACTION = 0.9

# Rows and columns of the image from (top, left) on are those of the plane from (row, column) on.
# Nothing outside of a window belongs to its mask. All in px, int64.
WINDOW = np.dtype(
    [(name, np.int64) for name in ("top", "left", "rows", "columns", "row", "column")]
)


class Masks(NamedTuple):
    """K masks, their planes one after another."""

    pixels: np.ndarray  # uint8, row by row; above 0 belongs to the mask
    first: np.ndarray  # (K + 1,) int64 where each plane starts
    width: np.ndarray  # (K,) int64 columns of each plane
    window: np.ndarray  # (K,) WINDOW


def windows_in_image(
    boxes_xywh_px: np.ndarray,
    plane_sizes: np.ndarray,
    image_sizes: np.ndarray,
    *,
    towards_zero: bool = True,
) -> np.ndarray:
    """Windows of planes whose first pixel is their box's, cut at the box and at the image.

    Args:
        boxes_xywh_px: (K, 4).
        plane_sizes: (K, 2) rows and columns.
        image_sizes: (K, 2) height and width in px.
        towards_zero: the first pixel is int(x), int(y) as in detectron2's evaluator; else the
            floor, which differs for boxes that start left of or above the image.

    Returns:
        (K,) WINDOW; zeros where nothing of the plane is in the image.
    """
    near, size = boxes_xywh_px[:, 1::-1], boxes_xywh_px[:, :1:-1]
    first = (near if towards_zero else np.floor(near)).astype(np.int64)
    last = np.minimum((near + size).astype(np.int64), image_sizes)
    last = np.minimum(last, first + plane_sizes)
    start = np.maximum(first, 0)
    window = np.concatenate([start, last - start, start - first], axis=1)
    window[(last <= start).any(axis=1)] = 0
    return window.view(WINDOW)[:, 0]


def detection_masks(pairs: ImagePairs, *, towards_zero: bool = True) -> Masks:
    """Where each of D detections labels any part; see ``windows_in_image``."""
    maps, boxes = pairs.maps, pairs.detections.boxes_xywh_px
    image_sizes = pairs.people.image_sizes[pairs.detections.image]
    window = windows_in_image(boxes, maps.sizes, image_sizes, towards_zero=towards_zero)
    return Masks(maps.labels, maps.first, np.ascontiguousarray(maps.sizes[:, 1]), window)


def people_masks(people: PackedPeople) -> Masks:
    """Masks of G people: the union of ``dp_masks``, else ``segmentation``, else nothing.

    The union is zoomed to the box by linear interpolation with the corners of the two grids on one
    another, and cut above one half: the result of ``scipy.ndimage.zoom(..., order=1)``, which the
    released evaluators use, to the pixel.
    """
    boxes, sizes = people.boxes_xywh_px, people.image_sizes[people.image]
    zoomed = np.maximum(np.rint(boxes[:, 3:1:-1]), 1).astype(np.int64)
    window = windows_in_image(boxes, zoomed, sizes)
    planes = [np.zeros(0, np.uint8)] * len(people)
    texts: list[str] = []
    owner: list[int] = []
    for g, record in enumerate(people.records):
        if "dp_masks" in record:
            of_person = _region_texts(record["dp_masks"])
            texts += of_person
            owner += [g] * len(of_person)
        else:
            planes[g], window[g] = _drawn(record, sizes[g].tolist())
    drawn, place = np.unique(np.array(owner, np.int64), return_inverse=True)
    grids, _ = draw_masks(texts, np.ones(len(texts), np.int64), place, len(drawn))
    for grid, g in zip(grids, drawn.tolist(), strict=True):
        shown = tuple(window[g].tolist())
        planes[g] = np.zeros(shown[2] * shown[3], np.uint8)
        _zoom_window(grid.ravel(), _GRID, tuple(zoomed[g].tolist()), shown, planes[g])
    window[[len(plane) == 0 for plane in planes]] = 0
    window["row"] = window["column"] = 0
    return Masks(
        np.concatenate([np.zeros(0, np.uint8), *planes]),
        starts(np.array([len(plane) for plane in planes], np.int64)),
        np.ascontiguousarray(window["columns"]),
        window,
    )


def mask_overlap(pairs: ImagePairs, detections: Masks, people: Masks) -> np.ndarray:
    """(N,) intersection over union; over the detection's area alone where a person is a crowd."""
    shared = np.zeros(len(pairs), np.int64)
    _count_shared(detections, pairs.detection, people, pairs.person, shared)
    areas = [mask_areas(masks) for masks in (detections, people)]
    return _overlap(pairs, shared, areas[0][pairs.detection], areas[1][pairs.person])


def box_overlap(pairs: ImagePairs) -> np.ndarray:
    """(N,) intersection over union of boxes, crowds as in ``mask_overlap``."""
    boxes = pairs.detections.boxes_xywh_px[pairs.detection]
    people = pairs.people.boxes_xywh_px[pairs.person]
    first = np.maximum(boxes[:, :2], people[:, :2])
    last = np.minimum(boxes[:, :2] + boxes[:, 2:], people[:, :2] + people[:, 2:])
    width, height = (last - first).T
    shared = np.where((width > 0) & (height > 0), width * height, 0.0)
    return _overlap(pairs, shared, boxes[:, 2] * boxes[:, 3], people[:, 2] * people[:, 3])


def _overlap(
    pairs: ImagePairs, shared: np.ndarray, detection: np.ndarray, person: np.ndarray
) -> np.ndarray:
    crowd = pairs.people.crowd[pairs.person]
    union = np.where(crowd, detection, detection + person - shared).astype(np.float64)
    return np.divide(shared, union, out=np.zeros(len(shared)), where=shared > 0)


def mask_areas(masks: Masks) -> np.ndarray:
    """(K,) int64 pixels of each mask."""
    areas = np.zeros(len(masks.window), np.int64)
    every = np.arange(len(areas))
    _count_shared(masks, every, masks, every, areas)
    return areas


def segmentation_runs(record: Record, image_size: Sequence[int]) -> dict[str, Any] | None:
    """``segmentation`` as one compressed run-length mask of the image; None if it has none.

    Args:
        record: an annotation that ``structures.records`` has checked. Nothing unchecked may reach
            pycocotools, which crashes on runs that do not fill their image.
        image_size: height and width in px.
    """
    given, size = record.get("segmentation"), list(image_size)
    if not given:
        return None
    if isinstance(given, Mapping):
        return {"size": size, "counts": given["counts"].encode("ascii")}
    return _polygon_runs(given, size)


def _polygon_runs(polygons: Sequence[Sequence[float]], size: list[int]) -> dict[str, Any]:
    """The union of polygons x, y, x, y, ... as one compressed mask."""
    return coco_mask.merge(coco_mask.frPyObjects([list(polygon) for polygon in polygons], *size))


def encode_labels(label: np.ndarray, window: np.void, image_size: Sequence[int]) -> dict[str, Any]:
    """Foreground of a label map as a compressed run-length mask of the image.

    Args:
        label: (h, w) uint8.
        window: WINDOW of the map.
        image_size: height, width in px.
    """
    top, left, rows, columns, row, column = window.tolist()
    image = np.zeros(tuple(image_size), np.uint8, order="F")
    inside = label[row : row + rows, column : column + columns] > 0
    image[top : top + rows, left : left + columns] = inside
    return coco_mask.encode(image)


def _region_texts(given: Any) -> list[str]:
    """The run lengths of ``dp_masks``; empty entries are regions that are not seen."""
    # A single mask in place of the list (DensePose-Chimps) is the union itself.
    masks = [given] if isinstance(given, Mapping) else given
    return [mask["counts"] for mask in masks if mask]


def _drawn(record: Record, image_size: list[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    """The segmentation of a person: pixels around it, row by row, and their window."""
    runs = segmentation_runs(record, image_size)
    if runs is None:
        return np.zeros(0, np.uint8), (0,) * len(WINDOW)
    left, top, columns, rows = coco_mask.toBbox(runs).astype(int).tolist()
    plane = coco_mask.decode(runs)[top : top + rows, left : left + columns]
    return plane.ravel(), (top, left, rows, columns, 0, 0)


@njit(nogil=True, cache=True)
def _neighbours(old_size, new_size):
    """Places before and after each new one on the old axis, and their weights; (new_size,) each.

    The ends of the two axes lie on one another. A last place that rounding puts beyond the old axis
    has weight 0, as in scipy.
    """
    low, high = np.empty(new_size, np.int64), np.empty(new_size, np.int64)
    low_weight, high_weight = np.empty(new_size), np.empty(new_size)
    scale = (old_size - 1) / (new_size - 1) if new_size > 1 else 1.0
    for k in range(new_size):
        position = k * scale
        low[k] = min(int(np.floor(position)), old_size - 1)
        high[k] = min(low[k] + 1, old_size - 1)
        fraction = position - low[k]
        outside = position > old_size - 1
        low_weight[k] = 0.0 if outside else 1 - fraction
        high_weight[k] = 0.0 if outside else fraction
    return low, high, low_weight, high_weight


@njit(nogil=True, cache=True)
def _zoom_window(grid, side, size, window, pixels):
    """Fill pixels (rows * columns,) uint8 with what a window shows of a zoomed mask.

    Args:
        grid: (side * side,) uint8, column by column.
        side: rows and columns of the grid.
        size: rows and columns of the whole zoomed mask.
        window: the values of a WINDOW.
        pixels: see above.
    """
    _, _, rows, columns, first_row, first_column = window
    above, below, top, bottom = _neighbours(side, size[0])
    before, after, left, right = _neighbours(side, size[1])
    both = np.empty(side, np.uint8)
    for c in range(columns):
        x = first_column + c
        of_left = grid[before[x] * side : (before[x] + 1) * side]
        of_right = grid[after[x] * side : (after[x] + 1) * side]
        for k in range(side):
            both[k] = of_left[k] + of_right[k]
        beyond = left[x] + right[x] == 0
        for r in range(rows):
            y = first_row + r
            a, b = above[y], below[y]
            neighbours = both[a] + both[b]
            inside = neighbours == 4
            if neighbours > 0 and not inside:
                # scipy's order of operations, to the last bit
                value = of_left[a] * top[y] * left[x]
                value += of_right[a] * top[y] * right[x]
                value += of_left[b] * bottom[y] * left[x]
                value += of_right[b] * bottom[y] * right[x]
                inside = value > 0.5
            pixels[r * columns + c] = inside and not beyond and top[y] + bottom[y] != 0


@njit(nogil=True, cache=True)
def _count_shared(masks, index, others, other_index, shared):
    """Fill shared (N,) with the pixels in both masks[index] and others[other_index], (N,) each."""
    pixels, other_pixels = masks.pixels, others.pixels
    for k in range(len(shared)):
        i, j = index[k], other_index[k]
        a, b = masks.window[i], others.window[j]
        top, left = max(a.top, b.top), max(a.left, b.left)
        bottom = min(a.top + a.rows, b.top + b.rows)
        right = min(a.left + a.columns, b.left + b.columns)
        count = 0
        for y in range(top, bottom):
            first = masks.first[i] + (y - a.top + a.row) * masks.width[i] + left - a.left + a.column
            other = others.first[j] + (y - b.top + b.row) * others.width[j]
            other += left - b.left + b.column
            one, two = pixels[first : first + right - left], other_pixels[other:]
            for x in range(len(one)):
                count += (one[x] > 0) & (two[x] > 0)
        shared[k] = count


def without_ignored(
    people: PackedPeople,
    detections: PackedDetections,
    polygons: Sequence[Sequence[Sequence[float]]],
    *,
    only_inside_image: bool,
) -> tuple[PackedPeople, PackedDetections]:
    """People and detections of I images without those in regions that are not annotated.

    DensePose-PoseTrack has such regions.

    Args:
        people: of the images.
        detections: of the same images.
        polygons: I lists of polygons, each x, y, x, y, ...
        only_inside_image: see ``detections_to_keep``.
    """
    keep_person = np.ones(len(people), bool)
    keep_detection = np.ones(len(detections), bool)
    for image, of_image in enumerate(polygons):
        if not of_image:
            continue
        region = ignore_mask(of_image, tuple(people.image_sizes[image].tolist()))
        selected = people.image == image
        keep_person[selected] = people_to_keep(region, people.boxes_xywh_px[selected])
        found = detections.keep(detections.image == image)
        keep_detection[detections.image == image] = detections_to_keep(
            region, found.boxes_xywh_px, found.labels, only_inside_image=only_inside_image
        )
    if keep_person.all() and keep_detection.all():
        return people, detections
    return people.keep(keep_person), detections.keep(keep_detection)


def ignore_mask(polygons: Sequence[Sequence[float]], image_size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool union of polygons given as x, y, x, y, ..."""
    return coco_mask.decode(_polygon_runs(polygons, list(image_size))).astype(bool)


def people_to_keep(region: np.ndarray, boxes_xywh_px: np.ndarray) -> np.ndarray:
    """(G,) bool: the box is less than 70 % covered by the region, and has whole pixels.

    Args:
        region: (H, W) bool.
        boxes_xywh_px: (G, 4) boxes.
    """
    keep = []
    for x, y, width, height in boxes_xywh_px.astype(int):
        covered = np.count_nonzero(_crop(region, x, y, width, height))
        keep.append(width * height != 0 and covered / width / height < IGNORED_BOX_FRACTION)
    return np.array(keep, bool)


def detections_to_keep(
    region: np.ndarray,
    boxes_xywh_px: np.ndarray,
    labels: Sequence[np.ndarray],
    *,
    only_inside_image: bool,
) -> np.ndarray:
    """(D,) bool: less than 90 % of the labelled pixels lie in the region.

    Args:
        region: (H, W) bool.
        boxes_xywh_px: (D, 4) boxes.
        labels: D label maps (h, w).
        only_inside_image: a detection whose map reaches beyond the image always stays, as in
            detectron2's evaluator. False compares the part of the map that is inside.
    """
    keep = []
    for (x, y, width, height), label in zip(boxes_xywh_px.astype(int), labels, strict=True):
        if only_inside_image:
            keep.append(width * height != 0 and _keeps_as_published(region, x, y, label))
            continue
        rows, columns = np.nonzero(label)
        rows, columns = rows + y, columns + x
        inside = (rows >= 0) & (columns >= 0) & (rows < len(region)) & (columns < region.shape[1])
        covered = region[rows[inside], columns[inside]].sum()
        keep.append(covered < IGNORED_MASK_FRACTION * inside.sum() or not inside.any())
    return np.array(keep, bool)


def _crop(region: np.ndarray, x: int, y: int, width: int, height: int) -> np.ndarray:
    # A negative start counts from the far side, as in the released evaluator: people at the border
    # of PoseTrack images are mostly kept by that.
    bottom, right = min(y + height, region.shape[0]), min(x + width, region.shape[1])
    return region[y:bottom, x:right]


def _keeps_as_published(region: np.ndarray, x: int, y: int, label: np.ndarray) -> bool:
    height, width = label.shape
    crop = _crop(region, x, y, width, height)
    if crop.shape != label.shape:
        return True
    covered = np.count_nonzero(crop & (label > 0))
    return covered == 0 or covered / np.count_nonzero(label) < IGNORED_MASK_FRACTION
