"""One switch that swaps a model's modules for the faster ones of this room.

Nothing that a checkpoint, an optimiser or a config can see changes: parameter names, shapes and
values stay. Meant for CPU; on a GPU cuDNN already chooses such algorithms, so nothing is swapped.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import nn

from densepose.ops import tile_threads
from densepose.ops.decoder_regions import merging_class, region_class
from densepose.ops.depthwise import depthwise_class, is_same_padded
from densepose.ops.folding import fold_frozen_norms
from densepose.ops.joined_layers import joined_class
from densepose.ops.linear import AcceleratedLinear, onednn_is_faster
from densepose.ops.memory import keep_freed_memory
from densepose.ops.pooler import GatherROIPooler
from densepose.ops.winograd_layer import winograd_class

logger = logging.getLogger(__name__)

# Below this width the transforms of Winograd cost as much as the products they save.
_MIN_WINOGRAD_CHANNELS = 32


@dataclass(frozen=True)
class Acceleration:
    """What ``accelerate`` changed."""

    folded_norms: int
    poolers: int
    winograd_convolutions: int
    depthwise_convolutions: int = 0
    linears: int = 0
    decoders: int = 0
    predictors: int = 0

    def __str__(self) -> str:
        parts = {
            "Winograd convolutions": self.winograd_convolutions,
            "depthwise convolutions": self.depthwise_convolutions,
            "folded norms": self.folded_norms,
            "gather RoIAlign poolers": self.poolers,
            "oneDNN linear layers": self.linears,
            "decoders around boxes": self.decoders,
            "predictors of one wide layer": self.predictors,
        }
        found = [f"{count} {name}" for name, count in parts.items() if count]
        return ", ".join([*found, "channels-last"])


def accelerate(model: nn.Module, *, for_inference: bool = False) -> Acceleration:
    """Swap in faster operators of equal values, in place; for training and inference on CPU.

    Args:
        model: a detectron2 model, or any module. Calling it twice changes nothing more.
        for_inference: that it will not be trained in this process; more freed memory is kept then.

    Returns:
        The number of modules of each kind that were swapped; all 0 when the model is not on CPU.
    """
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return Acceleration(0, 0, 0)
    folded = fold_frozen_norms(model) + _fold_backbone(model)
    done = Acceleration(
        folded,
        _swap_poolers(model),
        *_swap_convolutions(model),
        _swap_linears(model),
        _swap_decoders(model),
        _swap_predictors(model),
    )
    keep_freed_memory(large_blocks=for_inference)
    model.to(memory_format=torch.channels_last)
    logger.info("CPU operators: %s", done)
    return done


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


def _swap_convolutions(model: nn.Module) -> tuple[int, int]:
    """Winograd for wide 3x3 convolutions of stride 1, own kernels for depthwise ones.

    Returns:
        The number of each kind; 0 where Numba is missing.
    """
    if not tile_threads.available():
        logger.info("No Numba with OpenMP here: convolutions stay as they are")
        return 0, 0
    wide = [module for module in model.modules() if _suits_winograd(module)]
    depthwise = [module for module in model.modules() if _suits_depthwise(module)]
    for modules, faster in ((wide, winograd_class), (depthwise, depthwise_class)):
        for module in modules:
            module.__class__ = faster(type(module))
    return len(wide), len(depthwise)


def _swap_linears(model: nn.Module) -> int:
    """Give every fully connected layer oneDNN's product, where that is the faster one."""
    if not onednn_is_faster():
        return 0
    layers = [module for module in model.modules() if type(module) is nn.Linear]
    for layer in layers:
        layer.__class__ = AcceleratedLinear
    return len(layers)


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
