"""Image regions in which nothing was annotated (DensePose-PoseTrack), and what to leave out there.

Shapes: H x W the image, G people, D detections.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from .detections import PackedDetections
from .packed_people import PackedPeople

# Shares of an annotated box, and of the pixels a detection labels, from which on it is left out.
IGNORED_BOX_SHARE = 0.7
IGNORED_MASK_SHARE = 0.9


def without_ignored(
    people: PackedPeople,
    detections: PackedDetections,
    polygons: Sequence[Sequence[Sequence[float]]],
    *,
    only_inside_image: bool,
) -> tuple[PackedPeople, PackedDetections]:
    """People and detections of I images without those in the regions to ignore.

    Args:
        people: of the images.
        detections: of the same images.
        polygons: I lists of polygons, each x, y, x, y, ...
        only_inside_image: see ``detections_to_keep``.
    """
    with_regions = [index for index, of_image in enumerate(polygons) if of_image]
    if not with_regions:
        return people, detections
    keep_person = np.ones(len(people), bool)
    keep_detection = np.ones(len(detections), bool)
    for index in with_regions:
        height, width = people.image_sizes[index].tolist()
        region = ignore_mask(polygons[index], (height, width))
        mine = people.image == index
        keep_person[mine] = people_to_keep(region, people.boxes_xywh_px[mine])
        found = detections.keep(detections.image == index)
        keep_detection[detections.image == index] = detections_to_keep(
            region, found.boxes_xywh_px, found.labels, only_inside_image=only_inside_image
        )
    return people.keep(keep_person), detections.keep(keep_detection)


def ignore_mask(
    polygons: Sequence[Sequence[float]], image_size: tuple[int, int]
) -> np.ndarray | None:
    """(H, W) bool union of polygons given as x, y, x, y, ...; None without polygons."""
    if not polygons:
        return None
    runs = coco_mask.frPyObjects([list(polygon) for polygon in polygons], *image_size)
    return coco_mask.decode(coco_mask.merge(runs)).astype(bool)


def people_to_keep(region: np.ndarray | None, boxes_xywh_px: np.ndarray) -> np.ndarray:
    """(G,) bool: the box is less than 70 % covered by the region, and has whole pixels.

    Args:
        region: (H, W) bool or None, then everybody stays.
        boxes_xywh_px: (G, 4) boxes.
    """
    if region is None:
        return np.ones(len(boxes_xywh_px), bool)
    keep = []
    for x, y, width, height in boxes_xywh_px.astype(int):
        covered = np.count_nonzero(_crop(region, x, y, width, height))
        keep.append(width * height != 0 and covered / width / height < IGNORED_BOX_SHARE)
    return np.array(keep, bool)


def detections_to_keep(
    region: np.ndarray | None,
    boxes_xywh_px: np.ndarray,
    labels: Sequence[np.ndarray],
    *,
    only_inside_image: bool,
) -> np.ndarray:
    """(D,) bool: less than 90 % of the labelled pixels lie in the region.

    Args:
        region: (H, W) bool or None, then every detection stays.
        boxes_xywh_px: (D, 4) boxes.
        labels: D label maps (h, w).
        only_inside_image: a detection whose map reaches beyond the image always stays, as in
            detectron2's evaluator. False compares the part of the map that is inside.
    """
    if region is None:
        return np.ones(len(boxes_xywh_px), bool)
    keep = []
    for (x, y, width, height), label in zip(boxes_xywh_px.astype(int), labels, strict=True):
        if only_inside_image:
            keep.append(width * height != 0 and _keeps_as_published(region, x, y, label))
            continue
        rows, columns = np.nonzero(label)
        rows, columns = rows + y, columns + x
        inside = (rows >= 0) & (columns >= 0) & (rows < len(region)) & (columns < region.shape[1])
        covered = region[rows[inside], columns[inside]].sum()
        keep.append(covered < IGNORED_MASK_SHARE * inside.sum() or not inside.any())
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
    return covered == 0 or covered / np.count_nonzero(label) < IGNORED_MASK_SHARE
