"""The head between pooled features and the predictor.

Shapes: N instances, R = side of the pooled features.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable


def initialize_convolutions(module: nn.Module) -> None:
    """Kaiming-normal weights (fan out, ReLU) and zero biases for all layers of ``module``."""
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif name.endswith("weight"):
            nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")


class DensePoseV1ConvXHead(nn.Module):
    """``num_convs`` convolutions with ReLU; keeps the spatial size."""

    @configurable
    def __init__(
        self, in_channels: int, *, hidden_channels: int, num_convs: int, kernel_size: int = 3
    ) -> None:
        super().__init__()
        widths = [in_channels] + [hidden_channels] * num_convs
        for number, (width_in, width_out) in enumerate(
            zip(widths, widths[1:], strict=False), start=1
        ):
            conv = nn.Conv2d(width_in, width_out, kernel_size, padding=kernel_size // 2)
            self.add_module(f"body_conv_fcn{number}", conv)  # the name in released checkpoints
        self.out_channels = widths[-1]
        initialize_convolutions(self)

    @classmethod
    def from_config(cls, cfg: CfgNode, in_channels: int) -> dict[str, Any]:
        """Arguments of ``__init__`` from MODEL.ROI_DENSEPOSE_HEAD."""
        head = cfg.MODEL.ROI_DENSEPOSE_HEAD
        return {
            "in_channels": in_channels,
            "hidden_channels": head.CONV_HEAD_DIM,
            "num_convs": head.NUM_STACKED_CONVS,
            "kernel_size": head.CONV_HEAD_KERNEL,
        }

    def forward(self, features: Tensor) -> Tensor:
        """(N, in_channels, R, R) -> (N, out_channels, R, R)."""
        for conv in self.children():
            features = F.relu(conv(features))
        return features
