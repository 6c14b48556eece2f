"""Refuse a config whose values are unknown or contradict each other, before anything is built.

Two tables hold the rules: ``ALLOWED`` of single keys, ``CONFLICTS`` of several.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import (
    ANCHOR_GENERATOR_REGISTRY,
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    PROPOSAL_GENERATOR_REGISTRY,
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
)
from detectron2.modeling.proposal_generator.rpn import RPN_HEAD_REGISTRY

from densepose.data.categories import rules_from_config
from densepose.errors import InputError
from densepose.modeling import (
    DENSEPOSE_LOSS_REGISTRY,
    DENSEPOSE_PREDICTOR_REGISTRY,
    ROI_DENSEPOSE_HEAD_REGISTRY,
    register_all,
)
from densepose.modeling.timm_backbone import PRETRAINED_SOURCES

from .keys import bootstrap_entries
from .values import POSITIVE, Rule, between, leaves, list_of, none_of, one_of, range_problem

HEAD = "MODEL.ROI_DENSEPOSE_HEAD"
CASCADE = "MODEL.ROI_CASCADE"
TIMM_BACKBONE = "build_timm_fpn_backbone"
FCN = "DensePoseFCN"
# Data sampler -> the channel that points are chosen by, and the key that makes a model predict it.
SAMPLERS: dict[str, tuple[str | None, str]] = {
    "densepose_uniform": (None, ""),
    "densepose_UV_confidence": ("sigma_2", "UV_CONFIDENCE"),
    "densepose_fine_segm_confidence": ("fine_segm_confidence", "SEGM_CONFIDENCE"),
    "densepose_coarse_segm_confidence": ("coarse_segm_confidence", "SEGM_CONFIDENCE"),
}


ODD = Rule("an odd number", lambda value: value % 2 == 1)
NAME_PREFIXES = Rule(
    "a list of beginnings of parameter names, for example ['backbone.bottom_up']",
    lambda given: isinstance(given, (list, tuple)) and all(isinstance(p, str) for p in given),
)
RATE_FACTORS = Rule(
    "a list of [beginning of a parameter name, factor above 0]; MODEL.FINE_TUNE.FREEZE keeps"
    " weights as they are",
    lambda given: all(
        isinstance(pair, (list, tuple))
        and [type(part) for part in pair] in ([str, int], [str, float])
        and pair[1] > 0
        for pair in given
    ),
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
    "SOLVER.IMS_PER_BATCH": POSITIVE,
    "SOLVER.OPTIMIZER": one_of("SGD", "ADAMW"),
    "SOLVER.LR_FACTORS": RATE_FACTORS,
    "SOLVER.LAYER_LR_DECAY": between(0, 1, low_too=False),
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


# Values that contradict each other, as an expression of keys, and what to do about it.
_IS_FCN = f"MODEL.META_ARCHITECTURE == {FCN!r}"
_CASCADES = "MODEL.ROI_HEADS.NAME == 'CascadeDensePoseROIHeads'"
CONFLICTS: dict[str, str] = {
    f"{HEAD}.HEATMAP_SIZE != {HEAD}.POOLER_RESOLUTION * 2 * {HEAD}.UP_SCALE": (
        "maps have the size POOLER_RESOLUTION * 2 * UP_SCALE; set HEATMAP_SIZE to this product"
    ),
    f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS and {HEAD}.NUM_COARSE_SEGM_CHANNELS == 15": (
        "an instance mask knows only background and person; set NUM_COARSE_SEGM_CHANNELS to 2, or"
        " COARSE_SEGM_TRAINED_BY_MASKS to False"
    ),
    f"({HEAD}.UV_CONFIDENCE.ENABLED or {HEAD}.SEGM_CONFIDENCE.ENABLED)"
    f" and {HEAD}.PREDICTOR_NAME == 'DensePoseChartPredictor'": (
        "this predictor has no confidences; set PREDICTOR_NAME to"
        " 'DensePoseChartWithConfidencePredictor', or both ENABLED to False"
    ),
    f"{HEAD}.UV_CONFIDENCE.ENABLED and {HEAD}.LOSS_NAME == 'DensePoseChartLoss'": (
        "this loss does not train the variances; set LOSS_NAME to"
        " 'DensePoseChartWithConfidenceLoss', or UV_CONFIDENCE.ENABLED to False"
    ),
    "MODEL.ROI_BOX_HEAD.REFINEMENTS and MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": (
        "both replace proposals by the boxes found; switch one of them off"
    ),
    "MODEL.KEYPOINT_ON and MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS != 17": (
        "people are annotated with COCO's 17 keypoints; set NUM_KEYPOINTS to 17"
    ),
    "DATALOADER.REPEAT_THRESHOLD and DATALOADER.SAMPLER_TRAIN == 'TrainingSampler'": (
        "this sampler repeats no images; set SAMPLER_TRAIN to 'RepeatFactorTrainingSampler'"
    ),
    # Optimizer and schedule
    "SOLVER.MAX_MINUTES and SOLVER.WARMUP_METHOD != 'linear'": (
        "the schedule of a run with a time limit warms up linearly; set WARMUP_METHOD to 'linear'"
    ),
    "SOLVER.NESTEROV and SOLVER.OPTIMIZER == 'ADAMW'": (
        "AdamW has no Nesterov momentum; set NESTEROV to False, or OPTIMIZER to 'SGD'"
    ),
    "SOLVER.AUTO_SCALE_LR and SOLVER.REFERENCE_WORLD_SIZE": (
        "both would scale the schedule; set one of them to False or 0"
    ),
    "SOLVER.AUTO_SCALE_LR and SOLVER.REFERENCE_BATCH_SIZE <= 0": (
        "set REFERENCE_BATCH_SIZE to the images per step that the schedule was written for"
    ),
    "SOLVER.REFERENCE_WORLD_SIZE and SOLVER.IMS_PER_BATCH % SOLVER.REFERENCE_WORLD_SIZE": (
        "the batch cannot be divided among these processes; set REFERENCE_WORLD_SIZE to 0, which"
        " scales nothing"
    ),
    "TEST.PRECISE_BN.ENABLED and SOLVER.EMA.ENABLED": (
        "PRECISE_BN computes statistics of the trained weights, EMA evaluates their average; set"
        " one of them to False"
    ),
    # Test-time augmentation, pictures
    "TEST.AUG.ENABLED and MODEL.META_ARCHITECTURE != 'GeneralizedRCNN'": (
        "only a GeneralizedRCNN merges several views; set TEST.AUG.ENABLED to False"
    ),
    "TEST.AUG.ENABLED and MODEL.KEYPOINT_ON": (
        "keypoints of several views cannot be averaged; set one of them to False"
    ),
    "TEST.AUG.ENABLED and not TEST.AUG.MIN_SIZES": (
        "give the shorter side of at least one view in px"
    ),
    f"VIS_PERIOD and {_IS_FCN}": (
        "DensePoseFCN draws no pictures while training; set VIS_PERIOD to 0"
    ),
    "not MODEL.PIXEL_STD or len(MODEL.PIXEL_MEAN) != len(MODEL.PIXEL_STD)": (
        "give both one number for each channel of INPUT.FORMAT"
    ),
    "MODEL.META_ARCHITECTURE == 'GeneralizedRCNN' and not MODEL.PROPOSAL_GENERATOR.NAME": (
        "this model needs proposals; set PROPOSAL_GENERATOR.NAME to 'RPN'"
    ),
    "MODEL.META_ARCHITECTURE == 'GeneralizedRCNN' and MODEL.ROI_HEADS.NAME != 'Res5ROIHeads'"
    " and not MODEL.ROI_BOX_HEAD.NAME": (
        "this model finds boxes; set ROI_BOX_HEAD.NAME to 'FastRCNNConvFCHead'"
    ),
    # Backbones
    f"MODEL.BACKBONE.NAME != {TIMM_BACKBONE!r} and (MODEL.TIMM.NAME or MODEL.TIMM.PRETRAINED)": (
        f"MODEL.TIMM is for another backbone; set MODEL.BACKBONE.NAME to {TIMM_BACKBONE!r}"
    ),
    f"MODEL.BACKBONE.NAME == {TIMM_BACKBONE!r} and not MODEL.TIMM.NAME": (
        "this backbone needs MODEL.TIMM.NAME, for example 'tf_efficientnet_lite0'"
    ),
    **{
        f"MODEL.TIMM.PRETRAINED == {name!r} and (INPUT.FORMAT != 'RGB'"
        f" or list(MODEL.PIXEL_MEAN) != {[source.pixel_mean] * 3}"
        f" or list(MODEL.PIXEL_STD) != {[source.pixel_std] * 3})": (
            f"these weights were trained on INPUT.FORMAT 'RGB', MODEL.PIXEL_MEAN"
            f" {[source.pixel_mean] * 3} and MODEL.PIXEL_STD {[source.pixel_std] * 3}; set them"
        )
        for name, source in PRETRAINED_SOURCES.items()
    },
    "MODEL.FINE_TUNE.BACKBONE_WEIGHTS and not MODEL.WEIGHTS": (
        "BACKBONE_WEIGHTS replaces the backbone of MODEL.WEIGHTS, which is empty; set MODEL.WEIGHTS"
        " to that file instead"
    ),
    # DP-FCN
    f"{_IS_FCN} and not {HEAD}.DECODER_ON and len(MODEL.ROI_HEADS.IN_FEATURES) != 1": (
        "without the decoder, DensePoseFCN reads one feature level; name one level, or set"
        " DECODER_ON to True, which merges them"
    ),
    f"{_IS_FCN} and MODEL.DP_FCN.CROPS and MODEL.DP_FCN.PEOPLE == 'foreground'": (
        "crops need boxes; set PEOPLE to 'ground_truth' or to a folder of predictions, or CROPS to"
        " False"
    ),
    f"{_IS_FCN} and {HEAD}.COARSE_SEGM_TRAINED_BY_MASKS and not MODEL.DP_FCN.CROPS": (
        "DensePoseFCN learns the foreground of whole images from part masks; set"
        " COARSE_SEGM_TRAINED_BY_MASKS to False, or CROPS to True"
    ),
    f"{_IS_FCN} and (MODEL.MASK_ON or MODEL.KEYPOINT_ON)": (
        "DensePoseFCN has no mask or keypoint branch; set both to False"
    ),
    # Cascade: it has to know where a head's features end and its output layers begin.
    f"{_CASCADES} and not ('densepose' in {CASCADE}.TASKS and MODEL.DENSEPOSE_ON)"
    f" and not ('mask' in {CASCADE}.TASKS and MODEL.MASK_ON)"
    f" and not ('keypoints' in {CASCADE}.TASKS and MODEL.KEYPOINT_ON)": (
        "none of these branches is on; switch one on, or set MODEL.ROI_HEADS.NAME to"
        " 'DensePoseROIHeads'"
    ),
    **{
        f"{_CASCADES} and {task!r} in {CASCADE}.TASKS and {switch}"
        f" and (MODEL.{head}.NAME != {known!r} or not MODEL.{head}.POOLER_TYPE)": (
            f"in a cascade this head must be {known!r} with a pooler; or take {task!r} out of"
            f" {CASCADE}.TASKS"
        )
        for task, switch, head, known in (
            ("mask", "MODEL.MASK_ON", "ROI_MASK_HEAD", "MaskRCNNConvUpsampleHead"),
            ("keypoints", "MODEL.KEYPOINT_ON", "ROI_KEYPOINT_HEAD", "KRCNNConvDeconvUpsampleHead"),
        )
    },
    f"{_CASCADES} and {CASCADE}.REFINED == 'add'"
    f" and (not {HEAD}.NUM_COARSE_SEGM_CHANNELS or {HEAD}.SEGM_CONFIDENCE.ENABLED)": (
        "'add' needs a coarse segmentation that is linear in its layer; set"
        " NUM_COARSE_SEGM_CHANNELS to 2 or 15 and SEGM_CONFIDENCE.ENABLED to False, or REFINED to"
        " 'replace'"
    ),
    # Bootstrapping
    "BOOTSTRAP_DATASETS"
    f" and (not MODEL.DENSEPOSE_ON or MODEL.KEYPOINT_ON or {HEAD}.NUM_PATCHES != 24)": (
        "the teacher gives points on the 24 parts of the human body and no keypoints; set"
        " DENSEPOSE_ON to True, KEYPOINT_ON to False and NUM_PATCHES to 24"
    ),
    "BOOTSTRAP_DATASETS and not BOOTSTRAP_MODEL.WEIGHTS and not MODEL.ALLOW_RANDOM_HEAD": (
        "the teacher is untrained; set BOOTSTRAP_MODEL.WEIGHTS to the weights of a model of this"
        " config"
    ),
}


def check_config(cfg: CfgNode) -> None:
    """Raise ``ValueError`` with every unknown or contradicting value and how to fix it.

    Registers the project's models (idempotent), because names are looked up in the registries.
    """
    register_all()
    if cfg.MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBEDDERS:
        raise InputError(
            f"{HEAD}.CSE.EMBEDDERS is set ({', '.join(cfg.MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBEDDERS)})"
            " but this package has no surface embeddings (CSE); use a chart config"
        )
    plain = ((key, value) for key, value in leaves(cfg) if key not in ALLOWED)
    problems = [text for key, value in plain if (text := range_problem(key, value))]
    problems += [*_unregistered(cfg), *_not_allowed(cfg, ALLOWED), *_bootstrap_problems(cfg)]
    problems += _without_effect(cfg)
    problems = problems or list(_contradictions(cfg))
    if len(problems) > 1:
        listed = "\n".join(f"  {number}. {text}" for number, text in enumerate(problems, 1))
        raise InputError(f"{len(problems)} problems in the config:\n{listed}")
    if problems:
        raise InputError(problems[0])
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
    parts = {
        "MODEL.PROPOSAL_GENERATOR.NAME": PROPOSAL_GENERATOR_REGISTRY,
        "MODEL.RPN.HEAD_NAME": RPN_HEAD_REGISTRY,
        "MODEL.ANCHOR_GENERATOR.NAME": ANCHOR_GENERATOR_REGISTRY,
        "MODEL.ROI_BOX_HEAD.NAME": ROI_BOX_HEAD_REGISTRY,
    }
    # Empty is "none"; detectron2 knows this one name without registering it.
    unused = ("", "PrecomputedProposals")
    named |= {key: parts[key] for key in parts if _value(cfg, key) not in unused}
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
    for expression, advice in CONFLICTS.items():
        if eval(expression, {}, cfg):  # constants of this file; names are those of the config
            named = ", ".join(f"{key}={_value(cfg, key)!r}" for key in keys_of(expression))
            yield f"{named}: {advice}"


def keys_of(expression: str) -> list[str]:
    """The keys that an expression of ``CONFLICTS`` names."""
    found = re.findall(r"\b[A-Z][A-Z_]+(?:\.[A-Z_]+)*\b(?!')", expression)
    return list(dict.fromkeys(found))


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
