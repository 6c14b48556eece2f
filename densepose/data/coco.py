"""Read DensePose-COCO files into detectron2's standard dataset dicts."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from detectron2.structures import BoxMode

from .annotation_check import check_records, is_polygon
from .annotation_forms import VERTEX_KEYS, frame_entries, with_file_names
from .annotation_report import AnnotationReport
from .point_check import POINT_KEYS

logger = logging.getLogger(__name__)

ON_BAD_CHOICES = ("warn", "error")


class LoadedSet(NamedTuple):
    """The records of an annotation file and the categories that were read."""

    records: list[dict[str, Any]]
    class_names: tuple[str, ...]  # by class number
    category_ids: tuple[int, ...]  # ids in the file, by class number


def load_densepose_coco(
    json_path: str | Path,
    image_root: str | Path,
    dataset_name: str,
    on_bad: str = "warn",
    **options: Any,
) -> list[dict[str, Any]]:
    """The records alone of ``read_densepose_coco``, which has the same arguments."""
    return read_densepose_coco(json_path, image_root, dataset_name, on_bad, **options).records


def read_densepose_coco(
    json_path: str | Path,
    image_root: str | Path,
    dataset_name: str,
    on_bad: str = "warn",
    *,
    class_names: Sequence[str] | None = None,
    has_truth: bool = True,
) -> LoadedSet:
    """Load a file in the format of DensePose-COCO.

    Args:
        json_path: the annotation file.
        image_root: folder the ``file_name`` of images is relative to.
        dataset_name: for messages; ids may repeat in data sets whose name holds "minival", as they
            do in the released files.
        on_bad: "warn" leaves out what breaks a rule and tells it in one summary; "error" raises it.
        class_names: categories to read, in the order of their class numbers; all of the file when
            left out.
        has_truth: False for images without annotations, as of a test split.

    Returns:
        The categories, and one dict per image, sorted by image id, with file_name, height, width,
        image_id and (with truth) annotations. An annotation has id, bbox, bbox_mode XYWH_ABS,
        category_id (the class number), iscrowd, and when present and sound segmentation, keypoints
        (in px, pixel centres at half numbers) and the raw dp_x, dp_y, dp_I, dp_U, dp_V, dp_masks;
        points on vertices of a mesh have dp_x, dp_y, dp_vertex and ref_model. Frames of videos have
        video_id, frame_id and is_labeled, people in them track_id.

    Raises:
        FileNotFoundError: the file or the folder is missing.
        ValueError: the file is no DensePose-COCO JSON, nothing of it can be used, or a rule is
            broken and ``on_bad`` is "error".
    """
    if on_bad not in ON_BAD_CHOICES:
        raise ValueError(f"on_bad must be one of {ON_BAD_CHOICES}, got {on_bad!r}")
    if not Path(image_root).is_dir():
        raise FileNotFoundError(
            f"{image_root}: the image folder of {dataset_name} is missing; run `densepose doctor`"
            " to see what is expected where, or correct IMAGES in DATASETS.REGISTER"
        )
    data = read_annotation_file(json_path, has_truth=has_truth)
    report, class_of = _check(data, json_path, image_root, dataset_name, class_names)
    if report.errors and on_bad == "error":
        raise ValueError(report.summary())
    logger.log(logging.WARNING if report.counts else logging.INFO, "%s", report.summary())
    if report.drop_image.all():
        raise ValueError(f"none of the images can be used; {report.summary()}")
    names = {int(c["id"]): str(c["name"]) for c in data["categories"]}
    ids = tuple(sorted(class_of, key=class_of.__getitem__))
    records = _records(data, report, class_of, image_root, has_truth)
    return LoadedSet(records, tuple(names[number] for number in ids), ids)


def check_annotations(
    json_path: str | Path,
    image_root: str | Path | None,
    *,
    class_names: Sequence[str] | None = None,
) -> AnnotationReport:
    """Check a file without loading it for training; broken rules are reported, not raised.

    Args:
        json_path: the annotation file.
        image_root: folder of its images; None leaves out the look whether they exist.
        class_names: as for ``load_densepose_coco``.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is no DensePose-COCO JSON at all.
    """
    data = read_annotation_file(json_path, has_truth=False)
    return _check(data, json_path, image_root, Path(json_path).name, class_names)[0]


def read_annotation_file(path: str | Path, *, has_truth: bool = True) -> dict[str, Any]:
    """The top level of an annotation file, with ``images``, ``categories`` and ``annotations``.

    Args:
        path: the file.
        has_truth: False accepts a file without annotations; the list is empty then.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is no JSON, or lacks a list.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: the annotation file is missing; run `densepose doctor` for the command that"
            " gets it, or correct ANNOTATIONS in DATASETS.REGISTER"
        )
    try:
        data = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: expected a JSON file, but it cannot be read ({error}); it has"
            f" {path.stat().st_size:,} bytes and may be cut off: download or write it again"
        ) from error
    needed = ("images", "annotations") if has_truth else ("images",)
    for key in needed:
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            got = f"keys {sorted(data)}" if isinstance(data, dict) else type(data).__name__
            raise ValueError(
                f"{path}: expected a DensePose-COCO file with the lists {' and '.join(needed)}, got"
                f" {got}; the format is described in datasets/README.md"
            )
    person = {"id": 1, "name": "person"}
    named = {"images": with_file_names(data["images"])}
    return {"annotations": [], "categories": [person], **data, **named}


def _check(
    data: dict[str, Any],
    json_path: str | Path,
    image_root: str | Path | None,
    dataset_name: str,
    class_names: Sequence[str] | None,
) -> tuple[AnnotationReport, dict[int, int]]:
    """Check all records; also returns the class number of each category that is read."""
    categories = sorted((int(c["id"]), str(c["name"])) for c in data["categories"])
    chosen = list(class_names) if class_names else [name for _, name in categories]
    unknown = sorted(set(chosen) - {name for _, name in categories})
    if unknown:
        raise ValueError(
            f"{json_path}: no category is called {', '.join(unknown)}; the file has"
            f" {[name for _, name in categories]}; correct CLASSES in DATASETS.REGISTER"
        )
    class_of = {number: chosen.index(name) for number, name in categories if name in chosen}
    tolerated = set()
    if len(class_of) < len(categories):
        tolerated.add("category-known")
    # Some ids repeat in the released minival and valminusminival files.
    if "minival" in dataset_name or "minival" in str(json_path):
        tolerated.add("annotation-id-unique")
    report = check_records(
        data["images"],
        data["annotations"],
        source=str(json_path),
        image_root=image_root,
        category_ids=tuple(class_of),
        tolerated=frozenset(tolerated),
    )
    return report, class_of


def _records(
    data: dict[str, Any],
    report: AnnotationReport,
    class_of: dict[int, int],
    image_root: str | Path,
    has_truth: bool,
) -> list[dict[str, Any]]:
    images = [data["images"][i] for i in np.flatnonzero(~report.drop_image)]
    records = {
        image["id"]: {
            "file_name": str(Path(image_root) / image["file_name"]),
            "height": image["height"],
            "width": image["width"],
            "image_id": image["id"],
            **frame_entries(image),
        }
        for image in sorted(images, key=lambda image: image["id"])
    }
    if has_truth:
        for record in records.values():
            record["annotations"] = []
        for i in np.flatnonzero(~report.drop_annotation):
            source = data["annotations"][i]
            person = _annotation(source, class_of[source["category_id"]])
            if not report.drop_points[i]:
                person |= {key: source[key] for key in POINT_KEYS if key in source}
            if not report.drop_vertices[i] and "dp_vertex" in source:
                person |= {key: source[key] for key in ("dp_x", "dp_y", *VERTEX_KEYS)}
            if not report.drop_masks[i] and source.get("dp_masks"):
                person["dp_masks"] = source["dp_masks"]
            if report.drop_keypoints[i]:
                person.pop("keypoints", None)
            records[source["image_id"]]["annotations"].append(person)
    return list(records.values())


def _annotation(source: dict[str, Any], class_number: int) -> dict[str, Any]:
    """Box, class, segmentation and keypoints of one annotation."""
    person: dict[str, Any] = {
        "id": source["id"],
        "bbox": source["bbox"],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": class_number,
        "iscrowd": source.get("iscrowd", 0),
    }
    if "track_id" in source:
        person["track_id"] = source["track_id"]
    segmentation = source.get("segmentation")
    if isinstance(segmentation, list):
        segmentation = [polygon for polygon in segmentation if is_polygon(polygon)]
    if segmentation:
        person["segmentation"] = segmentation
    keypoints = source.get("keypoints")
    if keypoints:
        # COCO counts pixels for keypoints; half a pixel more is the position of the pixel's centre.
        person["keypoints"] = [
            value if index % 3 == 2 else value + 0.5 for index, value in enumerate(keypoints)
        ]
    return person
