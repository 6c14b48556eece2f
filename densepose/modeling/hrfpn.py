"""A feature pyramid over HRNet: all branches at one size, then one convolution a level.

Sun et al., High-Resolution Representations for Labeling Pixels and Regions, 2019. Layers,
parameter names and the sizes of the levels are those of detectron2's DensePose.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone

from densepose.errors import InputError

from .hrnet import hrnet_from_config


class HRFPN(Backbone):
    """Levels ``p1``, ``p2``, ... of stride 4, 8, ... px, all of the same number of channels.

    The level of stride s has a whole number of cells and covers the top left of the image; of the
    right and lower edge up to one cell of the last level (64 px for five levels), and at times one
    more, is cut off from all levels, so that each level has twice the cells of the next.
    """

    def __init__(self, bottom_up: Backbone, *, out_channels: int, num_levels: int) -> None:
        """Build the layers.

        Args:
            bottom_up: gives maps of stride 4, 8, 16, ... px, large to small.
            out_channels: of each level.
            num_levels: how many.
        """
        super().__init__()
        self.bottom_up = bottom_up
        branches: Mapping[str, ShapeSpec] = bottom_up.output_shape()
        self.in_features = list(branches)
        widths = [shape.channels for shape in branches.values()]
        self.interp_conv = nn.ModuleList(
            _normed(nn.ConvTranspose2d(width, width, 4, stride=2**number, bias=False), width)
            for number, width in enumerate(widths)
        )
        self.reduction_pooling_conv = nn.ModuleList(
            _normed(nn.Conv2d(sum(widths), out_channels, 2**number, 2**number), out_channels)
            for number in range(num_levels)
        )
        self.fpn_conv = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in range(num_levels)
        )
        self._shapes = {
            f"p{number + 1}": ShapeSpec(channels=out_channels, stride=2 ** (number + 2))
            for number in range(num_levels)
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) normalised images -> maps (B, out_channels, h * 2**k, w * 2**k).

        Raises:
            InputError: the images are too small for one cell of the last level.
        """
        branches = self.bottom_up(images)
        enlarged = [
            layer(branches[name])
            for layer, name in zip(self.interp_conv, self.in_features, strict=True)
        ]
        # Without padding the enlarged maps differ by a few cells.
        height = min(maps.shape[2] for maps in enlarged)
        width = min(maps.shape[3] for maps in enlarged)
        merged = torch.cat([maps[:, :, :height, :width] for maps in enlarged], dim=1)
        steepest = 2 ** (len(self._shapes) - 1)
        rows, columns = height // steepest, width // steepest
        if not rows * columns:
            raise InputError(
                f"images of {images.shape[2]} x {images.shape[3]} px are too small for the last"
                f" level of stride {4 * steepest} px; make them larger (INPUT.MIN_SIZE_TEST)"
            )
        levels = {}
        for number, name in enumerate(self._shapes):
            level = self.reduction_pooling_conv[number](merged)
            times = steepest >> number
            level = level[:, :, : rows * times, : columns * times]
            levels[name] = self.fpn_conv[number](level)
        return levels

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each level."""
        return self._shapes


def _normed(conv: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def build_hrfpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> HRFPN:
    """HRFPN over the HRNet of MODEL.HRNET, with as many levels as MODEL.ROI_HEADS.IN_FEATURES."""
    return HRFPN(
        hrnet_from_config(cfg, input_shape),
        out_channels=cfg.MODEL.HRNET.HRFPN.OUT_CHANNELS,
        num_levels=len(cfg.MODEL.ROI_HEADS.IN_FEATURES),
    )
