"""A second stage that refines the outputs of several branches from what all of them found.

Güler et al., "DensePose", CVPR 2018, Figure 8. A branch k has head features F_k and a first output
O_k. Both go through a 1x1 convolution each; the projected tensors of all branches are added, in
each branch a convolution and an output layer of its own follow, and give the refined output:

    Z = sum over all branches j of P_j(F_j) + Q_j(O_j)
    F'_k = relu(mix_k(relu(Z))),   O'_k = O_k + output_k(F'_k)   or   output_k(F'_k)

Shapes: N boxes, R_k = side of the features of branch k, S_k = side of its output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REFINED = ("replace", "add")


@dataclass(frozen=True)
class BranchShape:
    """What one branch brings to the sum."""

    feature_channels: int
    output_channels: int


class CascadeStage(nn.Module):
    """The sum, the convolution of each branch behind it, and the branches' output layers."""

    def __init__(
        self,
        branches: Mapping[str, BranchShape],
        output_layers: Mapping[str, nn.Module],
        *,
        channels: int,
        conv_kernel: int = 1,
        conv_dilation: int = 1,
    ) -> None:
        """Build the layers.

        Args:
            branches: by name.
            output_layers: of each branch, features (N, channels, R_k, R_k) -> refined output.
            channels: of the projected tensors and of the refined features.
            conv_kernel: of the convolution behind the sum, odd; 1 in the paper.
            conv_dilation: cells between its taps.
        """
        super().__init__()
        terms = 2 * len(branches)
        self.feature_projections = nn.ModuleDict()
        self.output_projections = nn.ModuleDict()
        self.mixing = nn.ModuleDict()
        for name, shape in branches.items():
            self.feature_projections[name] = _conv(shape.feature_channels, channels, terms)
            self.output_projections[name] = _conv(shape.output_channels, channels, terms)
        for name in branches:
            self.mixing[name] = _conv(channels, channels, 1, conv_kernel, conv_dilation)
        self.output_layers = nn.ModuleDict(output_layers)

    def forward(
        self, features: Mapping[str, Tensor], maps: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Refined features of all branches.

        Args:
            features: (N, feature channels, R_k, R_k) by branch.
            maps: (N, output channels, S_k, S_k) by branch, S_k a multiple of R_k.

        Returns:
            (N, channels, R_k, R_k) by branch, ready for ``output_layers``.
        """
        terms = [
            self.feature_projections[name](features[name])
            + self.output_projections[name](
                F.avg_pool2d(maps[name], maps[name].shape[-1] // features[name].shape[-1])
            )
            for name in self.mixing
        ]
        sides = {name: features[name].shape[-1] for name in self.mixing}
        sums = {
            side: F.relu(sum(_resized(term, side) for term in terms)) for side in sides.values()
        }
        return {name: F.relu(mix(sums[sides[name]])) for name, mix in self.mixing.items()}


def _resized(maps: Tensor, side: int) -> Tensor:
    if maps.shape[-1] == side:
        return maps
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)


def _conv(
    in_channels: int, out_channels: int, terms: int, kernel: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """A convolution whose output is one of ``terms`` addends of a sum of variance 1."""
    padding = kernel // 2 * dilation
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation)
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
    with torch.no_grad():
        conv.weight /= math.sqrt(terms)
    nn.init.zeros_(conv.bias)
    return conv
