"""What happens between training steps: weight average, checkpoints, evaluation, curves."""

from __future__ import annotations

import json
import logging
import math
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from detectron2.engine import HookBase
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm

from .best import BestCheckpoint
from .checkpoint import LAST, save_checkpoint, write_text
from .ema import WeightAverage

logger = logging.getLogger(__name__)


class AverageHook(HookBase):
    """Updates the moving average of the weights after every step."""

    def __init__(self, average: WeightAverage, model: nn.Module) -> None:
        self.average = average
        self.model = model

    def after_step(self) -> None:
        """Follow the weights."""
        self.average.update(self.model)


class CheckpointHook(HookBase):
    """Saves a full checkpoint every ``period`` iterations and at the end (``model_final.pth``)."""

    def __init__(
        self, folder: Path, content: Callable[[], dict[str, Any]], *, period: int, keep: int
    ) -> None:
        """Args: ``content`` builds what is saved; ``keep`` periodic ones stay, 0 keeps all."""
        self.folder = folder
        self.content = content
        self.period = period
        self.keep = keep

    def after_step(self) -> None:
        """Save when it is time."""
        done = self.trainer.iter + 1
        last = done >= self.trainer.max_iter
        if last or (self.period and done % self.period == 0):
            self.save(last=last)

    def save(self, *, last: bool = False) -> None:
        """Save now, under the number of the iteration or as the final one."""
        content = self.content()
        if not comm.is_main_process():
            return
        path = self.folder / ("model_final.pth" if last else f"model_{self.trainer.iter:07d}.pth")
        save_checkpoint(path, content)
        write_text(path.with_name(LAST), path.name)
        logger.info("Saved %s", path)
        self._remove_old()

    def _remove_old(self) -> None:
        ours = [
            path
            for path in sorted(self.folder.glob("model_[0-9]*.pth"), reverse=True)
            if int(path.stem.removeprefix("model_")) <= self.trainer.iter
        ]
        for path in ours[self.keep :] if self.keep else []:
            path.unlink()


class InterruptHook(HookBase):
    """Ends a run in good order on Ctrl-C or SIGTERM: after the step, with a checkpoint.

    A second signal ends it at once. Several processes would stop at different steps, so there
    signals keep their usual meaning.
    """

    def __init__(self, checkpoints: CheckpointHook) -> None:
        self.checkpoints = checkpoints
        self._signal: int | None = None
        self._usual: dict[int, Any] = {}

    def before_train(self) -> None:
        """Listen, where this is possible."""
        if comm.get_world_size() > 1 or threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._usual[number] = signal.signal(number, self._remember)

    def after_step(self) -> None:
        """Save and stop if a signal came.

        Raises:
            KeyboardInterrupt: it did.
        """
        if self._signal is not None and self.trainer.iter + 1 < self.trainer.max_iter:
            self.checkpoints.save()
            raise KeyboardInterrupt(f"stopped by {signal.Signals(self._signal).name}")

    def after_train(self) -> None:
        """Listen no more."""
        for number, handler in self._usual.items():
            signal.signal(number, handler)
        self._usual = {}

    def _remember(self, number: int, frame: object) -> None:
        logger.warning("Stopping after this step; once more stops at once")
        self._signal = number
        for usual in (signal.SIGINT, signal.SIGTERM):
            signal.signal(usual, self._usual[usual])


class EvaluationHook(HookBase):
    """Evaluates every ``period`` iterations and after the last one, and keeps the best weights.

    The metrics go into the storage, from where they reach the curves.
    """

    def __init__(
        self,
        evaluate: Callable[[], Mapping[str, Any]],
        *,
        period: int,
        best: BestCheckpoint,
        weights: Callable[[], dict[str, Any]],
    ) -> None:
        """Args: ``weights`` builds the best checkpoint; ``period`` 0: at the end only."""
        self.evaluate = evaluate
        self.period = period
        self.best = best
        self.weights = weights
        self.results: Mapping[str, Any] = {}

    def after_step(self) -> None:
        """Evaluate when it is time; the last evaluation is left to ``after_train``."""
        done = self.trainer.iter + 1
        if self.period and done % self.period == 0 and done < self.trainer.max_iter:
            self._evaluate(done)

    def after_train(self) -> None:
        """Evaluate the final weights."""
        self._evaluate(self.trainer.max_iter)

    def _evaluate(self, iteration: int) -> None:
        self.results = self.evaluate()
        if not self.results:
            return
        metrics = {name: float(value) for name, value in flatten_results_dict(self.results).items()}
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self.trainer.storage.put_scalars(**finite, smoothing_hint=False)  # NaN is not JSON
        if comm.is_main_process():
            self.best.offer(metrics, iteration, self.weights)


def continue_metrics(path: Path, start_iter: int) -> None:
    """Prepare ``metrics.json`` for a run that starts or resumes at ``start_iter``.

    Resuming takes out the lines written after the checkpoint, so that no iteration is there twice.
    A new run sets the file of an old one aside under ``metrics.old.json``. Half a line at the end
    (a killed run) is taken out too.
    """
    if not path.is_file():
        return
    if start_iter == 0:
        path.replace(path.with_name("metrics.old.json"))
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        # The evaluation at the end of n steps is noted at n, a step at its own number from 0.
        if record["iteration"] < start_iter + ("total_loss" not in record):
            kept.append(line + "\n")
    write_text(path, "".join(kept))
