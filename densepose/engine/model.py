"""The model of a run: built from the config, partly frozen, with the faster operators on CPU."""

from __future__ import annotations

from collections.abc import Sequence

from timm.layers import freeze_batch_norm_2d
from torch import nn

from detectron2.config import CfgNode
from detectron2.modeling import build_model

from densepose.errors import InputError
from densepose.ops.accelerate import accelerate

from .load_report import check_prefixes, is_below
from .prepare import choose_device


def build_run_model(cfg: CfgNode, *, for_inference: bool = False) -> nn.Module:
    """The model of ``cfg`` on MODEL.DEVICE, or on the CPU where that is a missing GPU.

    With MODEL.CPU_OPS "auto" a model on CPU gets this package's operators: the same values,
    parameter names and checkpoints, less time. "off" leaves plain torch. What
    MODEL.FINE_TUNE.FREEZE names does not learn. ``for_inference`` says that nothing is trained in
    this process.
    """
    model = build_model(choose_device(cfg))
    freeze(model, cfg.MODEL.FINE_TUNE.FREEZE)
    if cfg.MODEL.CPU_OPS == "auto":
        accelerate(model, for_inference=for_inference)
    return model


def freeze(model: nn.Module, prefixes: Sequence[str]) -> None:
    """Stop parts of a model from learning, in place.

    Their parameters get no gradient, and their batch norms use the statistics that they have.

    Args:
        model: changed in place.
        prefixes: names of modules or parameters: ``backbone.bottom_up.res2``.

    Raises:
        InputError: a prefix names nothing, or nothing is left to learn.
    """
    key = "MODEL.FINE_TUNE.FREEZE"
    check_prefixes(key, prefixes, [name for name, _ in model.named_parameters()])
    for name, parameter in model.named_parameters():
        if any(is_below(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if name in prefixes:
            parent, _, child = name.rpartition(".")
            # timm's conversion: it keeps the activation that timm's norms may contain.
            setattr(model.get_submodule(parent), child, freeze_batch_norm_2d(module))
    if prefixes and not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(f"{key} {list(prefixes)} leaves nothing that learns")
