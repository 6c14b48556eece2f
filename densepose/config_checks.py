"""Refuse configs that contradict themselves, before anything is built."""

from __future__ import annotations

from collections.abc import Iterable

from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, ROI_HEADS_REGISTRY
from detectron2.utils.registry import Registry

from .config_cascade import check_branches
from .config_data_checks import check_data_keys
from .config_dp_fcn import check_dp_fcn, dp_fcn_choices, is_dp_fcn

HEAD = "MODEL.ROI_DENSEPOSE_HEAD"


def check_config(cfg: CfgNode) -> None:
    """Raise ``ValueError`` for the first contradiction, with keys, values and how to mend it.

    Registers the project's models (idempotent), because names are looked up in the registries.
    """
    _check_names(cfg)
    _check_choices(cfg)
    _check_timm(cfg)
    _check_fine_tuning(cfg)
    check_branches(cfg)
    check_data_keys(cfg)
    check_dp_fcn(cfg)
    if _has_densepose_branch(cfg):
        if not is_dp_fcn(cfg):
            _check_boxes(cfg)
            _check_sizes(cfg)
        _check_coarse(cfg)
        _check_confidences(cfg)


def _check_names(cfg: CfgNode) -> None:
    # Not at the top: the package's config must be importable where a model file is broken.
    from densepose import modeling

    modeling.register_all()
    named = [
        ("MODEL.META_ARCHITECTURE", cfg.MODEL.META_ARCHITECTURE, META_ARCH_REGISTRY),
        ("MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME, BACKBONE_REGISTRY),
        ("MODEL.ROI_HEADS.NAME", cfg.MODEL.ROI_HEADS.NAME, ROI_HEADS_REGISTRY),
    ]
    _refuse_unregistered(named)
    if _has_densepose_branch(cfg):
        head = cfg.MODEL.ROI_DENSEPOSE_HEAD
        named = [
            (f"{HEAD}.NAME", head.NAME, modeling.ROI_DENSEPOSE_HEAD_REGISTRY),
            (f"{HEAD}.PREDICTOR_NAME", head.PREDICTOR_NAME, modeling.DENSEPOSE_PREDICTOR_REGISTRY),
            (f"{HEAD}.LOSS_NAME", head.LOSS_NAME, modeling.DENSEPOSE_LOSS_REGISTRY),
        ]
        _refuse_unregistered(named)


def _has_densepose_branch(cfg: CfgNode) -> bool:
    if is_dp_fcn(cfg):
        return True
    # DENSEPOSE_ON is true by default, also in configs of plain detectors.
    from densepose.modeling.roi_heads import DensePoseROIHeads

    heads = ROI_HEADS_REGISTRY.get(cfg.MODEL.ROI_HEADS.NAME)
    return cfg.MODEL.DENSEPOSE_ON and issubclass(heads, DensePoseROIHeads)


def _refuse_unregistered(named: Iterable[tuple[str, str, Registry]]) -> None:
    for key, name, registry in named:
        if name not in registry:
            known = ", ".join(sorted(entry for entry, _ in registry))
            raise ValueError(
                f"{key}={name!r} is not registered in this version; choose one of: {known}"
            )


def _check_choices(cfg: CfgNode) -> None:
    head = cfg.MODEL.ROI_DENSEPOSE_HEAD
    choices: list[tuple[str, object, Iterable[object]]] = [
        (f"{HEAD}.NUM_COARSE_SEGM_CHANNELS", head.NUM_COARSE_SEGM_CHANNELS, (0, 2, 15)),
        (f"{HEAD}.UV_LOSS_REDUCTION", head.UV_LOSS_REDUCTION, ("sum", "mean")),
        (f"{HEAD}.UV_CONFIDENCE.TYPE", head.UV_CONFIDENCE.TYPE, ("iid_iso", "indep_aniso")),
        *dp_fcn_choices(cfg),
        ("MODEL.CPU_OPS", cfg.MODEL.CPU_OPS, ("auto", "off")),
        ("MODEL.TIMM.NORM", cfg.MODEL.TIMM.NORM, ("FrozenBN", "BN", "SyncBN")),
        ("DATASETS.ON_BAD_RECORD", cfg.DATASETS.ON_BAD_RECORD, ("warn", "error")),
        ("SOLVER.OPTIMIZER", cfg.SOLVER.OPTIMIZER, ("SGD", "ADAMW")),
        ("DENSEPOSE_EVALUATION.TYPE", cfg.DENSEPOSE_EVALUATION.TYPE, ("iou", "cse")),
    ]
    for key, value, allowed in choices:
        if value not in allowed:
            raise ValueError(
                f"{key}={value!r}; allowed: {', '.join(repr(choice) for choice in allowed)}"
            )


def _check_boxes(cfg: CfgNode) -> None:
    looks = cfg.MODEL.ROI_BOX_HEAD.REFINEMENTS
    if looks < 0:
        raise ValueError(f"MODEL.ROI_BOX_HEAD.REFINEMENTS={looks} must be 0 or more")
    if looks and cfg.MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES:
        raise ValueError(
            f"MODEL.ROI_BOX_HEAD.REFINEMENTS={looks} and TRAIN_ON_PRED_BOXES both replace"
            " proposals by the boxes found; switch one of them off"
        )


def _check_sizes(cfg: CfgNode) -> None:
    head = cfg.MODEL.ROI_DENSEPOSE_HEAD
    if head.DECONV_KERNEL % 2 or head.DECONV_KERNEL < 2:
        raise ValueError(f"{HEAD}.DECONV_KERNEL={head.DECONV_KERNEL} must be even, usually 4")
    if head.CONV_HEAD_KERNEL % 2 == 0:
        raise ValueError(f"{HEAD}.CONV_HEAD_KERNEL={head.CONV_HEAD_KERNEL} must be odd, usually 3")
    full = head.POOLER_RESOLUTION * 2 * head.UP_SCALE
    if head.HEATMAP_SIZE != full:
        raise ValueError(
            f"{HEAD}.HEATMAP_SIZE={head.HEATMAP_SIZE} but"
            f" POOLER_RESOLUTION={head.POOLER_RESOLUTION} and"
            f" UP_SCALE={head.UP_SCALE} give maps of {head.POOLER_RESOLUTION} * 2 *"
            f" {head.UP_SCALE} = {full};"
            f" set HEATMAP_SIZE to {full}"
        )


def _check_coarse(cfg: CfgNode) -> None:
    head = cfg.MODEL.ROI_DENSEPOSE_HEAD
    if head.FOREGROUND_WEIGHT <= 0:
        raise ValueError(f"{HEAD}.FOREGROUND_WEIGHT={head.FOREGROUND_WEIGHT} must be above 0")
    if head.COARSE_SEGM_TRAINED_BY_MASKS and head.NUM_COARSE_SEGM_CHANNELS == 15:
        raise ValueError(
            f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS is on but NUM_COARSE_SEGM_CHANNELS="
            f"{head.NUM_COARSE_SEGM_CHANNELS}: an instance mask knows only background and person;"
            " set NUM_COARSE_SEGM_CHANNELS to 2, or train the coarse segmentation by part masks"
        )


def _check_confidences(cfg: CfgNode) -> None:
    head = cfg.MODEL.ROI_DENSEPOSE_HEAD
    wanted = [key for key in ("UV_CONFIDENCE", "SEGM_CONFIDENCE") if head[key].ENABLED]
    for key in wanted:
        if head[key].EPSILON <= 0:
            raise ValueError(f"{HEAD}.{key}.EPSILON={head[key].EPSILON} must be positive")
        if head.PREDICTOR_NAME == "DensePoseChartPredictor":
            raise ValueError(
                f"{HEAD}.{key}.ENABLED is on but PREDICTOR_NAME={head.PREDICTOR_NAME!r} predicts"
                " no confidences;"
                f" use 'DensePoseChartWithConfidencePredictor' or switch {key} off"
            )
    if head.UV_CONFIDENCE.ENABLED and head.LOSS_NAME == "DensePoseChartLoss":
        raise ValueError(
            f"{HEAD}.UV_CONFIDENCE.ENABLED is on but LOSS_NAME={head.LOSS_NAME!r} does not train"
            " the variances;"
            " use 'DensePoseChartWithConfidenceLoss' or switch UV_CONFIDENCE off"
        )
    if head.CSE.EMBEDDERS:
        raise ValueError(
            f"{HEAD}.CSE.EMBEDDERS is set ({', '.join(head.CSE.EMBEDDERS)}) but this version has"
            " no surface"
            " embeddings; use a chart config"
        )


def _check_fine_tuning(cfg: CfgNode) -> None:
    tune = cfg.MODEL.FINE_TUNE
    if tune.BACKBONE_WEIGHTS and not cfg.MODEL.WEIGHTS:
        raise ValueError(
            f"MODEL.FINE_TUNE.BACKBONE_WEIGHTS={tune.BACKBONE_WEIGHTS!r} replaces the backbone of"
            " MODEL.WEIGHTS, which is empty; set MODEL.WEIGHTS to that file instead"
        )
    for key in ("EXCLUDE", "FREEZE"):
        prefixes = tune[key]
        if not isinstance(prefixes, (list, tuple)) or any(not isinstance(p, str) for p in prefixes):
            raise ValueError(
                f"MODEL.FINE_TUNE.{key}={prefixes!r} must be a list of beginnings of parameter"
                " names, for example ['backbone.bottom_up']"
            )


def _check_timm(cfg: CfgNode) -> None:
    from densepose.modeling.timm_weights import PRETRAINED_SOURCES

    timm = cfg.MODEL.TIMM
    if cfg.MODEL.BACKBONE.NAME != "build_timm_fpn_backbone":
        if timm.NAME or timm.PRETRAINED:
            raise ValueError(
                f"MODEL.TIMM is set (NAME={timm.NAME!r}, PRETRAINED={timm.PRETRAINED!r}) but"
                " MODEL.BACKBONE.NAME="
                f"{cfg.MODEL.BACKBONE.NAME!r} does not use it; set BACKBONE.NAME to"
                " 'build_timm_fpn_backbone'"
            )
        return
    if not timm.NAME:
        raise ValueError(
            "MODEL.BACKBONE.NAME='build_timm_fpn_backbone' needs MODEL.TIMM.NAME, for example"
            " 'tf_efficientnet_lite0'"
        )
    source = PRETRAINED_SOURCES.get(timm.PRETRAINED)
    if source is None:
        return
    got = (cfg.INPUT.FORMAT, list(cfg.MODEL.PIXEL_MEAN), list(cfg.MODEL.PIXEL_STD))
    want = ("RGB", [source.pixel_mean] * 3, [source.pixel_std] * 3)
    if got != want:
        raise ValueError(
            f"MODEL.TIMM.PRETRAINED={timm.PRETRAINED!r} was trained on INPUT.FORMAT {want[0]!r}"
            " with MODEL.PIXEL_MEAN"
            f" {want[1]} and MODEL.PIXEL_STD {want[2]}, got {got[0]!r}, {got[1]}, {got[2]}; set"
            " these three keys"
        )
