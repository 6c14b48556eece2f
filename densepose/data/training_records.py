"""The dataset dicts a model is trained on: all data sets together, without idle images."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts

from densepose.structures.records import POINT_KEYS

from .category_maps import CategoryRule, class_table, relabel, rules_from_config
from .registration import require_registered

logger = logging.getLogger(__name__)


def _from_config(cfg: CfgNode) -> dict[str, Any]:
    use_densepose = cfg.MODEL.DENSEPOSE_ON
    masks_teach = use_densepose and cfg.MODEL.ROI_DENSEPOSE_HEAD.COARSE_SEGM_TRAINED_BY_MASKS
    return {
        "names": cfg.DATASETS.TRAIN,
        "filter_empty": cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS,
        "use_densepose": use_densepose,
        "use_masks": cfg.MODEL.MASK_ON or masks_teach,
        "min_keypoints": cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE
        if cfg.MODEL.KEYPOINT_ON
        else 0,
        "rules": rules_from_config(cfg),
        "num_classes": cfg.MODEL.ROI_HEADS.NUM_CLASSES,
    }


@configurable(from_config=_from_config)
def training_records(
    names: Sequence[str],
    *,
    filter_empty: bool = True,
    use_densepose: bool = True,
    use_masks: bool = False,
    min_keypoints: int = 0,
    rules: Mapping[str, CategoryRule] | None = None,
    num_classes: int | None = None,
) -> list[dict[str, Any]]:
    """Load the data sets and leave out images that serve none of the branches that are trained.

    Args:
        names: registered data sets; a config in their place gives all arguments.
        filter_empty: False keeps every image.
        use_densepose: an image serves when a person has annotated points.
        use_masks: an image serves when a person has a segmentation.
        min_keypoints: an image serves when it has this many visible keypoints; 0 looks for none.
        rules: categories to keep and to count as others; sets without rules keep what they have.
        num_classes: classes of the model; any number when left out.

    Raises:
        KeyError: a data set is not registered.
        ValueError: no image is left, the rules name categories that are not there, or there are
            more classes than the model has.
    """
    require_registered(names)
    records = _load(names, rules or {}, num_classes)
    looks = use_densepose or use_masks or min_keypoints > 0

    def serves(record: dict[str, Any]) -> bool:
        people = [p for p in record.get("annotations", ()) if not p.get("iscrowd", 0)]
        if not looks:
            return bool(people)
        if use_densepose and any(all(key in p for key in POINT_KEYS) for p in people):
            return True
        if use_masks and any("segmentation" in p for p in people):
            return True
        return 0 < min_keypoints <= sum(_num_visible(p) for p in people)

    # People in frames that nobody labelled (PoseTrack) would be taught as background.
    labelled = [r for r in records if r.get("is_labeled", True)]
    if len(labelled) < len(records):
        logger.info("%d images are not labelled and left out", len(records) - len(labelled))
    kept = [r for r in labelled if serves(r)] if filter_empty else labelled
    if not kept:
        on_meshes = sum("dp_vertex" in p for r in labelled for p in r.get("annotations", ()))
        raise ValueError(
            f"{', '.join(names)}: none of {len(records)} images has annotations for a branch that"
            " is trained (points, masks or keypoints)"
            + (
                f"; {on_meshes} people have points on vertices of a mesh, which chart models"
                " cannot learn from"
                if on_meshes
                else ""
            )
        )
    logger.info("%d of %d images serve training", len(kept), len(records))
    return kept


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


def category_ids_of(name: str) -> tuple[int, ...]:
    """Category ids of a loaded set by its own class numbers.

    Raises:
        ValueError: its metadata do not say them.
    """
    numbers = MetadataCatalog.get(name).get("thing_dataset_id_to_contiguous_id")
    if numbers is None:
        raise ValueError(
            f"{name}: its metadata have no thing_dataset_id_to_contiguous_id, so that"
            " DATASETS.WHITELISTED_CATEGORIES and CATEGORY_MAPS cannot apply to sets used with it"
        )
    return tuple(sorted(numbers, key=numbers.__getitem__))


def _check_count(names: Sequence[str], classes: Sequence[str], num_classes: int | None) -> None:
    if num_classes is not None and len(classes) > num_classes:
        shown = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        raise ValueError(
            f"{', '.join(names)} have {len(classes)} classes ({shown}), but"
            f" MODEL.ROI_HEADS.NUM_CLASSES is {num_classes}; keep some by"
            " DATASETS.WHITELISTED_CATEGORIES, count them as others by DATASETS.CATEGORY_MAPS, or"
            f" set NUM_CLASSES to {len(classes)}"
        )


def _num_visible(person: dict[str, Any]) -> int:
    return sum(visibility > 0 for visibility in person.get("keypoints", ())[2::3])
