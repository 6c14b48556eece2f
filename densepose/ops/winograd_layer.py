"""Convolution modules whose forward is Winograd's; everything else of them stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from densepose.ops.winograd import applies, convolve_or_fall_back, tile_count, transform_weight

# With more tiles the transform of the weights is a small part of the work; its result is four
# times as large as the weights and is kept only where that pays.
_MOST_TILES_TO_KEEP = 1024


@dataclass(frozen=True)
class _Kept:
    """A transformed weight and what it was made from.

    The weight itself is kept too, so that no other tensor can take its place in memory meanwhile.
    """

    weight: Tensor
    version: int
    transformed: Tensor

    def fits(self, weight: Tensor) -> bool:
        return self.weight is weight and self.version == weight._version

    def __reduce__(self) -> tuple[type, tuple]:
        """Copies and pickles of a module start with nothing: the copy's versions count anew."""
        return type(None), ()


@cache
def winograd_class(original: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """A subclass of a convolution class (3x3, stride 1, padding 1) that computes by Winograd."""

    class WinogradConv(original):
        is_winograd = True
        kept_transform: _Kept | None = None

        def forward(self, x: Tensor) -> Tensor:
            weight, bias = self.weight, self.bias
            x = convolve_or_fall_back(x, weight, bias, _kept_transform(self, x, weight))
            norm, activation = getattr(self, "norm", None), getattr(self, "activation", None)
            if norm is not None:
                x = norm(x)
            return x if activation is None else activation(x)

    WinogradConv.__name__ = WinogradConv.__qualname__ = f"Winograd{original.__name__}"
    return WinogradConv


def _kept_transform(conv: nn.Conv2d, x: Tensor, weight: Tensor) -> Tensor | None:
    """The transformed weight, remembered in inference as long as the weight does not change."""
    if torch.is_grad_enabled():
        conv.kept_transform = None
        return None
    if not applies(x, weight) or tile_count(x) > _MOST_TILES_TO_KEEP:
        return None
    if weight.is_inference():
        return None  # no version counter: changes would go unnoticed
    if conv.kept_transform is None or not conv.kept_transform.fits(weight):
        with torch.inference_mode(False):
            transformed = transform_weight(weight.detach())
        conv.kept_transform = _Kept(weight, weight._version, transformed)
    return conv.kept_transform.transformed
