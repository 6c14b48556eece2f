"""The model of a run: built from the config, with the faster operators where they apply."""

from __future__ import annotations

from torch import nn

from detectron2.config import CfgNode
from detectron2.modeling import build_model

from densepose.ops.accelerate import accelerate

from .fine_tune import freeze
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
