"""Frozen batch norm folded into the convolution before it, for training and inference.

A frozen norm is ``x * scale + shift`` per channel, so it can act on the weights of the convolution
instead of on its (much larger) output. The parameters stay where they are: the convolution keeps
its raw weight, the norm its buffers, and gradients reach the raw weight through ``weight * scale``.
Only the classes of the two modules change, so names, checkpoints and optimisers do not.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn


def fold_frozen_norms(model: nn.Module, example: Tensor | None = None) -> int:
    """Fold every frozen batch norm of ``model`` that directly follows a convolution.

    Args:
        model: changed in place.
        example: an input of ``model``; with it one forward pass finds the pairs that are separate
            modules. Without it only convolutions that own their norm (detectron2's) are folded.

    Returns:
        The number of norms folded.
    """
    pairs = [
        (module, module.norm)
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and _is_frozen_norm(getattr(module, "norm", None))
    ]
    if example is not None:
        pairs += _pairs_in_forward(model, example)
    for conv, norm in pairs:
        _fold(conv, norm)
    return len(pairs)


def _is_frozen_norm(module: object) -> bool:
    names = {base.__name__ for base in type(module).__mro__}
    return bool(names & {"FrozenBatchNorm2d", "FrozenBatchNormAct2d"}) and not hasattr(
        type(module), "is_folded"
    )


def _pairs_in_forward(model: nn.Module, example: Tensor) -> list[tuple[nn.Conv2d, nn.Module]]:
    """Pairs in which the very tensor a convolution returned is what a frozen norm receives."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # holds the tensors, so that ids stay unique
    pairs = []

    def remember(conv: nn.Conv2d, _: object, output: Tensor) -> None:
        made[id(output)] = (conv, output)

    def match(norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        conv, _ = made.get(id(arguments[0]), (None, None))
        if conv is not None and getattr(conv, "norm", None) is None:
            pairs.append((conv, norm))

    hooks = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(remember))
        elif _is_frozen_norm(module):
            hooks.append(module.register_forward_pre_hook(match))
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return pairs


def _fold(conv: nn.Conv2d, norm: nn.Module) -> None:
    # Past nn.Module.__setattr__: the norm must not appear a second time in the state dict.
    object.__setattr__(conv, "folded_norm", norm)
    object.__setattr__(conv, "folded_cache", None)
    conv.__class__ = _folded_conv_class(type(conv))
    norm.__class__ = _folded_norm_class(type(norm))


@cache
def _folded_conv_class(original: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """A subclass whose ``weight`` and ``bias`` read as the folded ones."""

    class FoldedConv(original):
        is_folded = True

        @property
        def weight(self) -> Tensor:
            return _folded_parameters(self, 0)

        @property
        def bias(self) -> Tensor:
            return _folded_parameters(self, 1)

    FoldedConv.__name__ = FoldedConv.__qualname__ = f"Folded{original.__name__}"
    return FoldedConv


@cache
def _folded_norm_class(original: type[nn.Module]) -> type[nn.Module]:
    """A subclass that leaves only the activation of the norm (none for a plain one)."""

    class FoldedNorm(original):
        is_folded = True

        def forward(self, x: Tensor) -> Tensor:
            activation = getattr(self, "act", None)
            return x if activation is None else activation(x)

    FoldedNorm.__name__ = FoldedNorm.__qualname__ = f"Folded{original.__name__}"
    return FoldedNorm


def _folded_parameters(conv: nn.Conv2d, which: int) -> Tensor:
    """Number 0, weight * scale, or 1, shift + bias * scale, of a folded convolution.

    Both are remembered in inference; in training each is computed when it is asked for.
    """
    weight, bias, norm = conv._parameters["weight"], conv._parameters["bias"], conv.folded_norm
    if torch.is_grad_enabled() and weight.requires_grad:
        return (_folded_weight if which == 0 else _folded_bias)(weight, bias, norm)
    sources = (weight, bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    present = [t for t in sources if t is not None]
    if any(t.is_inference() for t in present):  # no version counter: changes would go unnoticed
        return (_folded_weight if which == 0 else _folded_bias)(weight, bias, norm)
    key = tuple((t.data_ptr(), t._version) for t in present)
    if conv.folded_cache is None or conv.folded_cache[0] != key:
        # Remembered: without a graph, and usable in training also when made in inference mode.
        with torch.inference_mode(False), torch.no_grad():
            folded = tuple(f(weight, bias, norm) for f in (_folded_weight, _folded_bias))
        object.__setattr__(conv, "folded_cache", (key, folded))
    return conv.folded_cache[1][which]


def _folded_weight(weight: Tensor, _: Tensor | None, norm: nn.Module) -> Tensor:
    return weight * _scale(norm).to(weight.dtype)[:, None, None, None]


def _folded_bias(_: Tensor, bias: Tensor | None, norm: nn.Module) -> Tensor:
    scale = _scale(norm)
    shift = norm.bias - norm.running_mean * scale
    return shift if bias is None else shift + bias * scale


def _scale(norm: nn.Module) -> Tensor:
    return norm.weight * (norm.running_var + norm.eps).rsqrt()
