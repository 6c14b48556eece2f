"""Read DensePose-COCO files into detectron2's standard dataset dicts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.structures import BoxMode

from densepose.structures.record_report import FRAME_KEYS, AnnotationReport
from densepose.structures.records import (
    POINT_KEYS,
    VERTEX_KEYS,
    AnnotationFile,
    check_records,
    read_annotation_file,
)

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
    content = check_records(
        data,
        str(json_path),
        image_root=image_root,
        tolerated=_tolerated(dataset_name, str(json_path)),
    )
    report = content.report
    if report.errors and on_bad == "error":
        raise ValueError(report.summary())
    logger.log(logging.WARNING if report.counts else logging.INFO, "%s", report.summary())
    if not content.images:
        raise ValueError(f"none of the images can be used; {report.summary()}")
    class_of = _class_numbers(content.categories, class_names, json_path)
    ids = tuple(sorted(class_of, key=class_of.__getitem__))
    records = _records(content, class_of, image_root, has_truth)
    return LoadedSet(records, tuple(content.categories[number] for number in ids), ids)


def check_annotations(json_path: str | Path, image_root: str | Path | None) -> AnnotationReport:
    """Check a file without loading it for training; broken rules are reported, not raised.

    Args:
        json_path: the annotation file.
        image_root: folder of its images, each of which is opened; None does not look for them.

    Raises:
        FileNotFoundError: the file or the folder is missing.
        ValueError: the file is no DensePose-COCO JSON at all.
    """
    if image_root is not None and not Path(image_root).is_dir():
        raise FileNotFoundError(f"{image_root}: no such folder; --images names that of the images")
    data = read_annotation_file(json_path, has_truth=False)
    return check_records(
        data,
        str(json_path),
        image_root=image_root,
        open_images=True,
        tolerated=_tolerated(str(json_path)),
    ).report


def _tolerated(*names: str) -> frozenset[str]:
    # Some ids repeat in the released minival and valminusminival files.
    repeats = any("minival" in name for name in names)
    return frozenset({"annotation-id-unique"} if repeats else ())


def _class_numbers(
    categories: Mapping[int, str], class_names: Sequence[str] | None, source: str | Path
) -> dict[int, int]:
    """Class number of each category that is read."""
    chosen = list(class_names) if class_names else [categories[n] for n in sorted(categories)]
    unknown = sorted(set(chosen) - set(categories.values()))
    if unknown:
        raise ValueError(
            f"{source}: no category is called {', '.join(unknown)}; the file has"
            f" {[categories[n] for n in sorted(categories)]}; correct CLASSES in DATASETS.REGISTER"
        )
    named = sorted(categories.items())
    return {number: chosen.index(name) for number, name in named if name in chosen}


def _records(
    content: AnnotationFile, class_of: dict[int, int], image_root: str | Path, has_truth: bool
) -> list[dict[str, Any]]:
    records = {
        image["id"]: {
            "file_name": str(Path(image_root) / image["file_name"]),
            "height": image["height"],
            "width": image["width"],
            "image_id": image["id"],
            **{name: image[key] for key, name in FRAME_KEYS.items() if key in image},
        }
        for image in sorted(content.images, key=lambda image: image["id"])
    }
    if has_truth:
        for record in records.values():
            record["annotations"] = []
        unread = 0
        for person in content.annotations:
            if person["category_id"] in class_of:
                entry = _annotation(person, class_of[person["category_id"]])
                records[person["image_id"]]["annotations"].append(entry)
            else:
                unread += 1
        if unread:
            logger.info("%d annotations of other categories are not read", unread)
    return list(records.values())


def _annotation(source: dict[str, Any], class_number: int) -> dict[str, Any]:
    """One annotation, checked, as detectron2 and the mapper read it."""
    copied = ("track_id", "segmentation", *POINT_KEYS, "dp_masks")
    copied += VERTEX_KEYS if "dp_vertex" in source else ()
    person: dict[str, Any] = {
        "id": source["id"],
        "bbox": source["bbox"],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": class_number,
        "iscrowd": source.get("iscrowd", 0),
        **{key: source[key] for key in copied if key in source},
    }
    if "keypoints" in source:
        # COCO counts pixels for keypoints; half a pixel more is the position of the pixel's centre.
        person["keypoints"] = [
            value if index % 3 == 2 else value + 0.5
            for index, value in enumerate(source["keypoints"])
        ]
    return person
