"""Entries of BOOTSTRAP_DATASETS: images without annotations that a teacher labels while training.

The keys are those of detectron2's DensePose; PATH, MOST_CONFIDENT and the image loaders
image_folder and image_list are our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode

KEY = "BOOTSTRAP_DATASETS"
HEAD = "MODEL.ROI_DENSEPOSE_HEAD"
IMAGE_LOADERS = ("video_keyframe", "image_folder", "image_list")
# Data sampler -> the channel that points are chosen by, and the key that makes a model predict it.
SAMPLERS: dict[str, tuple[str | None, str]] = {
    "densepose_uniform": (None, ""),
    "densepose_UV_confidence": ("sigma_2", "UV_CONFIDENCE"),
    "densepose_fine_segm_confidence": ("fine_segm_confidence", "SEGM_CONFIDENCE"),
    "densepose_coarse_segm_confidence": ("coarse_segm_confidence", "SEGM_CONFIDENCE"),
}
_NO_EMBEDDINGS = "concerns surface embeddings, which a chart model does not have; leave it out"


def bootstrap_entries(cfg: CfgNode) -> list[CfgNode]:
    """BOOTSTRAP_DATASETS with all keys of each entry.

    Raises:
        ValueError: an entry is no mapping, or has an unknown key or a value of the wrong type.
    """
    return [_entry(number, given) for number, given in enumerate(cfg.BOOTSTRAP_DATASETS)]


def _entry(number: int, given: Any) -> CfgNode:
    where = f"{KEY}[{number}]"
    if not isinstance(given, Mapping):
        raise ValueError(
            f"{where} must be a mapping with DATASET, IMAGE_LOADER, ..., got {given!r}"
        )
    entry = _defaults()
    try:
        entry.merge_from_other_cfg(CfgNode(_plain(given)))
    except (KeyError, ValueError) as error:
        raise ValueError(f"{where}: {error.args[0]}") from error
    return entry


def _plain(value: Any) -> Any:
    return {key: _plain(v) for key, v in value.items()} if isinstance(value, Mapping) else value


def _defaults() -> CfgNode:
    entry = CfgNode({"DATASET": ""})  # a name: of a known set of videos, or any with a PATH
    entry.RATIO = 0.1  # samples drawn for each annotated one
    entry.IMAGE_LOADER = loader = CfgNode()
    loader.TYPE = ""  # one of IMAGE_LOADERS
    # Folder of images (image_folder), or text file with one path a line (image_list,
    # video_keyframe); relative ones start in the text file's folder.
    loader.PATH = ""
    loader.BATCH_SIZE = 4  # files read and shuffled together
    loader.NUM_WORKERS = 4
    loader.SELECT = CfgNode({"STRATEGY": "random_k", "NUM_IMAGES": 4})  # key frames of a video
    loader.TRANSFORM = CfgNode({"TYPE": "resize", "MIN_SIZE": 800, "MAX_SIZE": 1333})  # px
    loader.KEYFRAME_HELPER = ""  # CSV file of key frames that were listed before
    loader.CATEGORIES = []
    loader.MAX_COUNT_PER_CATEGORY = 1_000_000
    loader.CATEGORY_TO_CLASS_MAPPING = CfgNode(new_allowed=True)
    # Images that the teacher gets at once. OUTPUT_BATCH_SIZE has no effect: samples are drawn one
    # by one.
    entry.INFERENCE = CfgNode({"INPUT_BATCH_SIZE": 4, "OUTPUT_BATCH_SIZE": 2})
    entry.DATA_SAMPLER = sampler = CfgNode()
    sampler.TYPE = ""  # one of SAMPLERS
    sampler.COUNT_PER_CLASS = 8  # points of each part of a person at most
    # Segmentation confidences: False draws among the lower half of them, as detectron2 does, True
    # among the upper half. Of the UV confidence, always among the smaller half of the variances.
    sampler.MOST_CONFIDENT = False
    sampler.USE_GROUND_TRUTH_CATEGORIES = False
    entry.FILTER = CfgNode(
        {"TYPE": "", "MIN_VALUE": 0.8}
    )  # detection_score: people below are left out
    return entry


def check_bootstrap(cfg: CfgNode) -> None:
    """Raise ``ValueError`` for what cannot apply, with the key and how to mend it."""
    for number, entry in enumerate(bootstrap_entries(cfg)):
        _check_entry(f"{KEY}[{number}]", entry, cfg)
    if not cfg.BOOTSTRAP_DATASETS:
        return
    if not cfg.MODEL.DENSEPOSE_ON:
        raise ValueError(f"{KEY} needs MODEL.DENSEPOSE_ON: the teacher's body points are learnt")
    if cfg.MODEL.KEYPOINT_ON:
        raise ValueError(f"{KEY} gives no keypoints; set MODEL.KEYPOINT_ON False")
    if cfg.MODEL.ROI_DENSEPOSE_HEAD.NUM_PATCHES != 24:
        raise ValueError(f"{KEY} needs the 24 parts of the human body; set {HEAD}.NUM_PATCHES 24")
    if not cfg.BOOTSTRAP_MODEL.WEIGHTS and not cfg.MODEL.ALLOW_RANDOM_HEAD:
        raise ValueError(
            "BOOTSTRAP_MODEL.WEIGHTS is empty, so the teacher knows nothing; give the weights of a"
            " model of this config"
        )


def _check_entry(where: str, entry: CfgNode, cfg: CfgNode) -> None:
    loader, sampler = entry.IMAGE_LOADER, entry.DATA_SAMPLER
    choices: list[tuple[str, object, object]] = [
        ("IMAGE_LOADER.TYPE", loader.TYPE, IMAGE_LOADERS),
        ("IMAGE_LOADER.SELECT.STRATEGY", loader.SELECT.STRATEGY, _strategies()),
        ("IMAGE_LOADER.TRANSFORM.TYPE", loader.TRANSFORM.TYPE, ("resize",)),
        ("DATA_SAMPLER.TYPE", sampler.TYPE, tuple(SAMPLERS)),
        ("FILTER.TYPE", entry.FILTER.TYPE, ("detection_score",)),
    ]
    for key, value, allowed in choices:
        if value not in allowed:
            raise ValueError(f"{where}.{key}={value!r}; allowed: {', '.join(map(repr, allowed))}")
    numbers = {
        "RATIO": entry.RATIO,
        "IMAGE_LOADER.BATCH_SIZE": loader.BATCH_SIZE,
        "IMAGE_LOADER.SELECT.NUM_IMAGES": loader.SELECT.NUM_IMAGES,
        "IMAGE_LOADER.TRANSFORM.MIN_SIZE": loader.TRANSFORM.MIN_SIZE,
        "IMAGE_LOADER.TRANSFORM.MAX_SIZE": loader.TRANSFORM.MAX_SIZE,
        "INFERENCE.INPUT_BATCH_SIZE": entry.INFERENCE.INPUT_BATCH_SIZE,
        "DATA_SAMPLER.COUNT_PER_CLASS": sampler.COUNT_PER_CLASS,
    }
    for key, value in numbers.items():
        if value <= 0:
            raise ValueError(f"{where}.{key}={value} must be positive")
    useless = {
        "IMAGE_LOADER.CATEGORIES": loader.CATEGORIES,
        "IMAGE_LOADER.CATEGORY_TO_CLASS_MAPPING": loader.CATEGORY_TO_CLASS_MAPPING,
        "DATA_SAMPLER.USE_GROUND_TRUTH_CATEGORIES": sampler.USE_GROUND_TRUTH_CATEGORIES,
    }
    for key, value in useless.items():
        if value:
            raise ValueError(f"{where}.{key} {_NO_EMBEDDINGS}")
    _, confidence = SAMPLERS[sampler.TYPE]
    if confidence and not cfg.MODEL.ROI_DENSEPOSE_HEAD[confidence].ENABLED:
        raise ValueError(
            f"{where}.DATA_SAMPLER.TYPE={sampler.TYPE!r} needs {HEAD}.{confidence}.ENABLED True, in"
            " this config and in the teacher's weights"
        )
    if sampler.MOST_CONFIDENT and confidence != "SEGM_CONFIDENCE":
        raise ValueError(
            f"{where}.DATA_SAMPLER.MOST_CONFIDENT is about segmentation confidences, not about"
            f" {sampler.TYPE!r}"
        )


def _strategies() -> tuple[str, ...]:
    from densepose.data.bootstrap.videos import STRATEGIES

    return STRATEGIES
