"""Released models by name, as detectron2's modules; ``densepose.load`` gives one for photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .table import find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from detectron2.config import CfgNode


def get_config(name: str, opts: Sequence[str] = ()) -> CfgNode:
    """The config of a released model, with MODEL.WEIGHTS set to its weights.

    Args:
        name: ``R_50_FPN_DL_WC1M_s1x``.
        opts: KEY, VALUE, KEY, VALUE ... that replace those of the file.

    Raises:
        InputError: no such model or no such key.
    """
    # Not at the top: looking at the table needs no torch.
    from densepose.engine.predictor import model_config

    return model_config(find(name).name, opts=opts)[1]


def get(name: str, opts: Sequence[str] = ()) -> nn.Module:
    """A released model with its weights, in evaluation mode, on a device that is there.

    Args:
        name: ``R_50_FPN_DL_WC1M_s1x``.
        opts: KEY, VALUE, KEY, VALUE ... that replace those of the config, for example
            ``["MODEL.DEVICE", "cpu"]``.

    Raises:
        InputError: no such model or no such key; the weights cannot be had, or do not fill it.
    """
    from densepose.engine.checkpoint import load_for_inference
    from densepose.engine.model import build_run_model

    cfg = get_config(name, opts)
    model = build_run_model(cfg)
    load_for_inference(cfg, model, cfg.MODEL.WEIGHTS)
    return model.eval()
