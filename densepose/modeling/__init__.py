"""DensePose-RCNN. Call ``register_all()`` before building a model from a config."""

from .registration import register_all
from .registry import (
    DENSEPOSE_LOSS_REGISTRY,
    DENSEPOSE_PREDICTOR_REGISTRY,
    ROI_DENSEPOSE_HEAD_REGISTRY,
)

__all__ = [
    "DENSEPOSE_LOSS_REGISTRY",
    "DENSEPOSE_PREDICTOR_REGISTRY",
    "ROI_DENSEPOSE_HEAD_REGISTRY",
    "register_all",
]
