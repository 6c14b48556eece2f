"""Annotation files in detectron2's standard dataset dicts, and the choice of those to train on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.structures import BoxMode

from densepose.errors import InputError
from densepose.files import did_you_mean
from densepose.structures.record_report import FRAME_KEYS, AnnotationReport
from densepose.structures.records import (
    POINT_KEYS,
    VERTEX_KEYS,
    AnnotationFile,
    check_records,
    read_annotation_file,
)

from .categories import CategoryRule, category_ids_of, class_table, relabel, rules_from_config

logger = logging.getLogger(__name__)

ON_BAD_CHOICES = ("warn", "error")
OWNER = "densepose"  # who registered a data set, in its metadata


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
        dataset_name: for messages.
        on_bad: "warn" skips what breaks a rule and reports it in one summary; "error" raises it.
        class_names: categories to read, in the order of their class numbers; all of the file when
            skipped. The only category of a file is "person", whatever its name.
        has_truth: False for images without annotations, as of a test split.

    Returns:
        The categories, and one dict per image, sorted by image id, with file_name, height, width,
        image_id and (with truth) annotations. An annotation has id, bbox, bbox_mode XYWH_ABS,
        category_id (the class number), iscrowd, and when present and sound segmentation, keypoints
        (in px, pixel centres at half numbers) and the raw dp_x, dp_y, dp_I, dp_U, dp_V, dp_masks;
        points on vertices of a mesh have dp_x, dp_y, dp_vertex and ref_model. Frames of videos have
        video_id, frame_id and is_labeled, people in them track_id.

    Raises:
        InputError: the file or the folder is missing; the file is not DensePose-COCO JSON, nothing
            of it can be used, or a rule is broken and ``on_bad`` is "error".
    """
    if on_bad not in ON_BAD_CHOICES:
        raise InputError(f"on_bad must be one of {ON_BAD_CHOICES}, got {on_bad!r}")
    if not Path(image_root).is_dir():
        raise InputError(
            f"{image_root}: the image folder of {dataset_name} is missing; run `densepose doctor`"
            " to see what is expected where, or correct IMAGES in DATASETS.REGISTER"
        )
    data = read_annotation_file(json_path, has_truth=has_truth)
    content = check_records(data, str(json_path), image_root=image_root)
    report = content.report
    if not content.images:
        raise InputError(f"none of the images can be used; {report.summary()}")
    if report.errors and on_bad == "error":
        raise InputError(report.summary())
    logger.log(logging.WARNING if report.counts else logging.INFO, "%s", report.summary())
    class_of = _class_numbers(content.categories, class_names, json_path)
    ids = tuple(sorted(class_of, key=class_of.__getitem__))
    records = _records(content, class_of, image_root, has_truth)
    names = class_names or [content.categories[number] for number in ids]
    return LoadedSet(records, tuple(names), ids)


def check_annotations(
    json_path: str | Path,
    image_root: str | Path | None,
    on_image: Callable[[int, int], None] = lambda more, images: None,
) -> AnnotationReport:
    """Check a file without loading it for training; broken rules are reported, not raised.

    Args:
        json_path: the annotation file.
        image_root: folder of its images, each of which is decoded; None skips that check.
        on_image: is called with how many more images were opened, and how many there are.

    Raises:
        InputError: the file or the folder is missing; the file is not DensePose-COCO JSON at all.
    """
    if image_root is not None and not Path(image_root).is_dir():
        raise InputError(f"{image_root}: no such folder")
    data = read_annotation_file(json_path, has_truth=False)
    return check_records(data, str(json_path), image_root=image_root, on_image=on_image).report


def _class_numbers(
    categories: Mapping[int, str], class_names: Sequence[str] | None, source: str | Path
) -> dict[int, int]:
    """Class number of each category that is read."""
    chosen = list(class_names) if class_names else [categories[n] for n in sorted(categories)]
    if chosen == ["person"] and len(categories) == 1:
        chosen = list(categories.values())
    unknown = sorted(set(chosen) - set(categories.values()))
    if unknown:
        raise InputError(
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


def _from_config(cfg: CfgNode) -> dict[str, Any]:
    use_densepose = cfg.MODEL.DENSEPOSE_ON
    masks_teach = use_densepose and cfg.MODEL.ROI_DENSEPOSE_HEAD.COARSE_SEGM_TRAINED_BY_MASKS
    return {
        "names": cfg.DATASETS.TRAIN,
        "filter_empty": cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS,
        "use_densepose": use_densepose,
        # Pseudo labels bring points of their own.
        "needs_points": use_densepose and not cfg.BOOTSTRAP_DATASETS and not masks_teach,
        "use_masks": cfg.MODEL.MASK_ON or masks_teach,
        "needs_masks": cfg.MODEL.MASK_ON,
        "min_keypoints": cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE
        if cfg.MODEL.KEYPOINT_ON
        else 0,
        "rules": rules_from_config(cfg),
        "num_classes": cfg.MODEL.ROI_HEADS.NUM_CLASSES,
    }


# Key of an annotation -> the branch that learns from it, and what switches that off.
_TAUGHT_BY = {
    "dp_I": ("DensePose", "DENSEPOSE_ON"),
    "segmentation": ("mask", "MASK_ON"),
    "keypoints": ("keypoint", "KEYPOINT_ON"),
}


@configurable(from_config=_from_config)
def training_records(
    names: Sequence[str],
    *,
    filter_empty: bool = True,
    use_densepose: bool = True,
    needs_points: bool = False,
    use_masks: bool = False,
    needs_masks: bool = False,
    min_keypoints: int = 0,
    rules: Mapping[str, CategoryRule] | None = None,
    num_classes: int | None = None,
) -> list[dict[str, Any]]:
    """Load the data sets without images that serve none of the branches that are trained.

    Args:
        names: registered data sets; a config in their place gives all arguments.
        filter_empty: False keeps every image.
        use_densepose: an image serves when a person has annotated points.
        needs_points: refuse data sets without annotated points.
        use_masks: an image serves when a person has a segmentation.
        needs_masks: refuse data sets without segmentations.
        min_keypoints: an image serves when it has this many visible keypoints; 0 requires none.
            Above 0, data sets without visible keypoints are refused.
        rules: categories to keep and to count as others; sets without rules keep what they have.
        num_classes: classes of the model; None allows any number.

    Raises:
        InputError: a data set is not registered; no image is left, the rules name categories that
            are not there, or there are more classes than the model has.
    """
    require_registered(names)
    records = _load(names, rules or {}, num_classes)
    # People in frames without labels (PoseTrack) would be learned as background.
    labelled = [r for r in records if r.get("is_labeled", True)]
    if len(labelled) < len(records):
        logger.info("%d images are not labelled and are skipped", len(records) - len(labelled))
    kept = labelled
    if filter_empty:
        kept = [r for r in labelled if _serves(r, use_densepose, use_masks, min_keypoints)]
    needed = [needs_points, needs_masks, min_keypoints > 0]
    lacking = _lacking(kept, dict(zip(_TAUGHT_BY, needed, strict=True)))
    if lacking:
        on_meshes = sum("dp_vertex" in person for person in _people(labelled))
        if on_meshes:
            lacking += (
                f"; {on_meshes} people have points on vertices of a mesh, which chart models"
                " cannot learn from"
            )
        raise InputError(
            f"{', '.join(names)}: none of {len(records)} images has annotations {lacking}"
        )
    logger.info("%d of %d images serve training", len(kept), len(records))
    return kept


def _serves(
    record: dict[str, Any], use_densepose: bool, use_masks: bool, min_keypoints: int
) -> bool:
    people = [p for p in record.get("annotations", ()) if not p.get("iscrowd", 0)]
    if not (use_densepose or use_masks or min_keypoints > 0):
        return bool(people)
    if use_densepose and any(all(key in p for key in POINT_KEYS) for p in people):
        return True
    if use_masks and any("segmentation" in p for p in people):
        return True
    visible = (v > 0 for p in people for v in p.get("keypoints", ())[2::3])
    return 0 < min_keypoints <= sum(visible)


def _lacking(kept: Sequence[dict[str, Any]], is_needed: Mapping[str, bool]) -> str:
    """Which annotations that are needed nobody has, and what to do; empty if none is missing."""
    if not kept:
        return "for a branch that is trained (points, masks or keypoints)"
    for key, needed in is_needed.items():
        if needed and not any(_teaches(person, key) for person in _people(kept)):
            branch, switch = _TAUGHT_BY[key]
            return (
                f"of {key}, so that the {branch} branch would learn nothing: set MODEL.{switch}"
                " False, or add a data set with them"
            )
    return ""


def _people(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (person for record in records for person in record.get("annotations", ()))


def _teaches(person: dict[str, Any], key: str) -> bool:
    """Whether a branch can learn from what a person has below a key; crowds are skipped."""
    values = person.get("keypoints", ())[2::3] if key == "keypoints" else person.get(key)
    return not person.get("iscrowd", 0) and bool(values) and (key != "keypoints" or any(values))


def require_registered(names: Iterable[str]) -> None:
    """Check that all data sets are known.

    Raises:
        InputError: one is not; the message names the nearest known one.
    """
    known = sorted(DatasetCatalog.list())
    for name in names:
        if name not in known:
            ours = [k for k in known if MetadataCatalog.get(k).get("registered_by") == OWNER]
            raise InputError(
                f"no data set is called {name!r}{did_you_mean(name, known) or '.'} Known:"
                f" {', '.join(ours)}. Others are added with DATASETS.REGISTER"
            )


def _load(
    names: Sequence[str], rules: Mapping[str, CategoryRule], num_classes: int | None
) -> list[dict[str, Any]]:
    """All records of the sets, with the class numbers of the model."""
    if not any(name in rules for name in names):
        records = get_detection_dataset_dicts(list(names), filter_empty=False)
        classes = MetadataCatalog.get(names[0]).get("thing_classes", ())
        _check_count(names, classes, num_classes)
        return records
    # The catalog knows the categories of a set once it is loaded.
    loaded = {name: DatasetCatalog.get(name) for name in names}
    ids = {name: category_ids_of(name) for name in names}
    classes = {name: MetadataCatalog.get(name).thing_classes for name in names}
    table = class_table(
        {name: dict(zip(ids[name], classes[name], strict=True)) for name in names}, rules
    )
    _check_count(names, table.names, num_classes)
    logger.info("Classes after whitelists and maps: %s", ", ".join(table.names))
    relabelled = []
    for name, records in loaded.items():
        relabelled += relabel(records, ids[name], table.class_of[name], name)
    return relabelled


def _check_count(names: Sequence[str], classes: Sequence[str], num_classes: int | None) -> None:
    if num_classes is not None and len(classes) > num_classes:
        shown = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        raise InputError(
            f"{', '.join(names)} have {len(classes)} classes ({shown}), but"
            f" MODEL.ROI_HEADS.NUM_CLASSES is {num_classes}; keep some by"
            " DATASETS.WHITELISTED_CATEGORIES, count them as others by DATASETS.CATEGORY_MAPS, or"
            f" set NUM_CLASSES to {len(classes)}"
        )
