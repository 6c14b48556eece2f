"""Make the project's models known to the registries; by a call, never by an import."""

from __future__ import annotations

from typing import Any

from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, ROI_HEADS_REGISTRY
from detectron2.utils.registry import Registry

from densepose.errors import InputError

from .cascade_roi_heads import CascadeDensePoseROIHeads
from .dp_fcn import DensePoseFCN
from .heads import DensePoseDeepLabHead, DensePoseV1ConvXHead
from .hrfpn import build_hrfpn_backbone
from .losses import DensePoseChartLoss, DensePoseChartWithConfidenceLoss
from .predictors import DensePoseChartPredictor, DensePoseChartWithConfidencePredictor
from .registry import (
    DENSEPOSE_LOSS_REGISTRY,
    DENSEPOSE_PREDICTOR_REGISTRY,
    ROI_DENSEPOSE_HEAD_REGISTRY,
)
from .roi_heads import DensePoseROIHeads
from .timm_backbone import build_timm_fpn_backbone

_TABLE: tuple[tuple[Registry, Any], ...] = (
    (BACKBONE_REGISTRY, build_timm_fpn_backbone),
    (META_ARCH_REGISTRY, DensePoseFCN),
    (BACKBONE_REGISTRY, build_hrfpn_backbone),
    (ROI_HEADS_REGISTRY, DensePoseROIHeads),
    (ROI_HEADS_REGISTRY, CascadeDensePoseROIHeads),
    (ROI_DENSEPOSE_HEAD_REGISTRY, DensePoseV1ConvXHead),
    (ROI_DENSEPOSE_HEAD_REGISTRY, DensePoseDeepLabHead),
    (DENSEPOSE_PREDICTOR_REGISTRY, DensePoseChartPredictor),
    (DENSEPOSE_PREDICTOR_REGISTRY, DensePoseChartWithConfidencePredictor),
    (DENSEPOSE_LOSS_REGISTRY, DensePoseChartLoss),
    (DENSEPOSE_LOSS_REGISTRY, DensePoseChartWithConfidenceLoss),
)


def register_all() -> None:
    """Register every model of the project; calling it again changes nothing.

    Raises:
        InputError: something else is already registered under one of the names.
    """
    for registry, entry in _TABLE:
        name = entry.__name__
        if name not in registry:
            registry.register(entry)
        elif registry.get(name) is not entry:
            other = registry.get(name)
            raise InputError(
                f"{name!r} is already registered by {other.__module__}; detectron2's own"
                " DensePose project and"
                " this package cannot be used in one process"
            )
