"""The last layers: from head features to the maps of a ChartOutput.

Shapes: N instances, R = side of the head features, S = 2 R = side of the maps, D coarse channels,
C = 1 + charts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable

from densepose.structures.chart_output import ChartOutput

from .heads import initialize_convolutions

# Maps of the UV confidence: layer name -> field of ChartOutput.
_UV_CONFIDENCE_LAYERS = {
    "iid_iso": {"sigma_2_lowres": "log_variance"},
    "indep_aniso": {
        "sigma_2_lowres": "log_variance",
        "kappa_u_lowres": "residual_u",
        "kappa_v_lowres": "residual_v",
    },
}


class DensePoseChartPredictor(nn.Module):
    """Transposed convolutions that double the size: coarse segmentation, parts, U and V."""

    @configurable
    def __init__(
        self,
        in_channels: int,
        *,
        coarse_channels: int,
        num_charts: int,
        kernel_size: int = 4,
        upscale: int = 2,
        uv_confidence: str = "none",
        segm_confidence_epsilon: float | None = None,
    ) -> None:
        """Build the layers.

        Args:
            in_channels: of the head features.
            coarse_channels: D; 0 for none: a pixel is then background as sure as its part is 0.
            num_charts: C - 1.
            kernel_size: of the transposed convolutions, even.
            upscale: factor of the bilinear up-sampling that defines the full maps.
            uv_confidence: "none", "iid_iso" or "indep_aniso".
            segm_confidence_epsilon: lower bound of the segmentation confidences; ``None`` predicts
                none.
        """
        super().__init__()
        channels = 1 + num_charts
        widths = {"ann_index_lowres": ("coarse_logits", coarse_channels)} if coarse_channels else {}
        widths |= {
            "index_uv_lowres": ("part_logits", channels),
            "u_lowres": ("u", channels),
            "v_lowres": ("v", channels),
        }
        if uv_confidence != "none":
            for layer, field in _UV_CONFIDENCE_LAYERS[uv_confidence].items():
                widths[layer] = (field, channels)
        if segm_confidence_epsilon is not None:
            widths["fine_segm_confidence_lowres"] = ("part_confidence", 1)
            widths["coarse_segm_confidence_lowres"] = ("coarse_confidence", 1)
        for layer, (_, width) in widths.items():
            conv = nn.ConvTranspose2d(
                in_channels, width, kernel_size, stride=2, padding=kernel_size // 2 - 1
            )
            self.add_module(layer, conv)
        self.fields = [field for field, _ in widths.values()]
        self.upscale = upscale
        self.segm_confidence_epsilon = segm_confidence_epsilon
        initialize_convolutions(self)

    @classmethod
    def from_config(cls, cfg: CfgNode, in_channels: int) -> dict[str, Any]:
        """Arguments of ``__init__`` from MODEL.ROI_DENSEPOSE_HEAD, without confidences."""
        head = cfg.MODEL.ROI_DENSEPOSE_HEAD
        return {
            "in_channels": in_channels,
            "coarse_channels": head.NUM_COARSE_SEGM_CHANNELS,
            "num_charts": head.NUM_PATCHES,
            "kernel_size": head.DECONV_KERNEL,
            "upscale": head.UP_SCALE,
        }

    @property
    def has_coarse(self) -> bool:
        """Whether a coarse segmentation is predicted, not derived from the parts."""
        return "coarse_logits" in self.fields

    def forward(self, features: Tensor) -> ChartOutput:
        """(N, in_channels, R, R) -> maps of side S = 2 R; N = 0 gives empty maps."""
        fields = dict(zip(self.fields, self.layer_outputs(features), strict=True))
        if not self.has_coarse:
            fields["coarse_logits"] = _body_or_not(fields["part_logits"])
        output = ChartOutput(upscale=self.upscale, **fields)
        if self.segm_confidence_epsilon is None:
            return output
        return _scaled_by_confidence(output, self.segm_confidence_epsilon)

    def layer_outputs(self, features: Tensor) -> Sequence[Tensor]:
        """(N, in_channels, R, R) -> the (N, width, S, S) maps of each layer."""
        return [layer(features) for layer in self.children()]


class DensePoseChartWithConfidencePredictor(DensePoseChartPredictor):
    """The same with the confidence branches that the config enables, if any."""

    @classmethod
    def from_config(cls, cfg: CfgNode, in_channels: int) -> dict[str, Any]:
        """Arguments of ``__init__`` from MODEL.ROI_DENSEPOSE_HEAD."""
        head = cfg.MODEL.ROI_DENSEPOSE_HEAD
        return {
            **super().from_config(cfg, in_channels),
            "uv_confidence": head.UV_CONFIDENCE.TYPE if head.UV_CONFIDENCE.ENABLED else "none",
            "segm_confidence_epsilon": (
                head.SEGM_CONFIDENCE.EPSILON if head.SEGM_CONFIDENCE.ENABLED else None
            ),
        }


def _body_or_not(part_logits: Tensor) -> Tensor:
    """(N, C, S, S) -> (N, 2, S, S) logits of background and of any part at all."""
    return torch.cat([part_logits[:, :1], part_logits[:, 1:].logsumexp(1, keepdim=True)], dim=1)


def _scaled_by_confidence(output: ChartOutput, epsilon: float) -> ChartOutput:
    """Both segmentations times softplus(raw) + epsilon (Sanakoyeu et al., 2020)."""
    # A product of up-sampled maps is not the up-sampled product: the full maps have to be made
    # here.
    full = output.upsampled()
    part = F.softplus(full.part_confidence) + epsilon
    coarse = F.softplus(full.coarse_confidence) + epsilon
    return replace(
        full,
        part_logits=full.part_logits * part,
        coarse_logits=full.coarse_logits * coarse,
        part_confidence=part,
        coarse_confidence=coarse,
    )
