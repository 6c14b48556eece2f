"""The three places where a YAML file chooses a class of the DensePose branch."""

from __future__ import annotations

from detectron2.utils.registry import Registry

# class(cfg, in_channels): pooled features (N, in_channels, R, R) -> (N, out_channels, R, R)
ROI_DENSEPOSE_HEAD_REGISTRY = Registry("ROI_DENSEPOSE_HEAD")
# class(cfg, in_channels): head features -> ChartOutput
DENSEPOSE_PREDICTOR_REGISTRY = Registry("DENSEPOSE_PREDICTOR")
# class(cfg): matched proposals and ChartOutput -> dict of losses
DENSEPOSE_LOSS_REGISTRY = Registry("DENSEPOSE_LOSS")
