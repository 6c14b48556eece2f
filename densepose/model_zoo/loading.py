"""Released models by name, ready to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .table import SCHEME, find

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
        KeyError: no such model or no such key.
    """
    # Not at the top: looking at the table needs no torch.
    from densepose.config import check_config, find_config, load_config
    from densepose.engine.prepare import choose_device

    model = find(name)
    weights = ["MODEL.WEIGHTS", SCHEME + model.name]
    cfg = choose_device(load_config(find_config(model.config), [*weights, *opts]))
    check_config(cfg)
    return cfg


def get(name: str, opts: Sequence[str] = ()) -> nn.Module:
    """A released model with its weights, in evaluation mode, on a device that is there.

    Args:
        name: ``R_50_FPN_DL_WC1M_s1x``.
        opts: KEY, VALUE, KEY, VALUE ... that replace those of the config, for example
            ``["MODEL.DEVICE", "cpu"]``.

    Raises:
        KeyError: no such model or no such key.
        OSError: the weights cannot be had.
        ValueError: they do not fill the model.
    """
    from densepose.engine.checkpoint import load_for_inference
    from densepose.engine.model import build_run_model

    cfg = get_config(name, opts)
    model = build_run_model(cfg)
    load_for_inference(cfg, model, cfg.MODEL.WEIGHTS)
    return model.eval()
