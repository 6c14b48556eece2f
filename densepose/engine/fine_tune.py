"""What a run starts from and what of it learns: MODEL.WEIGHTS and MODEL.FINE_TUNE."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from timm.layers import freeze_batch_norm_2d
from torch import nn

from detectron2.config import CfgNode

from .checkpoint import load_weights
from .load_report import LoadReport, is_below
from .weights_file import read_weights, resolve_weights

KEY = "MODEL.FINE_TUNE"


def load_starting_weights(cfg: CfgNode, model: nn.Module) -> LoadReport:
    """Fill a model from MODEL.WEIGHTS as MODEL.FINE_TUNE says; the report goes to OUTPUT_DIR.

    Raises:
        ValueError: nothing fits, or a prefix names nothing.
        OSError: a file cannot be had.
    """
    tune, zoo_dir = cfg.MODEL.FINE_TUNE, cfg.MODEL.ZOO_DIR
    check_prefixes(f"{KEY}.EXCLUDE", tune.EXCLUDE, model.state_dict())
    file = read_weights(resolve_weights(cfg.MODEL.WEIGHTS, zoo_dir))
    backbone = None
    if tune.BACKBONE_WEIGHTS:
        backbone = read_weights(resolve_weights(tune.BACKBONE_WEIGHTS, zoo_dir))
    folder = Path(cfg.OUTPUT_DIR)
    return load_weights(model, file, backbone=backbone, exclude=tune.EXCLUDE, report_dir=folder)


def freeze(model: nn.Module, prefixes: Sequence[str]) -> None:
    """Keep parts of a model as they are, in place.

    Their parameters get no gradient, and their batch norms use the statistics that they have.

    Args:
        model: changed in place.
        prefixes: names of modules or parameters: ``backbone.bottom_up.res2``.

    Raises:
        ValueError: a prefix names nothing, or nothing is left to learn.
    """
    check_prefixes(f"{KEY}.FREEZE", prefixes, [name for name, _ in model.named_parameters()])
    for name, parameter in model.named_parameters():
        if any(is_below(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if name in prefixes:
            parent, _, child = name.rpartition(".")
            # timm's conversion: it keeps the activation that timm's norms may contain.
            setattr(model.get_submodule(parent), child, freeze_batch_norm_2d(module))
    if prefixes and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"{KEY}.FREEZE {list(prefixes)} leaves nothing that learns")


def check_prefixes(key: str, prefixes: Iterable[str], names: Iterable[str]) -> None:
    """Refuse a prefix below which there is no parameter.

    Raises:
        ValueError: with the nearest names of modules.
    """
    names = list(names)
    for prefix in prefixes:
        if any(is_below(name, prefix) for name in names):
            continue
        parts = (name.split(".") for name in names)
        known = sorted({".".join(p[:end]) for p in parts for end in range(1, len(p) + 1)})
        near = difflib.get_close_matches(prefix, known, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"{key}: no parameter of the model is called {prefix!r}{hint}")
