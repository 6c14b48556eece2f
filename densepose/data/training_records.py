"""The dataset dicts a model is trained on: all data sets together, without idle images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.data import get_detection_dataset_dicts

from .point_check import POINT_KEYS
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
    }


@configurable(from_config=_from_config)
def training_records(
    names: Sequence[str],
    *,
    filter_empty: bool = True,
    use_densepose: bool = True,
    use_masks: bool = False,
    min_keypoints: int = 0,
) -> list[dict[str, Any]]:
    """Load the data sets and leave out images that serve none of the branches that are trained.

    Args:
        names: registered data sets; a config in their place gives all arguments.
        filter_empty: False keeps every image.
        use_densepose: an image serves when a person has annotated points.
        use_masks: an image serves when a person has a segmentation.
        min_keypoints: an image serves when it has this many visible keypoints; 0 looks for none.

    Raises:
        KeyError: a data set is not registered.
        ValueError: no image is left.
    """
    require_registered(names)
    records = get_detection_dataset_dicts(list(names), filter_empty=False)
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

    kept = [r for r in records if serves(r)] if filter_empty else records
    if not kept:
        raise ValueError(
            f"{', '.join(names)}: none of {len(records)} images has annotations for a branch that"
            " is trained (points, masks or keypoints)"
        )
    logger.info("%d of %d images serve training", len(kept), len(records))
    return kept


def _num_visible(person: dict[str, Any]) -> int:
    return sum(visibility > 0 for visibility in person.get("keypoints", ())[2::3])
