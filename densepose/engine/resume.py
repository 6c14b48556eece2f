"""A run that is resumed: its config then and now, its optimizer, and files of other runs."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from densepose.config.values import leaves
from densepose.errors import InputError

logger = logging.getLogger(__name__)

# About the start of a run, and what a checkpoint says itself.
WITHOUT_EFFECT = (
    "MODEL.WEIGHTS",
    "MODEL.TIMM.PRETRAINED",
    "MODEL.FINE_TUNE.EXCLUDE",
    "MODEL.FINE_TUNE.BACKBONE_WEIGHTS",
    "SEED",
)
# What one run leaves in OUTPUT_DIR beside its log.
RUN_FILES = ("model_*.pth", "model_best.json", "last_checkpoint", "metrics.json", "events.out.*")


def config_changes(then: str, now: str) -> dict[str, str]:
    """Keys that have another value in the second of two configs in YAML: key -> ``1, now 2``.

    Keys that only one of them has are of another version of this package.
    """
    before, after = (dict(leaves(yaml.safe_load(text) or {})) for text in (then, now))
    return {
        key: f"{before[key]!r}, now {after[key]!r}"
        for key in before.keys() & after.keys()
        if before[key] != after[key] and key != "OUTPUT_DIR"
    }


def report_changes(source: str, changes: Mapping[str, str]) -> None:
    """Warn of keys with another value than in the run so far."""
    for title, keys in (
        ("used from here on", sorted(changes.keys() - set(WITHOUT_EFFECT))),
        ("without effect on a run that is resumed", sorted(changes.keys() & set(WITHOUT_EFFECT))),
    ):
        if keys:
            listed = "; ".join(f"{key} was {changes[key]}" for key in keys)
            logger.warning("The config is not that of %s; %s: %s", source, title, listed)


def fitted_optimizer(
    saved: Mapping[str, Any], optimizer: torch.optim.Optimizer, order: Mapping[str, int]
) -> dict[str, Any]:
    """A saved state for an optimizer whose groups may be others: each parameter keeps its own.

    Rates, decays and the like are those of the optimizer, which the config of today has built.

    Args:
        saved: ``state_dict()``; in those of detectron2 groups have no ``param_names``.
        optimizer: with ``param_names`` in each group.
        order: place of each parameter in the model.

    Raises:
        InputError: it is not known which parameter a state belongs to, or it has another shape.
    """
    own, groups = optimizer.state_dict(), saved["param_groups"]
    names = [name for group in own["param_groups"] for name in group["param_names"]]
    if all("param_names" in group for group in groups):
        saved_names = [name for group in groups for name in group["param_names"]]
    elif [len(g["params"]) for g in groups] == [len(g["params"]) for g in own["param_groups"]]:
        saved_names = names
    elif len(groups) == len(names):  # detectron2 up to 0.5 had a group for each parameter
        saved_names = sorted(names, key=order.__getitem__)
    else:
        raise InputError(
            f"the checkpoint has {len(groups)} groups of parameters without names, the config"
            f" {len(own['param_groups'])}; set SOLVER.WEIGHT_DECAY_NORM, WEIGHT_DECAY_BIAS,"
            " BIAS_LR_FACTOR and MODEL.FINE_TUNE.FREEZE as they were, or omit --resume"
        )
    numbers = (number for group in groups for number in group["params"])
    found = dict(zip(saved_names, numbers, strict=True))
    shapes = [p.shape for group in optimizer.param_groups for p in group["params"]]
    state = {}
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        entry = saved["state"].get(found.get(name), {})
        if any(v.dim() and v.shape != shape for v in entry.values() if torch.is_tensor(v)):
            raise InputError(f"the state of the optimizer does not fit {name}; omit --resume")
        if entry:
            state[number] = entry
    return {"state": state, "param_groups": own["param_groups"]}


def set_aside(folder: Path) -> None:
    """Move what an earlier run left in OUTPUT_DIR into a folder below it.

    A new run must not be resumed from the checkpoints of another, nor overwrite them.
    """
    found = [path for pattern in RUN_FILES for path in folder.glob(pattern)]
    if not found:
        return
    numbers = [path.name.rpartition("_")[2] for path in folder.glob("earlier_run_*")]
    number = max((int(text) for text in numbers if text.isdecimal()), default=0) + 1
    place = folder / f"earlier_run_{number}"
    place.mkdir(parents=True)
    for path in found:
        path.replace(place / path.name)
    logger.warning("%s held files of an earlier run, which are now in %s", folder, place)


def remove_half_files(folder: Path) -> None:
    """Remove what killed processes left of files that they were writing."""
    for path in folder.glob(".model_*.pth.*"):
        shutil.rmtree(path, ignore_errors=True)
