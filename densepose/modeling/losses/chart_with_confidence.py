"""Chart losses for predictors that estimate how sure they are of U and V."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from detectron2.config import CfgNode, configurable

from densepose.structures.chart_output import ChartOutput

from ..sampling import sample_channel
from .chart import DensePoseChartLoss, foreground
from .targets import PointTargets
from .uv_likelihood import anisotropic_uv_loss, isotropic_uv_loss


class DensePoseChartWithConfidenceLoss(DensePoseChartLoss):
    """The chart loss; with UV confidences, a likelihood loss_densepose_UV replaces U and V."""

    @configurable
    def __init__(
        self, *, uv_confidence: str = "none", uv_epsilon: float = 0.01, **chart_arguments: Any
    ) -> None:
        """Keep the weights.

        Args:
            uv_confidence: "none", "iid_iso" or "indep_aniso".
            uv_epsilon: lower bound of the variance.
            chart_arguments: of DensePoseChartLoss.
        """
        super().__init__(**chart_arguments)
        self.uv_confidence = uv_confidence
        self.uv_epsilon = uv_epsilon

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments of ``__init__`` from MODEL.ROI_DENSEPOSE_HEAD."""
        confidence = cfg.MODEL.ROI_DENSEPOSE_HEAD.UV_CONFIDENCE
        return {
            **super().from_config(cfg),
            "uv_confidence": confidence.TYPE if confidence.ENABLED else "none",
            "uv_epsilon": confidence.EPSILON,
        }

    def _uv_losses(self, output: ChartOutput, points: PointTargets) -> dict[str, Tensor]:
        if self.uv_confidence == "none":
            return super()._uv_losses(output, points)
        on_body = foreground(points)

        def read(*maps: Tensor) -> Tensor:
            return torch.stack([sample_channel(m, on_body.part, on_body.at) for m in maps], dim=1)

        residual = read(output.u, output.v) - on_body.uv
        raw_variance = read(output.log_variance)[:, 0]
        if self.uv_confidence == "iid_iso":
            loss = isotropic_uv_loss(residual, raw_variance, self.uv_epsilon)
        else:
            direction = read(output.residual_u, output.residual_v)
            loss = anisotropic_uv_loss(residual, raw_variance, direction, self.uv_epsilon)
        return {"loss_densepose_UV": loss}
