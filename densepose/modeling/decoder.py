"""Merge the levels of a feature pyramid into one map (Kirillov et al., Panoptic FPN, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import fvcore.nn.weight_init as weight_init
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec, get_norm


class Decoder(nn.Module):
    """Convolves and doubles each level until it has the common stride, then adds them.

    Parameter names are those of detectron2's DensePose: ``<level>.<position>`` where up-samplings
    take a position.
    """

    @configurable
    def __init__(
        self,
        input_shape: Mapping[str, ShapeSpec],
        *,
        in_features: Sequence[str],
        hidden_channels: int,
        out_channels: int,
        common_stride: int,
        norm: str = "",
    ) -> None:
        """Build one branch for each level.

        Raises:
            ValueError: a level's stride is not ``common_stride`` times a power of two, or the
                first differs from it.
        """
        super().__init__()
        self.in_features = list(in_features)
        strides = [input_shape[name].stride for name in self.in_features]
        doublings = [_doublings(stride, common_stride) for stride in strides]
        if strides[0] != common_stride:
            raise ValueError(
                f"MODEL.ROI_DENSEPOSE_HEAD.DECODER_COMMON_STRIDE={common_stride} but the first of"
                f" MODEL.ROI_HEADS.IN_FEATURES, {self.in_features[0]!r}, has stride {strides[0]};"
                " the merged map is"
                f" pooled at that stride: set DECODER_COMMON_STRIDE to {strides[0]}"
            )
        for name, count in zip(self.in_features, doublings, strict=True):
            channels = input_shape[name].channels
            self.add_module(name, _branch(channels, hidden_channels, count, norm))
        self.predictor = Conv2d(hidden_channels, out_channels, kernel_size=1)
        weight_init.c2_msra_fill(self.predictor)
        self.out_channels = out_channels
        self.common_stride = common_stride

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """Arguments of ``__init__`` from MODEL.ROI_DENSEPOSE_HEAD and the pyramid's shapes."""
        head = cfg.MODEL.ROI_DENSEPOSE_HEAD
        return {
            "input_shape": input_shape,
            "in_features": cfg.MODEL.ROI_HEADS.IN_FEATURES,
            "hidden_channels": head.DECODER_CONV_DIMS,
            "out_channels": head.DECODER_NUM_CLASSES,
            "common_stride": head.DECODER_COMMON_STRIDE,
            "norm": head.DECODER_NORM,
        }

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """One (B, C, H_l, W_l) map for each level -> (B, out_channels, H, W), common stride."""
        merged = None
        doubled = None
        for name, level in zip(self.in_features, features, strict=True):
            branch = getattr(self, name)
            if len(branch) == 1:
                level = branch(level)
                merged = level if merged is None else merged + level
                continue
            # The last doubling is linear: add the levels first, then double once.
            for layer in islice(branch, len(branch) - 1):
                level = layer(level)
            doubled = level if doubled is None else doubled + level
        if doubled is not None:
            doubled = F.interpolate(doubled, scale_factor=2, mode="bilinear", align_corners=False)
            merged = doubled if merged is None else merged + doubled
        return self.predictor(merged)


def _doublings(stride: int, common_stride: int) -> int:
    ratio, rest = divmod(stride, common_stride)
    if rest or ratio < 1 or ratio & (ratio - 1):
        raise ValueError(
            f"a feature level of stride {stride} cannot be brought to"
            f" DECODER_COMMON_STRIDE={common_stride} by"
            " doubling its size"
        )
    return ratio.bit_length() - 1


def _branch(in_channels: int, channels: int, doublings: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step in range(max(1, doublings)):
        conv = Conv2d(
            in_channels if step == 0 else channels,
            channels,
            kernel_size=3,
            padding=1,
            bias=not norm,
            norm=get_norm(norm, channels),
            activation=F.relu,
        )
        weight_init.c2_msra_fill(conv)
        layers.append(conv)
        if doublings:
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
    return nn.Sequential(*layers)
