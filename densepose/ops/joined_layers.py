"""Transposed convolutions of the same features as one wide layer, which reads them once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@cache
def joined_class(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass of a module whose children are the layers of ``layer_outputs(features)``.

    The layers are ``nn.ConvTranspose2d`` with biases that differ in their output channels alone.
    """

    class JoinedLayers(kind):
        joins_layers = True

        def layer_outputs(self, features: Tensor) -> Sequence[Tensor]:
            layers = list(self.children())
            weight = torch.cat([layer.weight for layer in layers], dim=1)
            bias = torch.cat([layer.bias for layer in layers])
            first = layers[0]
            maps = F.conv_transpose2d(
                features, weight, bias, stride=first.stride, padding=first.padding
            )
            return maps.split([layer.out_channels for layer in layers], dim=1)

    JoinedLayers.__name__ = JoinedLayers.__qualname__ = f"Joined{kind.__name__}"
    return JoinedLayers
