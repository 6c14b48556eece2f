"""Refuse a config whose values are unknown or contradict each other, before anything is built.

Two tables hold the rules: ``ALLOWED`` of single keys, ``CONFLICTS`` of several.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from typing import Any, NamedTuple

from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, ROI_HEADS_REGISTRY

from densepose.data.categories import rules_from_config
from densepose.modeling import (
    DENSEPOSE_LOSS_REGISTRY,
    DENSEPOSE_PREDICTOR_REGISTRY,
    ROI_DENSEPOSE_HEAD_REGISTRY,
    register_all,
)
from densepose.modeling.timm_backbone import PRETRAINED_SOURCES

from .keys import bootstrap_entries

HEAD = "MODEL.ROI_DENSEPOSE_HEAD"
CASCADE = "MODEL.ROI_CASCADE"
TIMM_BACKBONE = "build_timm_fpn_backbone"
FCN = "DensePoseFCN"
CASCADING = "CascadeDensePoseROIHeads"
# Data sampler -> the channel that points are chosen by, and the key that makes a model predict it.
SAMPLERS: dict[str, tuple[str | None, str]] = {
    "densepose_uniform": (None, ""),
    "densepose_UV_confidence": ("sigma_2", "UV_CONFIDENCE"),
    "densepose_fine_segm_confidence": ("fine_segm_confidence", "SEGM_CONFIDENCE"),
    "densepose_coarse_segm_confidence": ("coarse_segm_confidence", "SEGM_CONFIDENCE"),
}


class Rule(NamedTuple):
    """What the value of one key may be."""

    text: str  # behind "allowed: "
    holds: Callable[[Any], bool]


def one_of(*values: Any) -> Rule:
    """Any of some values."""
    return Rule(", ".join(map(repr, values)), lambda value: value in values)


def none_of(*values: str) -> Rule:
    """Anything but some of detectron2's classes."""
    text = f"other than {', '.join(map(repr, values))}, whose inputs this package does not read"
    return Rule(text, lambda value: value not in values)


def list_of(*values: str) -> Rule:
    """A list of some of these words."""
    return Rule(f"a list of {', '.join(map(repr, values))}", lambda given: set(given) <= {*values})


def between(low: float, high: float = math.inf, *, low_too: bool = True) -> Rule:
    """From ``low``, which is allowed itself if ``low_too``, up to ``high``."""
    limit = f" to {high}" if high < math.inf else " or more" if low_too else ""
    text = f"{low}{limit}" if low_too else f"above {low}{limit}"
    return Rule(text, lambda value: (low < value or (low_too and low == value)) and value <= high)


POSITIVE = between(0, low_too=False)
ODD = Rule("an odd number", lambda value: value % 2 == 1)
NAME_PREFIXES = Rule(
    "a list of beginnings of parameter names, for example ['backbone.bottom_up']",
    lambda given: isinstance(given, (list, tuple)) and all(isinstance(p, str) for p in given),
)
NO_EMBEDDINGS = Rule(
    "nothing, because the key is about surface embeddings, which this package does not have;"
    " remove it",
    lambda value: not value,
)

ALLOWED: dict[str, Rule] = {
    f"{HEAD}.NUM_COARSE_SEGM_CHANNELS": one_of(0, 2, 15),
    f"{HEAD}.CONV_HEAD_KERNEL": ODD,
    f"{HEAD}.DECONV_KERNEL": Rule("an even number", lambda size: size >= 2 and size % 2 == 0),
    f"{HEAD}.FOREGROUND_WEIGHT": POSITIVE,
    f"{HEAD}.UV_LOSS_REDUCTION": one_of("sum", "mean"),
    f"{HEAD}.UV_CONFIDENCE.TYPE": one_of("iid_iso", "indep_aniso"),
    f"{HEAD}.UV_CONFIDENCE.EPSILON": POSITIVE,
    f"{HEAD}.SEGM_CONFIDENCE.EPSILON": POSITIVE,
    f"{CASCADE}.TEST_STAGE": one_of(0, 1, 2),
    f"{CASCADE}.TASKS": list_of("densepose", "mask", "keypoints"),
    f"{CASCADE}.CONV_KERNEL": ODD,
    f"{CASCADE}.CONV_DILATION": between(1),
    f"{CASCADE}.REFINED": one_of("replace", "add"),
    "MODEL.ROI_BOX_HEAD.REFINEMENTS": between(0),
    "MODEL.DP_FCN.FIGURE_GROUND": one_of("none", "multiply", "channel", "multiply+regions"),
    "MODEL.CPU_OPS": one_of("auto", "off"),
    "MODEL.FINE_TUNE.EXCLUDE": NAME_PREFIXES,
    "MODEL.FINE_TUNE.FREEZE": NAME_PREFIXES,
    "MODEL.META_ARCHITECTURE": none_of("PanopticFPN", "SemanticSegmentor"),
    "MODEL.PROPOSAL_GENERATOR.NAME": none_of("PrecomputedProposals", "RRPN"),
    "MODEL.ROI_HEADS.NAME": none_of("RROIHeads"),
    "INPUT.MASK_FORMAT": one_of("bitmask", "polygon"),
    "DATASETS.ON_BAD_RECORD": one_of("warn", "error"),
    "DATASETS.ON_MISSING_INPAINTED": one_of("error", "count"),
    "DATASETS.CLASS_TO_MESH_NAME_MAPPING": NO_EMBEDDINGS,
    "SOLVER.OPTIMIZER": one_of("SGD", "ADAMW"),
    "SOLVER.AMP.PRECISION": one_of("", "float16", "bfloat16"),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": one_of("value", "norm", "full_model"),
    "SOLVER.EMA.DECAY": Rule("from 0 to below 1", lambda decay: 0 <= decay < 1),
    "DATALOADER.SAMPLER_TRAIN": one_of("TrainingSampler", "RepeatFactorTrainingSampler"),
    "FLOAT32_PRECISION": one_of("", "highest", "high", "medium"),
    "DENSEPOSE_EVALUATION.TYPE": one_of("iou"),
    "DENSEPOSE_EVALUATION.STORAGE": one_of("none", "ram", "file"),
    "DENSEPOSE_EVALUATION.MIN_IOU_THRESHOLD": between(0, 0.95, low_too=False),
    "DENSEPOSE_EVALUATION.EVALUATE_MESH_ALIGNMENT": NO_EMBEDDINGS,
    "DENSEPOSE_EVALUATION.MESH_ALIGNMENT_MESH_NAMES": NO_EMBEDDINGS,
}

# Keys and sections of detectron2 that have no effect in this package, and why. A key that belongs
# to a branch which is switched off has no effect either, as in detectron2, and is not refused.
_NO_FILES = "proposals come from the model's RPN; files of them are pickles, which are not read"
_NO_STUFF = "there is no semantic segmentation"
WITHOUT_EFFECT: dict[str, str] = {
    "MODEL.LOAD_PROPOSALS": _NO_FILES,
    "MODEL.ANCHOR_GENERATOR.ANGLES": "boxes are not rotated",
    "MODEL.SEM_SEG_HEAD": _NO_STUFF,
    "MODEL.PANOPTIC_FPN": _NO_STUFF,
    "DATASETS.PROPOSAL_FILES_TRAIN": _NO_FILES,
    "DATASETS.PROPOSAL_FILES_TEST": _NO_FILES,
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN": _NO_FILES,
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST": _NO_FILES,
    "TEST.KEYPOINT_OKS_SIGMAS": "keypoints are scored with COCO's own constants",
    "GLOBAL": "nothing reads it, in detectron2 neither",
}

# Of one entry of BOOTSTRAP_DATASETS.
ALLOWED_IN_BOOTSTRAP: dict[str, Rule] = {
    "RATIO": POSITIVE,
    "IMAGE_LOADER.TYPE": one_of("video_keyframe", "image_folder", "image_list"),
    "IMAGE_LOADER.BATCH_SIZE": POSITIVE,
    "IMAGE_LOADER.SELECT.STRATEGY": one_of("random_k", "first_k", "last_k", "all"),
    "IMAGE_LOADER.SELECT.NUM_IMAGES": POSITIVE,
    "IMAGE_LOADER.TRANSFORM.TYPE": one_of("resize"),
    "IMAGE_LOADER.TRANSFORM.MIN_SIZE": POSITIVE,
    "IMAGE_LOADER.TRANSFORM.MAX_SIZE": POSITIVE,
    "IMAGE_LOADER.CATEGORIES": NO_EMBEDDINGS,
    "IMAGE_LOADER.CATEGORY_TO_CLASS_MAPPING": NO_EMBEDDINGS,
    "INFERENCE.INPUT_BATCH_SIZE": POSITIVE,
    "DATA_SAMPLER.TYPE": one_of(*SAMPLERS),
    "DATA_SAMPLER.COUNT_PER_CLASS": POSITIVE,
    "DATA_SAMPLER.USE_GROUND_TRUTH_CATEGORIES": NO_EMBEDDINGS,
    "FILTER.TYPE": one_of("detection_score"),
}


class Conflict(NamedTuple):
    """Keys whose values contradict each other, and what to do about it."""

    keys: tuple[str, ...]
    is_one: Callable[..., Any]  # of the values of these keys
    advice: str


CONFLICTS: tuple[Conflict, ...] = (
    Conflict(
        (f"{HEAD}.HEATMAP_SIZE", f"{HEAD}.POOLER_RESOLUTION", f"{HEAD}.UP_SCALE"),
        lambda size, pooled, up_scale: size != pooled * 2 * up_scale,
        "maps have the size POOLER_RESOLUTION * 2 * UP_SCALE; set HEATMAP_SIZE to this product",
    ),
    Conflict(
        (f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS", f"{HEAD}.NUM_COARSE_SEGM_CHANNELS"),
        lambda by_masks, channels: by_masks and channels == 15,
        "an instance mask knows only background and person; set NUM_COARSE_SEGM_CHANNELS to 2, or"
        " COARSE_SEGM_TRAINED_BY_MASKS to False",
    ),
    *(
        Conflict(
            (f"{HEAD}.{confidence}.ENABLED", f"{HEAD}.PREDICTOR_NAME"),
            lambda on, name: on and name == "DensePoseChartPredictor",
            "this predictor has no confidences; set PREDICTOR_NAME to"
            f" 'DensePoseChartWithConfidencePredictor', or {confidence}.ENABLED to False",
        )
        for confidence in ("UV_CONFIDENCE", "SEGM_CONFIDENCE")
    ),
    Conflict(
        (f"{HEAD}.UV_CONFIDENCE.ENABLED", f"{HEAD}.LOSS_NAME"),
        lambda on, name: on and name == "DensePoseChartLoss",
        "this loss does not train the variances; set LOSS_NAME to"
        " 'DensePoseChartWithConfidenceLoss', or UV_CONFIDENCE.ENABLED to False",
    ),
    Conflict(
        ("MODEL.ROI_BOX_HEAD.REFINEMENTS", "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES"),
        lambda refinements, on_predicted: refinements and on_predicted,
        "both replace proposals by the boxes found; switch one of them off",
    ),
    Conflict(
        ("MODEL.KEYPOINT_ON", "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS"),
        lambda on, count: on and count != 17,
        "people are annotated with COCO's 17 keypoints; set NUM_KEYPOINTS to 17",
    ),
    Conflict(
        ("DATALOADER.REPEAT_THRESHOLD", "DATALOADER.SAMPLER_TRAIN"),
        lambda threshold, sampler: threshold and sampler == "TrainingSampler",
        "this sampler repeats no images; set SAMPLER_TRAIN to 'RepeatFactorTrainingSampler'",
    ),
    Conflict(
        ("SOLVER.MAX_MINUTES", "SOLVER.WARMUP_METHOD"),
        lambda minutes, method: minutes and method != "linear",
        "the schedule of a run with a time limit warms up linearly; set WARMUP_METHOD to 'linear'",
    ),
    Conflict(
        ("SOLVER.NESTEROV", "SOLVER.OPTIMIZER"),
        lambda nesterov, optimizer: nesterov and optimizer == "ADAMW",
        "AdamW has no Nesterov momentum; set NESTEROV to False, or OPTIMIZER to 'SGD'",
    ),
    Conflict(
        ("VIS_PERIOD", "MODEL.META_ARCHITECTURE"),
        lambda period, arch: period and arch == FCN,
        "DensePoseFCN draws no pictures while training; set VIS_PERIOD to 0",
    ),
    # timm backbones
    Conflict(
        ("MODEL.BACKBONE.NAME", "MODEL.TIMM.NAME", "MODEL.TIMM.PRETRAINED"),
        lambda backbone, name, weights: backbone != TIMM_BACKBONE and (name or weights),
        f"MODEL.TIMM is for another backbone; set MODEL.BACKBONE.NAME to {TIMM_BACKBONE!r}",
    ),
    Conflict(
        ("MODEL.BACKBONE.NAME", "MODEL.TIMM.NAME"),
        lambda backbone, name: backbone == TIMM_BACKBONE and not name,
        "this backbone needs MODEL.TIMM.NAME, for example 'tf_efficientnet_lite0'",
    ),
    *(
        Conflict(
            ("MODEL.TIMM.PRETRAINED", "INPUT.FORMAT", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD"),
            lambda given, image_format, mean, std, name=name, source=source: (
                given == name
                and (image_format, list(mean), list(std))
                != ("RGB", [source.pixel_mean] * 3, [source.pixel_std] * 3)
            ),
            f"these weights were trained on INPUT.FORMAT 'RGB', MODEL.PIXEL_MEAN"
            f" {[source.pixel_mean] * 3} and MODEL.PIXEL_STD {[source.pixel_std] * 3}; set them",
        )
        for name, source in PRETRAINED_SOURCES.items()
    ),
    Conflict(
        ("MODEL.FINE_TUNE.BACKBONE_WEIGHTS", "MODEL.WEIGHTS"),
        lambda backbone, weights: backbone and not weights,
        "BACKBONE_WEIGHTS replaces the backbone of MODEL.WEIGHTS, which is empty; set MODEL.WEIGHTS"
        " to that file instead",
    ),
    # DP-FCN
    Conflict(
        ("MODEL.META_ARCHITECTURE", f"{HEAD}.DECODER_ON", "MODEL.ROI_HEADS.IN_FEATURES"),
        lambda arch, decoder, levels: arch == FCN and not decoder and len(levels) != 1,
        "without the decoder, DensePoseFCN reads one feature level; name one level, or set"
        " DECODER_ON to True, which merges them",
    ),
    Conflict(
        ("MODEL.META_ARCHITECTURE", "MODEL.DP_FCN.CROPS", "MODEL.DP_FCN.PEOPLE"),
        lambda arch, crops, people: arch == FCN and crops and people == "foreground",
        "crops need boxes; set PEOPLE to 'ground_truth' or to a folder of predictions, or CROPS to"
        " False",
    ),
    Conflict(
        ("MODEL.META_ARCHITECTURE", f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS", "MODEL.DP_FCN.CROPS"),
        lambda arch, by_masks, crops: arch == FCN and by_masks and not crops,
        "DensePoseFCN learns the foreground of whole images from part masks; set"
        " COARSE_SEGM_TRAINED_BY_MASKS to False, or CROPS to True",
    ),
    Conflict(
        ("MODEL.META_ARCHITECTURE", "MODEL.MASK_ON", "MODEL.KEYPOINT_ON"),
        lambda arch, masks, keypoints: arch == FCN and (masks or keypoints),
        "DensePoseFCN has no mask or keypoint branch; set both to False",
    ),
    # Cascade: it has to know where a head's features end and its output layers begin.
    Conflict(
        ("MODEL.ROI_HEADS.NAME", f"{CASCADE}.TASKS")
        + ("MODEL.DENSEPOSE_ON", "MODEL.MASK_ON", "MODEL.KEYPOINT_ON"),
        lambda heads, tasks, densepose, mask, keypoints: (
            heads == CASCADING
            and not ("densepose" in tasks and densepose)
            and not ("mask" in tasks and mask)
            and not ("keypoints" in tasks and keypoints)
        ),
        "none of these branches is on; switch one on, or set MODEL.ROI_HEADS.NAME to"
        " 'DensePoseROIHeads'",
    ),
    *(
        Conflict(
            ("MODEL.ROI_HEADS.NAME", f"{CASCADE}.TASKS", switch)
            + (f"MODEL.{section}.NAME", f"MODEL.{section}.POOLER_TYPE"),
            lambda heads, tasks, on, name, pooler, task=task, known=known: (
                heads == CASCADING and task in tasks and on and (name != known or not pooler)
            ),
            f"in a cascade this head must be {known!r} with a pooler; or take {task!r} out of"
            f" {CASCADE}.TASKS",
        )
        for task, switch, section, known in (
            ("mask", "MODEL.MASK_ON", "ROI_MASK_HEAD", "MaskRCNNConvUpsampleHead"),
            ("keypoints", "MODEL.KEYPOINT_ON", "ROI_KEYPOINT_HEAD", "KRCNNConvDeconvUpsampleHead"),
        )
    ),
    Conflict(
        ("MODEL.ROI_HEADS.NAME", f"{CASCADE}.REFINED", f"{HEAD}.NUM_COARSE_SEGM_CHANNELS")
        + (f"{HEAD}.SEGM_CONFIDENCE.ENABLED",),
        lambda heads, refined, channels, confidence: (
            heads == CASCADING and refined == "add" and (not channels or confidence)
        ),
        "'add' needs a coarse segmentation that is linear in its layer; set"
        " NUM_COARSE_SEGM_CHANNELS to 2 or 15 and SEGM_CONFIDENCE.ENABLED to False, or REFINED to"
        " 'replace'",
    ),
    # Bootstrapping
    Conflict(
        ("BOOTSTRAP_DATASETS", "MODEL.DENSEPOSE_ON", "MODEL.KEYPOINT_ON", f"{HEAD}.NUM_PATCHES"),
        lambda given, densepose, keypoints, parts: (
            given and (not densepose or keypoints or parts != 24)
        ),
        "the teacher gives points on the 24 parts of the human body and no keypoints; set"
        " DENSEPOSE_ON to True, KEYPOINT_ON to False and NUM_PATCHES to 24",
    ),
    Conflict(
        ("BOOTSTRAP_DATASETS", "BOOTSTRAP_MODEL.WEIGHTS", "MODEL.ALLOW_RANDOM_HEAD"),
        lambda given, weights, random_head: given and not weights and not random_head,
        "the teacher is untrained; set BOOTSTRAP_MODEL.WEIGHTS to the weights of a model of this"
        " config",
    ),
)


def check_config(cfg: CfgNode) -> None:
    """Raise ``ValueError`` with every unknown or contradicting value and how to fix it.

    Registers the project's models (idempotent), because names are looked up in the registries.
    """
    register_all()
    if cfg.MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBEDDERS:
        raise ValueError(
            f"{HEAD}.CSE.EMBEDDERS is set ({', '.join(cfg.MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBEDDERS)})"
            " but this package has no surface embeddings (CSE); use a chart config"
        )
    problems = [*_unregistered(cfg), *_not_allowed(cfg, ALLOWED), *_bootstrap_problems(cfg)]
    problems += _without_effect(cfg)
    problems = problems or list(_contradictions(cfg))
    if len(problems) > 1:
        listed = "\n".join(f"  {number}. {text}" for number, text in enumerate(problems, 1))
        raise ValueError(f"{len(problems)} problems in the config:\n{listed}")
    if problems:
        raise ValueError(problems[0])
    rules_from_config(cfg)


def is_dp_fcn(cfg: CfgNode) -> bool:
    """Whether the config is one of a DP-FCN."""
    return cfg.MODEL.META_ARCHITECTURE == FCN


def has_given_boxes(cfg: CfgNode) -> bool:
    """Whether people are predicted for their annotated boxes, the paper's single-person setting."""
    return is_dp_fcn(cfg) and cfg.MODEL.DP_FCN.PEOPLE == "ground_truth"


def _value(cfg: CfgNode, key: str) -> Any:
    return reduce(lambda node, part: node[part], key.split("."), cfg)


def _unregistered(cfg: CfgNode) -> Iterator[str]:
    named = {
        "MODEL.META_ARCHITECTURE": META_ARCH_REGISTRY,
        "MODEL.BACKBONE.NAME": BACKBONE_REGISTRY,
        "MODEL.ROI_HEADS.NAME": ROI_HEADS_REGISTRY,
    }
    # DENSEPOSE_ON is true by default, also in configs of plain detectors.
    rcnn = cfg.MODEL.DENSEPOSE_ON and "DensePose" in cfg.MODEL.ROI_HEADS.NAME
    if is_dp_fcn(cfg) or rcnn or cfg.MODEL.ROI_DENSEPOSE_HEAD.NAME:
        named |= {
            f"{HEAD}.NAME": ROI_DENSEPOSE_HEAD_REGISTRY,
            f"{HEAD}.PREDICTOR_NAME": DENSEPOSE_PREDICTOR_REGISTRY,
            f"{HEAD}.LOSS_NAME": DENSEPOSE_LOSS_REGISTRY,
        }
    for key, registry in named.items():
        if (name := _value(cfg, key)) not in registry:
            known = ", ".join(sorted(entry for entry, _ in registry))
            yield f"{key}={name!r} is not registered in this version; choose one of: {known}"


def _not_allowed(cfg: CfgNode, table: Mapping[str, Rule], prefix: str = "") -> Iterator[str]:
    for key, rule in table.items():
        if not rule.holds(value := _value(cfg, key)):
            yield f"{prefix}{key}={value!r}; allowed: {rule.text}"


def _without_effect(cfg: CfgNode) -> Iterator[str]:
    defaults = get_cfg()
    for key, reason in WITHOUT_EFFECT.items():
        given, default = _value(cfg, key), _value(defaults, key)
        if given != default:
            yield f"{key}={given!r} has no effect: {reason}; leave it at {default!r}"


def _contradictions(cfg: CfgNode) -> Iterator[str]:
    for keys, is_one, advice in CONFLICTS:
        values = [_value(cfg, key) for key in keys]
        if is_one(*values):
            named = ", ".join(f"{key}={v!r}" for key, v in zip(keys, values, strict=True))
            yield f"{named}: {advice}"


def _bootstrap_problems(cfg: CfgNode) -> Iterator[str]:
    for number, entry in enumerate(bootstrap_entries(cfg)):
        where, sampler = f"BOOTSTRAP_DATASETS[{number}].", entry.DATA_SAMPLER
        yield from _not_allowed(entry, ALLOWED_IN_BOOTSTRAP, where)
        _, confidence = SAMPLERS.get(sampler.TYPE, (None, ""))
        if confidence and not cfg.MODEL.ROI_DENSEPOSE_HEAD[confidence].ENABLED:
            yield (
                f"{where}DATA_SAMPLER.TYPE={sampler.TYPE!r} needs {HEAD}.{confidence}.ENABLED True,"
                " in this config and in the teacher's weights"
            )
        if sampler.MOST_CONFIDENT and confidence != "SEGM_CONFIDENCE":
            yield (
                f"{where}DATA_SAMPLER.MOST_CONFIDENT is about segmentation confidences; set it to"
                f" False, or DATA_SAMPLER.TYPE={sampler.TYPE!r} to a segmentation confidence"
            )
