"""One switch that swaps a model's modules for the faster ones of this room.

Nothing that a checkpoint, an optimiser or a config can see changes: parameter names, shapes and
values stay. Meant for CPU; on a GPU cuDNN already chooses such algorithms, so nothing is swapped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

import torch
from torch import nn

from densepose.ops import tile_threads
from densepose.ops.decoder_regions import merging_class, region_class
from densepose.ops.depthwise import depthwise_class, is_same_padded
from densepose.ops.folding import fold_frozen_norms
from densepose.ops.joined_layers import joined_class
from densepose.ops.memory import keep_freed_memory
from densepose.ops.pooler import GatherROIPooler
from densepose.ops.winograd_layer import winograd_class

logger = logging.getLogger(__name__)

# Below this width the transforms of Winograd cost as much as the products they save.
_MIN_WINOGRAD_CHANNELS = 32


def accelerate(
    model: nn.Module, *, for_inference: bool = False, only: Collection[str] | None = None
) -> dict[str, int]:
    """Swap in faster operators of equal values, in place; for training and inference on CPU.

    Args:
        model: a detectron2 model, or any module. Calling it twice changes nothing more.
        for_inference: that it will not be trained in this process; more freed memory is kept then.
        only: names of ``OPERATORS``, to measure them; all when None.

    Returns:
        The number of modules that each operator took; empty when the model is not on CPU.
    """
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return {}
    chosen = {name: OPERATORS[name] for name in OPERATORS if only is None or name in only}
    done = {name: swap(model) for name, swap in chosen.items()}
    keep_freed_memory(large_blocks=for_inference)
    model.to(memory_format=torch.channels_last)
    found = [f"{count} {name}" for name, count in done.items() if count]
    logger.info("CPU operators: %s", ", ".join([*found, "channels-last"]))
    return done


def _fold_norms(model: nn.Module) -> int:
    return fold_frozen_norms(model) + _fold_backbone(model)


def _fold_backbone(model: nn.Module) -> int:
    """Fold norms that are modules of their own (timm); the pairs show in one forward pass."""
    bottom_up = getattr(getattr(model, "backbone", None), "bottom_up", None)
    if bottom_up is None:
        return 0
    was_training = bottom_up.training
    # Masks may be further channels of the input.
    first = next((m for m in bottom_up.modules() if isinstance(m, nn.Conv2d)), None)
    channels = 3 if first is None else first.in_channels
    try:
        return fold_frozen_norms(bottom_up.eval(), example=torch.zeros(1, channels, 64, 64))
    finally:
        bottom_up.train(was_training)


def _swap_poolers(model: nn.Module) -> int:
    from detectron2.modeling.poolers import ROIPooler

    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ROIPooler):
                faster = GatherROIPooler.replacing(child)
                if faster is not None:
                    setattr(parent, name, faster.train(child.training))
                    count += 1
    return count


def _swap_wide(model: nn.Module) -> int:
    """Winograd for wide 3x3 convolutions of stride 1."""
    return _change_class(model, _suits_winograd, winograd_class)


def _swap_depthwise(model: nn.Module) -> int:
    """Own kernels for depthwise convolutions."""
    return _change_class(model, _suits_depthwise, depthwise_class)


def _change_class(
    model: nn.Module,
    suits: Callable[[nn.Module], bool],
    faster: Callable[[type[nn.Conv2d]], type[nn.Conv2d]],
) -> int:
    if not tile_threads.available():
        logger.info("No Numba with OpenMP here: convolutions stay as they are")
        return 0
    modules = [module for module in model.modules() if suits(module)]
    for module in modules:
        module.__class__ = faster(type(module))
    return len(modules)


def _swap_decoders(model: nn.Module) -> int:
    """Levels are added before they are doubled, around the boxes alone where these are known."""
    from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead

    count = 0
    for module in model.modules():
        decoder = getattr(module, "decoder", None)
        if isinstance(decoder, SemSegFPNHead) and not hasattr(decoder, "merges_levels"):
            decoder.__class__ = merging_class(type(decoder))
            if hasattr(module, "pool_levels"):
                module.__class__ = region_class(type(module))
            count += 1
    return count


def _swap_predictors(model: nn.Module) -> int:
    """Transposed convolutions of the same features become one wide layer."""
    predictors = [
        module
        for module in model.modules()
        if hasattr(module, "layer_outputs") and not hasattr(module, "joins_layers")
    ]
    for predictor in predictors:
        predictor.__class__ = joined_class(type(predictor))
    return len(predictors)


def _suits_winograd(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and not hasattr(type(module), "is_winograd")
        and _plain_forward(type(module))
        and module.kernel_size == (3, 3)
        and module.stride == module.dilation == (1, 1)
        and module.padding == (1, 1)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and min(module.in_channels, module.out_channels) >= _MIN_WINOGRAD_CHANNELS
    )


def _suits_depthwise(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d) or hasattr(type(module), "is_depthwise"):
        return False
    own = next(base for base in type(module).__mro__ if "forward" in vars(base))
    return (
        (own is nn.Conv2d or is_same_padded(own))
        and module.groups == module.in_channels == module.out_channels > 1
        and module.kernel_size in ((3, 3), (5, 5))
        and module.stride[0] == module.stride[1]
        and module.dilation == (1, 1)
        and not isinstance(module.padding, str)
        and module.padding_mode == "zeros"
    )


def _plain_forward(kind: type[nn.Conv2d]) -> bool:
    """True for classes whose forward is convolution, then norm, then activation."""
    from detectron2.layers import Conv2d

    defined = next(base for base in kind.__mro__ if "forward" in vars(base))
    return defined in (nn.Conv2d, Conv2d)


# In this order: a folded convolution may become one of Winograd.
OPERATORS: dict[str, Callable[[nn.Module], int]] = {
    "folded norms": _fold_norms,
    "gather RoIAlign poolers": _swap_poolers,
    "Winograd convolutions": _swap_wide,
    "depthwise convolutions": _swap_depthwise,
    "decoders around boxes": _swap_decoders,
    "predictors of one wide layer": _swap_predictors,
}
