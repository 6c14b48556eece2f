"""Saving, finding and loading the checkpoints of a run.

A checkpoint is one ``.pth`` file of tensors and plain values: ``model`` (the weights to use: their
moving average where SOLVER.EMA is on), ``iteration``, and in full checkpoints ``trainer``
(optimizer, schedule, hooks), ``train_model`` (the weights training goes on with, where they differ
from ``model``) and ``config``. ``last_checkpoint`` holds the name of the newest one, as in
detectron2. Files appear under their name only when they are complete.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.utils import comm

from densepose.modeling.input_layer import fit_input_layers

from .load_report import LoadReport, check_anything_matched, compare_weights, is_below
from .name_matching import match_names
from .weights_file import WeightsFile, read_weights

logger = logging.getLogger(__name__)

LAST = "last_checkpoint"
REPORT = "load_report.txt"
BOTTOM_UP = "backbone.bottom_up"


def write_text(path: Path, text: str) -> None:
    """Write a text file that is there in full or not at all, whoever else writes it, too."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a dictionary of tensors and plain values with torch.save, in full or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        torch.save(dict(content), part)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(f"{path}: the checkpoint could not be written ({error})") from error


def mark_as_last(path: Path) -> None:
    """Note in ``last_checkpoint`` that ``path`` is the newest checkpoint of its folder."""
    write_text(path.with_name(LAST), path.name)


def periodic_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints ``model_0001999.pth`` and ``model_final.pth`` of a run, newest first."""
    found = [path for path in folder.glob("model_*.pth") if _order(path) is not None]
    return sorted(found, key=lambda path: _order(path) or 0, reverse=True)


def _order(path: Path) -> float | None:
    if path.name == "model_final.pth":
        return float("inf")
    number = re.fullmatch(r"model_(\d+)\.pth", path.name)
    return float(number[1]) if number else None


def find_last_valid(folder: Path) -> WeightsFile | None:
    """The newest checkpoint of a folder that can be read.

    Damaged ones are named in a warning and passed over.

    Returns:
        None where the folder has no checkpoint at all.

    Raises:
        ValueError: there are checkpoints, and every one of them is damaged.
    """
    candidates = periodic_checkpoints(folder)
    last = folder / LAST
    if last.is_file():
        named = folder / last.read_text(encoding="utf-8").strip()
        candidates = [named, *(path for path in candidates if path != named)]
    for path in candidates:
        try:
            return read_weights(path)
        except (ValueError, FileNotFoundError) as error:
            logger.warning("Checkpoint passed over: %s", error)
    if candidates:
        raise ValueError(
            f"{folder}: none of its checkpoints can be read"
            f" ({', '.join(path.name for path in candidates)});"
            " start without --resume, or in another OUTPUT_DIR"
        )
    return None


def load_weights(
    model: nn.Module,
    file: WeightsFile,
    *,
    backbone: WeightsFile | None = None,
    exclude: Sequence[str] = (),
    report_dir: Path | None = None,
) -> LoadReport:
    """Load what fits of a file into a model, and say what happened to every weight.

    The report is logged in short and written in full to ``report_dir``/load_report.txt by the main
    process.

    Args:
        model: changed in place.
        file: the weights.
        backbone: has ``backbone.bottom_up`` in place of ``file``.
        exclude: prefixes of the model's parameters that keep their initial values.
        report_dir: folder of the report.

    Raises:
        ValueError: no weight of the file fits.
    """
    state = model.state_dict()
    source, weights = str(file.path), match_names(file, state)
    if backbone is not None:
        source = f"{source}, {BOTTOM_UP} of {backbone.path}"
        weights = _with_backbone(weights, backbone, state)
    weights = fit_input_layers(weights, state)
    report = compare_weights(source, weights, state, exclude)
    if report_dir is not None and comm.is_main_process():
        report_dir.mkdir(parents=True, exist_ok=True)
        write_text(report_dir / REPORT, report.text())
    check_anything_matched(report)
    logger.info("Loaded %s", report.short_text())
    model.load_state_dict({name: weights[name] for name in report.matched}, strict=False)
    return report


def _with_backbone(
    weights: Mapping[str, Tensor], backbone: WeightsFile, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    theirs = {
        name: value
        for name, value in match_names(backbone, state).items()
        if is_below(name, BOTTOM_UP)
    }
    check_anything_matched(compare_weights(str(backbone.path), theirs, state))
    return {name: v for name, v in weights.items() if not is_below(name, BOTTOM_UP)} | theirs
