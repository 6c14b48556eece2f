"""Check the records of a DensePose-COCO file against the rules.

Shapes: I images, A annotations. Boxes are x, y, w, h in px.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .annotation_forms import broken_ignore_regions, describe_forms
from .annotation_report import AnnotationReport, name_of
from .point_check import check_masks, check_points
from .vertex_check import check_vertices

# Boxes of COCO end a fraction of a pixel outside the image now and then; this is no mistake.
BOX_MARGIN_PX = 2.0


def check_records(
    images: Sequence[Any],
    annotations: Sequence[Any],
    *,
    source: str,
    image_root: str | Path | None,
    category_ids: Sequence[int],
    num_keypoints: int = 17,
    tolerated: frozenset[str] = frozenset(),
) -> AnnotationReport:
    """Compare every record with every rule.

    Args:
        images: the ``images`` of the file.
        annotations: the ``annotations`` of the file.
        source: path of the file, for messages.
        image_root: folder of the images; None leaves out the look whether the files exist.
        category_ids: categories that are read.
        num_keypoints: keypoints of a person.
        tolerated: rules whose breaking is told, but is no error in this file.

    Returns:
        What was found; nothing is raised and no record is changed.
    """
    report = AnnotationReport(
        source=source,
        num_images=len(images),
        num_annotations=len(annotations),
        drop_image=np.zeros(len(images), bool),
        drop_annotation=np.zeros(len(annotations), bool),
        drop_points=np.zeros(len(annotations), bool),
        drop_masks=np.zeros(len(annotations), bool),
        drop_keypoints=np.zeros(len(annotations), bool),
        drop_vertices=np.zeros(len(annotations), bool),
        forms=describe_forms(images, annotations),
        tolerated=tolerated,
    )
    sizes = _check_images(report, images, image_root)
    _check_people(report, annotations, sizes, frozenset(category_ids))
    kept = {images[i]["id"] for i in np.flatnonzero(~report.drop_image)}
    lost = [isinstance(a, dict) and a.get("image_id") not in kept for a in annotations]
    report.drop_annotation |= np.array(lost, bool)
    check_points(report, annotations)
    check_vertices(report, annotations)
    check_masks(report, annotations)
    _check_shapes(report, annotations, num_keypoints)
    return report


def _check_images(
    report: AnnotationReport, images: Sequence[Any], image_root: str | Path | None
) -> dict[Any, tuple[float, float]]:
    """Rules of images; returns width and height by image id, inf where they are not known."""

    def broken_keys(image: Any) -> str:
        if not isinstance(image, dict):
            return f"no record but {type(image).__name__}"
        missing = [k for k in ("file_name", "height", "width") if image.get(k) is None]
        missing = missing if _is_id(image.get("id")) else ["id", *missing]
        if missing:
            return "no " + ", ".join(missing)
        sides = (image["height"], image["width"])
        if all(isinstance(side, int) and side > 0 for side in sides):
            return ""
        return f"height {sides[0]}, width {sides[1]}"

    why = [broken_keys(image) for image in images]
    bad = np.array([bool(text) for text in why], bool)
    report.drop_image |= bad
    report.add("image-keys", np.flatnonzero(bad), lambda i: f"image number {i + 1}: {why[i]}")

    regions = [broken_ignore_regions(image) for image in images]
    report.add(
        "image-ignore-regions",
        np.flatnonzero([bool(text) for text in regions]),
        lambda i: f"image {images[i].get('id')}: {regions[i]}",
    )

    seen: dict[Any, int] = {}
    first = np.array(
        [bad[i] or seen.setdefault(image["id"], i) == i for i, image in enumerate(images)], bool
    )
    report.drop_image |= ~first
    report.add("image-id-unique", np.flatnonzero(~first), lambda i: f"image {images[i]['id']}")

    if image_root is not None:
        usable = np.flatnonzero(~report.drop_image)
        names = [os.path.join(image_root, images[i]["file_name"]) for i in usable]
        folders = {folder: _files_in(folder) for folder in {os.path.dirname(n) for n in names}}
        here = [os.path.basename(name) in folders[os.path.dirname(name)] for name in names]
        gone = usable[~np.array(here, bool)]
        report.drop_image[gone] = True
        report.add(
            "image-file",
            gone,
            lambda i: f"image {images[i]['id']}: {Path(image_root) / images[i]['file_name']}",
        )
    named = [image for image in images if isinstance(image, dict) and _is_id(image.get("id"))]
    sizes = {image["id"]: (np.inf, np.inf) for image in named}
    return sizes | {
        images[i]["id"]: (images[i]["width"], images[i]["height"]) for i in seen.values()
    }


def _files_in(folder: str) -> frozenset[str]:
    """Names in a folder, read once: one look per image is slow on network disks."""
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def _check_people(
    report: AnnotationReport,
    annotations: Sequence[Any],
    sizes: dict[Any, tuple[float, float]],
    category_ids: frozenset[int],
) -> None:
    """Rules of ids, categories and boxes."""
    lacking = [_lacking_keys(record) for record in annotations]
    bad = np.array([bool(text) for text in lacking], bool)
    report.drop_annotation |= bad
    report.add(
        "annotation-keys",
        np.flatnonzero(bad),
        lambda i: f"annotation number {i + 1}, {name_of(annotations[i])}: {lacking[i]}",
    )
    index = np.flatnonzero(~bad)
    people = [annotations[i] for i in index]

    first: dict[Any, int] = {}
    again = [first.setdefault(person["id"], k) != k for k, person in enumerate(people)]
    repeated = index[np.array(again, bool)]
    report.add("annotation-id-unique", repeated, lambda i: name_of(annotations[i]))

    image_known = np.array([person["image_id"] in sizes for person in people], bool)
    known = np.array([person["category_id"] in category_ids for person in people], bool)
    boxes = np.array([_four_numbers(person["bbox"]) for person in people]).reshape(-1, 4)
    formed = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    size = np.array([sizes.get(person["image_id"], (np.inf,) * 2) for person in people])
    size = size.reshape(-1, 2)
    last = boxes[:, :2] + boxes[:, 2:]
    overlaps = (last > 0).all(axis=1) & (boxes[:, :2] < size).all(axis=1)
    leaves = ((boxes[:, :2] < -BOX_MARGIN_PX) | (last > size + BOX_MARGIN_PX)).any(axis=1)

    for rule, broken, key, left_out in (
        ("image-known", ~image_known, "image_id", True),
        ("category-known", ~known, "category_id", True),
        ("box-form", ~formed, "bbox", True),
        ("box-in-image", formed & ~overlaps, "bbox", True),
        ("box-inside-image", formed & overlaps & leaves, "bbox", False),
    ):
        report.drop_annotation[index[broken]] |= left_out
        describe = partial(_name_and_value, annotations, key)
        report.add(rule, index[broken], describe)


def _name_and_value(annotations: Sequence[Any], key: str, i: int) -> str:
    return f"{name_of(annotations[i])}: got {key} {annotations[i][key]}"


def _lacking_keys(record: Any) -> str:
    """What an annotation lacks to be used at all; empty where it lacks nothing."""
    if not isinstance(record, dict):
        return f"no record but {type(record).__name__}"
    missing = [key for key in ("id", "image_id", "category_id") if not _is_id(record.get(key))]
    missing += ["bbox"] if record.get("bbox") is None else []
    return "no " + ", ".join(missing) if missing else ""


def _is_id(value: Any) -> bool:
    return isinstance(value, int)


def _four_numbers(box: Any) -> tuple[float, ...]:
    """The box, or four nan where it is none."""
    if isinstance(box, (list, tuple)) and len(box) == 4:
        if all(isinstance(value, (int, float)) for value in box):
            return tuple(box)
    return (np.nan,) * 4


def _check_shapes(report: AnnotationReport, annotations: Sequence[Any], num_keypoints: int) -> None:
    """Rules of segmentation and keypoints."""

    def is_wrong(segmentation: Any) -> bool:
        if isinstance(segmentation, dict):
            return not {"counts", "size"} <= set(segmentation)
        return not isinstance(segmentation, list) or not all(map(is_polygon, segmentation))

    records = [record if isinstance(record, dict) else {} for record in annotations]
    wrong = [r.get("segmentation") is not None and is_wrong(r["segmentation"]) for r in records]
    report.add(
        "segmentation-form",
        np.flatnonzero(np.array(wrong, bool)),
        lambda i: f"{name_of(annotations[i])}: got {str(annotations[i]['segmentation'])[:60]}",
    )

    def is_pose(keypoints: Any) -> bool:
        if not isinstance(keypoints, list) or len(keypoints) != 3 * num_keypoints:
            return False
        return all(isinstance(v, (int, float)) and np.isfinite(v) for v in keypoints)

    named = [r.get("keypoints") is not None for r in records]
    bad = [has and not is_pose(r["keypoints"]) for has, r in zip(named, records, strict=True)]
    report.drop_keypoints |= np.array(bad, bool)
    report.add(
        "keypoints-form",
        np.flatnonzero(np.array(bad, bool)),
        lambda i: f"{name_of(annotations[i])}: expected {num_keypoints} x 3 numbers",
    )


def is_polygon(points: Any) -> bool:
    """True for a flat list x, y, x, y, ... of at least three points."""
    return isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0
