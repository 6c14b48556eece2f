"""More input channels than three: figure-ground or part masks beside the colours."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from densepose.errors import InputError

COLORS = 3


def widen_input(backbone: nn.Module, extra_channels: int) -> None:
    """Let the first convolution of a backbone read further channels, in place.

    Their weights start at 0: the network begins with what it knows about colours.

    Raises:
        InputError: no convolution, or more than one, reads three channels.
    """
    if not extra_channels:
        return
    stems = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    stems = [conv for conv in stems if conv.in_channels == COLORS and conv.groups == 1]
    if len(stems) != 1:
        raise InputError(
            f"{type(backbone).__name__}: {len(stems)} convolutions read {COLORS} channels, expected"
            " one; set MODEL.DP_FCN.FIGURE_GROUND to none or multiply, or take another backbone"
        )
    conv = stems[0]
    wide = with_more_inputs(conv.weight.detach(), extra_channels)
    conv.weight = nn.Parameter(wide, requires_grad=True)
    conv.in_channels += extra_channels


def mask_layer(mask_channels: int, channels: int) -> nn.Conv2d:
    """3x3 convolution of masks, at most one of which is 1 at a place, to values of unit size."""
    layer = nn.Conv2d(mask_channels, channels, 3, padding=1)
    nn.init.normal_(layer.weight, std=1 / 3)  # a sum of nine weights
    nn.init.zeros_(layer.bias)
    return layer


def with_more_inputs(weight: Tensor, extra_channels: int) -> Tensor:
    """(O, I, h, w) -> (O, I + extra_channels, h, w), zeros added."""
    return torch.cat([weight, weight.new_zeros(len(weight), extra_channels, *weight.shape[2:])], 1)


def fit_input_layers(
    weights: Mapping[str, Tensor], model: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Weights of a file for a model whose first convolution was widened.

    Args:
        weights: of the file, by the model's names.
        model: the model's ``state_dict``.

    Returns:
        The same weights; a convolution of three channels that has more in the model gets zeros
        for the rest.
    """
    fitted = dict(weights)
    for name, value in weights.items():
        target = model.get(name)
        if target is None or value.ndim != 4 or target.ndim != 4 or value.shape[1] != COLORS:
            continue
        extra = target.shape[1] - COLORS
        if extra > 0 and value.shape[0] == target.shape[0] and value.shape[2:] == target.shape[2:]:
            fitted[name] = with_more_inputs(value, extra)
    return fitted
