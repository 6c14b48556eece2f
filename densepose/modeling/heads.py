"""The heads between pooled features and the predictor: plain, and DeepLab's.

Shapes: N instances, C channels, R = side of the pooled features.
"""

from __future__ import annotations

from typing import Any

import fvcore.nn.weight_init as weight_init
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d

from densepose.errors import InputError

GROUPS = 32  # of every group norm
# The last one reaches beyond maps of 28 x 28: there only the middle of its kernel reads the map.
DILATIONS = (6, 12, 56)


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


class DensePoseDeepLabHead(nn.Module):
    """Several scales at once, a non-local block if wanted, then 3x3 convolutions.

    Chen et al., DeepLabv3, 2017. Parameter names are those of detectron2's DensePose.
    """

    @configurable
    def __init__(
        self,
        in_channels: int,
        *,
        hidden_channels: int,
        num_convs: int,
        kernel_size: int = 3,
        norm: str = "GN",
        non_local: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            in_channels: C of the pooled features, 64 or another multiple of 32.
            hidden_channels: of the stacked convolutions; with "GN" a multiple of 32.
            num_convs: stacked convolutions.
            kernel_size: of these, odd.
            norm: "GN" normalises the stacked convolutions; "" gives them a bias instead.
            non_local: let every position see all others before the stacked convolutions.

        Raises:
            InputError: a width that cannot be divided into 32 groups, 32 channels where one value
                of each is normalised, or another norm.
        """
        super().__init__()
        if norm not in ("GN", ""):
            raise InputError(f"MODEL.ROI_DENSEPOSE_HEAD.DEEPLAB.NORM={norm!r}; allowed: 'GN', ''")
        self.ASPP = PyramidPooling(in_channels)
        self.NLBlock = NonLocalBlock(in_channels) if non_local else None
        widths = [in_channels] + [hidden_channels] * num_convs
        self.stack = []
        for number, (width_in, width_out) in enumerate(
            zip(widths, widths[1:], strict=False), start=1
        ):
            conv = Conv2d(
                width_in,
                width_out,
                kernel_size,
                padding=kernel_size // 2,
                bias=not norm,
                norm=group_norm(width_out) if norm else None,
                activation=F.relu,
            )
            weight_init.c2_msra_fill(conv)
            name = f"body_conv_fcn{number}"  # the name in released checkpoints
            self.add_module(name, conv)
            self.stack.append(name)
        self.out_channels = widths[-1]

    @classmethod
    def from_config(cls, cfg: CfgNode, in_channels: int) -> dict[str, Any]:
        """Arguments of ``__init__`` from MODEL.ROI_DENSEPOSE_HEAD."""
        deeplab = cfg.MODEL.ROI_DENSEPOSE_HEAD.DEEPLAB
        return {
            **DensePoseV1ConvXHead.from_config(cfg, in_channels),
            "norm": deeplab.NORM,
            "non_local": bool(deeplab.NONLOCAL_ON),
        }

    def forward(self, features: Tensor) -> Tensor:
        """(N, in_channels, R, R) -> (N, out_channels, R, R)."""
        features = self.ASPP(features)
        if self.NLBlock is not None:
            features = self.NLBlock(features)
        for name in self.stack:
            features = getattr(self, name)(features)
        return features


class PyramidPooling(nn.Module):
    """Five views of the map side by side, mixed by a 1x1 convolution; keeps the size."""

    def __init__(self, channels: int) -> None:
        """Build the branches: each position alone, three dilations, the mean of the map."""
        super().__init__()
        if channels == GROUPS:
            raise InputError(
                f"DensePoseDeepLabHead cannot take {GROUPS} channels: the mean of a map has one"
                " value in each of them, and a group of one value has no variance; use"
                f" {2 * GROUPS} or more"
            )
        branches = [nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False))]
        for dilation in DILATIONS:
            branches.append(nn.Sequential(WideConv(channels, dilation)))
        pooling = nn.AdaptiveAvgPool2d(1)
        branches.append(nn.Sequential(pooling, nn.Conv2d(channels, channels, 1, bias=False)))
        for branch in branches:
            branch.extend([group_norm(channels), nn.ReLU()])
        self.convs = nn.ModuleList(branches)
        mix = nn.Conv2d(len(branches) * channels, channels, 1, bias=False)
        self.project = nn.Sequential(mix, nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, R, R) -> (N, C, R, R)."""
        seen = [branch(features).expand_as(features) for branch in self.convs]
        return self.project(torch.cat(seen, dim=1))


class WideConv(nn.Conv2d):
    """A dilated 3x3 convolution without bias without the taps that no position can reach."""

    def __init__(self, channels: int, dilation: int) -> None:
        """Build it: ``channels`` in and out, the size kept."""
        super().__init__(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, R, R) -> (N, C, R, R)."""
        if max(features.shape[-2:]) > self.dilation[0]:
            return super().forward(features)
        # All but the middle tap read the padding: the values and gradients are those of all taps.
        return F.conv2d(features, self.weight[:, :, 1:2, 1:2])


class NonLocalBlock(nn.Module):
    """Adds to each position a mean of all others, weighted by likeness (Wang et al., 2018)."""

    def __init__(self, channels: int) -> None:
        """Build the projections; the block starts as the identity."""
        super().__init__()
        inner = max(channels // 2, 1)
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.MaxPool2d(2))
        self.g = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.MaxPool2d(2))
        self.W = nn.Sequential(nn.Conv2d(inner, channels, 1), group_norm(channels))
        nn.init.zeros_(self.W[1].weight)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, R, R) -> (N, C, R, R); R is at least 2."""
        query = self.theta(features).flatten(2)
        key, value = self.phi(features).flatten(2), self.g(features).flatten(2)
        likeness = torch.softmax(query.transpose(1, 2) @ key, dim=-1)  # (N, R * R, (R // 2)**2)
        seen = (value @ likeness.transpose(1, 2)).unflatten(2, features.shape[2:])
        return features + self.W(seen)


def group_norm(channels: int) -> nn.GroupNorm:
    """A group norm of 32 groups.

    Raises:
        InputError: the channels cannot be divided into them.
    """
    if channels % GROUPS:
        raise InputError(
            f"DensePoseDeepLabHead normalises groups of channels: {channels} channels cannot be"
            f" divided into {GROUPS} groups; set MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM and"
            f" MODEL.FPN.OUT_CHANNELS (DECODER_NUM_CLASSES with a decoder) to multiples of {GROUPS}"
        )
    return nn.GroupNorm(GROUPS, channels)
