"""Checkpoints: detectron2's checkpointer, which here runs no code from files.

A checkpoint is one ``.pth`` file of tensors and plain values: ``model`` (the weights to use),
``config`` (its YAML), ``iteration``, ``trainer`` (optimiser, schedule and hooks, as detectron2's
DefaultTrainer saves them; among the hooks, where ``model`` is a moving average, the weights that
training continues with). ``last_checkpoint`` names the newest file of a folder.
"""

from __future__ import annotations

import logging
import math
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.utils import comm

from densepose.errors import InputError
from densepose.files import atomic, write_text
from densepose.model_zoo.files import check_weights_file, resolve_weights
from densepose.modeling.input_layer import fit_input_layers

from .load_report import (
    NEVER_MISSED,
    LoadReport,
    check_prefixes,
    compare_weights,
    is_below,
    modules_of,
)
from .resume import config_changes, report_changes
from .weights import BOTTOM_UP, HEURISTICS, match_names, read_checkpoint

logger = logging.getLogger(__name__)

LAST = "last_checkpoint"
REPORT = "load_report.txt"
AVERAGE = "WeightAverage"  # hook whose state has the weights that training continues with


class SafeCheckpointer(DetectionCheckpointer):
    """detectron2's DetectionCheckpointer without unpickling.

    It reads the same files, safetensors and the addresses of ``resolve_weights``, and reports what
    happened to every weight. Files are written in full or not at all. A damaged checkpoint is
    passed over for the one before it.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str | os.PathLike[str] = "",
        *,
        zoo_dir: str = "",
        exclude: Sequence[str] = (),
        backbone_weights: str = "",
        report_dir: str | os.PathLike[str] | None = None,
        config: str = "",
        **checkpointables: Any,
    ) -> None:
        """Prepare to save and load.

        Args:
            model: changed in place by loading.
            save_dir: folder of checkpoints.
            zoo_dir: MODEL.ZOO_DIR, see ``resolve_weights``.
            exclude: prefixes of parameters that keep their initial values (not when resuming).
            backbone_weights: file from which the backbone is loaded instead (not when resuming).
            report_dir: folder of ``load_report.txt``; by default ``save_dir``. Empty: not written.
            config: YAML text, saved as ``config`` so that the file is enough to use the model.
            checkpointables: objects with ``state_dict`` and ``load_state_dict``.

        Raises:
            InputError: a prefix names nothing.
        """
        super().__init__(model, os.fspath(save_dir), **checkpointables)
        check_prefixes("MODEL.FINE_TUNE.EXCLUDE", exclude, self.model.state_dict())
        self.zoo_dir, self.exclude, self.backbone_weights = zoo_dir, exclude, backbone_weights
        self.report_dir = os.fspath(self.save_dir if report_dir is None else report_dir)
        self.report: LoadReport | None = None  # of the last load
        self.config = config
        self.last_iteration = -1  # of the newest checkpoint that was to be written

    @classmethod
    def from_config(
        cls, cfg: CfgNode, model: nn.Module, **checkpointables: Any
    ) -> SafeCheckpointer:
        """The checkpointer of a training run in OUTPUT_DIR, with what MODEL.FINE_TUNE says."""
        tune = cfg.MODEL.FINE_TUNE
        return cls(
            model,
            cfg.OUTPUT_DIR,
            zoo_dir=cfg.MODEL.ZOO_DIR,
            exclude=tune.EXCLUDE,
            backbone_weights=tune.BACKBONE_WEIGHTS,
            config=cfg.dump(),
            **checkpointables,
        )

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``name``.pth with the model, the checkpointables and ``kwargs``, and tag it."""
        if not self.save_dir or not self.save_to_disk:
            return
        self.last_iteration = kwargs.get("iteration", -1)
        states = {key: value.state_dict() for key, value in self.checkpointables.items()}
        path = Path(self.save_dir, f"{name}.pth")
        config = {"config": self.config} if self.config else {}
        content = {"model": self.model.state_dict(), **config, **states, **kwargs}
        save_checkpoint(path, content)
        self.tag_last_checkpoint(path.name)
        logger.info("Saved %s", path)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Note the name of the newest checkpoint in ``last_checkpoint``."""
        write_text(Path(self.save_dir, LAST), last_filename_basename)

    def has_checkpoint(self) -> bool:
        """Whether the folder has a checkpoint of a run, damaged or not."""
        return bool(self.save_dir and find_checkpoints(self.save_dir))

    def get_checkpoint_file(self) -> str:
        """The newest checkpoint whose checksums are right; empty where the folder has none.

        Damaged ones are named in a warning and passed over.

        Raises:
            InputError: there are checkpoints, and every one is damaged.
        """
        candidates = find_checkpoints(self.save_dir) if self.save_dir else []
        for path in candidates:
            try:
                check_weights_file(path)
            except (ValueError, OSError) as error:
                logger.warning("Checkpoint skipped: %s", error)
            else:
                return str(path)
        if candidates:
            names = ", ".join(path.name for path in candidates)
            raise InputError(
                f"{self.save_dir}: none of its checkpoints can be read ({names}); start without"
                " --resume, or in another OUTPUT_DIR"
            )
        return ""

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Continue from the newest checkpoint of the folder, or load the weights of ``path``.

        Returns:
            The entries of the checkpoint that no checkpointable took, such as ``iteration``; in
            resuming also ``average``, the moving average, where the trainer has no hook for it and
            the weights of training were loaded.

        Raises:
            InputError: no checkpoint can be read, it lacks the state of training, or the processes
                find different checkpoints; all processes raise.
        """
        file = self._agreed_file() if resume else ""
        if file:
            return self.load(file, resuming=True)
        if resume:
            logger.warning("%s has no checkpoint: a new run starts", self.save_dir)
        return self.load(path, checkpointables=[])

    def load(
        self, path: str, checkpointables: list[str] | None = None, *, resuming: bool = False
    ) -> dict[str, Any]:
        """Load weights, and the checkpointables that the file holds.

        Args:
            path: file or address; ``?matching_heuristics=True`` at its end matches names by their
                ends. Empty: nothing is loaded.
            checkpointables: names of those to load; default all.
            resuming: refuse a file that lacks one of them, or that is of another model.

        Raises:
            InputError: there is no such file; it is damaged, asks for code to be run, or no weight
                fits the model.
        """
        if not path:
            logger.info("No weights to load: the model keeps its initial values")
            return {}
        names = list(self.checkpointables) if checkpointables is None else checkpointables
        logger.info("Loading %s", path)
        checkpoint = self._load_file(str(path))
        missing = [name for name in names if name not in checkpoint]
        if resuming and missing:
            raise InputError(
                f"{path}: holds no {' and no '.join(missing)}, only weights; to start a new run"
                f" from it omit --resume and set MODEL.WEIGHTS {path}"
            )
        own = {name: self.checkpointables[name].state_dict() for name in names} if resuming else {}
        if (average := _average(checkpoint)) and "trainer" in own and not _average(own):
            checkpoint["average"] = checkpoint["model"]
            checkpoint["model"] = average["train_model"]
        changes = config_changes(checkpoint.get("config", ""), self.config) if resuming else {}
        report = self._load_model(checkpoint, str(path), fine_tune=not resuming)
        if resuming and names:
            _check_same_model(report, changes)
            report_changes(str(path), changes)
        for name in names:
            if resuming:
                check_optimizer(path, checkpoint[name], own[name])
            if name in checkpoint:
                self.checkpointables[name].load_state_dict(checkpoint.pop(name))
        return checkpoint

    def _load_file(self, filename: str) -> dict[str, Any]:
        address, _, query = filename.partition("?")
        if query not in ("", f"{HEURISTICS}=True"):
            raise InputError(f"{filename}: {query!r} is unknown; use {HEURISTICS}=True")
        checkpoint = read_checkpoint(resolve_weights(address, self.zoo_dir))
        return {**checkpoint, HEURISTICS: True} if query else checkpoint

    def _load_model(
        self, checkpoint: dict[str, Any], source: str = "checkpoint", *, fine_tune: bool = True
    ) -> LoadReport:
        state = self.model.state_dict()
        weights = match_names(source, checkpoint, state)
        if fine_tune and self.backbone_weights:
            weights = {n: v for n, v in weights.items() if not is_below(n, BOTTOM_UP)}
            weights |= self._backbone(state)
            source = f"{source}, {BOTTOM_UP} of {self.backbone_weights}"
        weights = fit_input_layers(weights, state)
        report = compare_weights(source, weights, state, self.exclude if fine_tune else ())
        if fine_tune and self.report_dir and comm.is_main_process():
            write_text(Path(self.report_dir, REPORT), report.text())
        report.check_matched()
        _check_finite(source, {name: weights[name] for name in report.matched})
        logger.info("Loaded %s", report.short_text())
        self.model.load_state_dict({name: weights[name] for name in report.matched}, strict=False)
        del checkpoint["model"]
        self.report = report
        return report

    def _backbone(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        source = self.backbone_weights
        weights = match_names(source, self._load_file(source), state)
        weights = {name: v for name, v in weights.items() if is_below(name, BOTTOM_UP)}
        compare_weights(source, weights, state).check_matched()
        return weights

    def _agreed_file(self) -> str:
        """The checkpoint to resume from, the same in all processes."""
        path, problem = "", ""
        try:
            path = self.get_checkpoint_file()
        except ValueError as error:
            problem = str(error)
        found = (Path(path).name, _fingerprint(Path(path))) if path else ("no checkpoint", 0)
        answers = comm.all_gather((found, problem))
        for rank, (theirs, problem) in enumerate(answers):
            if problem:
                raise InputError(problem)
            if theirs != answers[0][0]:
                raise InputError(
                    f"{self.save_dir}: process 0 finds {answers[0][0][0]} to resume from, process"
                    f" {rank} finds {theirs[0]}{' of other content' * (theirs[1] != 0)}; put"
                    " OUTPUT_DIR on a disk that all machines share, or copy the folder of process"
                    " 0 to all"
                )
        return path


def load_for_inference(
    cfg: CfgNode, model: nn.Module, weights: str, report_dir: str | os.PathLike[str] = ""
) -> LoadReport:
    """Fill a model from MODEL.WEIGHTS or another file, completely.

    With MODEL.ALLOW_RANDOM_HEAD parts of it may keep their initial values.

    Raises:
        InputError: the file cannot be had; the weights do not fill the model.
    """
    checkpointer = SafeCheckpointer(model, zoo_dir=cfg.MODEL.ZOO_DIR, report_dir=report_dir)
    checkpointer.load(weights)
    assert checkpointer.report is not None
    if not cfg.MODEL.ALLOW_RANDOM_HEAD:
        checkpointer.report.check_complete()
    return checkpointer.report


def _average(checkpoint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """State of the moving average of weights, of which ``model`` holds the average itself."""
    return checkpoint.get("trainer", {}).get("hooks", {}).get(AVERAGE)


def check_optimizer(path: str, saved: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse the state of another kind of optimizer, which torch takes.

    ``saved`` and ``own`` are states of detectron2's trainers: that of the checkpoint, and that of
    the trainer which is to continue.
    """
    kinds = []
    for state in (saved, own):
        groups = state.get("_trainer", {}).get("optimizer", {}).get("param_groups", [])
        kinds.append("AdamW" if any("betas" in group for group in groups) else "SGD")
    if kinds[0] != kinds[1]:
        raise InputError(
            f"{path}: holds the state of {kinds[0]}, the config asks for {kinds[1]}; resume with"
            " the SOLVER.OPTIMIZER of the run, or omit --resume"
        )


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a dictionary of tensors and plain values with torch.save, in full or not at all."""
    with atomic(path, durable=True) as part:
        torch.save(dict(content), part)


def _fingerprint(path: Path) -> int:
    """A number that differs between checkpoints of different content."""
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return hash(tuple(entry.CRC for entry in archive.infolist()))


def find_checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """Checkpoints of a run, damaged or not: the tagged one, then the others, newest first."""
    folder = Path(folder)
    found = [
        path for path in folder.glob("model_*.pth") if re.search("_(final|[0-9]+)$", path.stem)
    ]
    found.sort(key=_iteration, reverse=True)
    if (folder / LAST).is_file():
        tagged = folder / (folder / LAST).read_text(encoding="utf-8").strip()
        found = [tagged, *(path for path in found if path != tagged)]
    return found


def _iteration(path: Path) -> float:
    """Place of a checkpoint in its run; the end of a run may be the middle of its continuation."""
    if path.name != "model_final.pth":
        return int(path.stem.removeprefix("model_"))
    try:
        return torch.load(path, mmap=True, weights_only=True)["iteration"] + 0.5
    except Exception:  # damaged, which is found out when it is its turn; or of another program
        return math.inf


def _check_same_model(report: LoadReport, changes: Mapping[str, str]) -> None:
    """Refuse to resume with a model of other weights than that of the run."""
    strange = [name for name in report.left_over if not name.endswith(NEVER_MISSED)]
    if report.untouched or strange:
        keys = [f"{key} was {text}" for key, text in changes.items() if key.startswith("MODEL.")]
        raise InputError(
            f"{report.source}: is of another model than the config:"
            f" {modules_of([*report.untouched, *strange])} differ."
            f" {'; '.join(keys) or 'Its config is not known'}. Resume with the MODEL of the run, or"
            " omit --resume and name the file in MODEL.WEIGHTS"
        )


def _check_finite(source: str, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights of a training that diverged, or of a damaged file."""
    bad = [n for n, v in weights.items() if v.is_floating_point() and not v.isfinite().all()]
    if bad:
        raise InputError(
            f"{source}: {len(bad)} weights hold NaN or infinite values: {modules_of(bad)}; the file"
            " is damaged, or its training diverged: take an older checkpoint"
        )
