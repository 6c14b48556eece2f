"""What happens between training steps, beside detectron2's own hooks."""

from __future__ import annotations

import json
import logging
import math
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timm.utils import ModelEmaV3
from torch import nn

from detectron2.engine import HookBase, hooks
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm

from densepose.files import refusals_named, to_json, write_text

from .checkpoint import SafeCheckpointer, save_checkpoint
from .resume import remove_half_files, set_aside

logger = logging.getLogger(__name__)

# Where the wanted metric is missing, not a number, or the same for two checkpoints (an AP of 0
# early in training), these decide, in this order. Higher is better for all of them.
FALLBACKS = ("densepose_gpsm/AP", "densepose_points/mean_gps", "bbox/AP")


class TrainingClock(HookBase):
    """Counts the seconds spent in training steps and ends the run when they reach a limit.

    Loading of data is included, evaluation and saving are not. With a limit the run ends with the
    step that follows. The time is saved and continued by ``--resume``. It is that of the slowest
    process, so that all end with the same step.
    """

    def __init__(self, limit_seconds: float = 0.0) -> None:
        """Args: ``limit_seconds`` 0 is no limit."""
        self.limit_seconds = limit_seconds
        self.seconds = 0.0  # the same in all processes
        self._own_seconds = 0.0
        self._step_start = 0.0

    def fraction_used(self) -> float:
        """Fraction of the limit that is used, in [0, inf); 0 without a limit."""
        return self.seconds / self.limit_seconds if self.limit_seconds else 0.0

    def seconds_left(self) -> float:
        """Seconds until the limit, infinite without one."""
        return max(0.0, self.limit_seconds - self.seconds) if self.limit_seconds else math.inf

    def before_step(self) -> None:
        self._step_start = time.perf_counter()
        self.trainer.steps.own["seconds"] = self._own_seconds

    def after_step(self) -> None:
        self._own_seconds += time.perf_counter() - self._step_start
        self.seconds = self.trainer.steps.agreed["seconds"]
        done = self.trainer.iter + 1
        if self.fraction_used() >= 1 and done < self.trainer.max_iter:
            minutes = self.seconds / 60
            logger.info("SOLVER.MAX_MINUTES reached after %.1f minutes: the run ends", minutes)
            self.trainer.max_iter = done

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self._own_seconds}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self.seconds = self._own_seconds = float(state["seconds"])


class WeightAverage(HookBase):
    """Exponential moving average of the weights and buffers, updated after every step.

    ``average.module`` is the model that is evaluated and saved; the weights that training goes on
    with are part of the hook's state. The decay is timm's: 0 at the first step, then ramped up, so
    that the random start is forgotten in a short run too.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.average = ModelEmaV3(model, decay=decay, use_warmup=True)
        self.updates = 0

    def after_step(self) -> None:
        self.updates += 1
        self.average.update(self.model, step=self.updates)

    def restart(self) -> None:
        """Train on from the weights of the average, after they were loaded from a file."""
        self.model.load_state_dict(self.average.module.state_dict())
        self.updates = 0

    def state_dict(self) -> dict[str, Any]:
        return {"train_model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue an average whose own weights were loaded already."""
        self.model.load_state_dict(state["train_model"])
        self.updates = int(state["updates"])


class Checkpoints(hooks.PeriodicCheckpointer):
    """detectron2's PeriodicCheckpointer that knows earlier files and an end before MAX_ITER."""

    def before_train(self) -> None:
        """Find the periodic checkpoints of the part of the run that is continued."""
        folder = Path(self.checkpointer.save_dir)
        remove_half_files(folder)
        if self.trainer.start_iter == 0:
            set_aside(folder)
        start, numbered = self.trainer.start_iter, "model_" + "[0-9]" * 7 + ".pth"
        found = [p for p in folder.glob(numbered) if int(p.stem[len("model_") :]) < start]
        # The newest only: older ones were kept on purpose.
        self.recent_checkpoints = [str(p) for p in sorted(found)[-(self.max_to_keep or 0) :]]

    def after_step(self) -> None:
        self.max_iter = self.trainer.max_iter
        self.trainer.complete = self.trainer.iter
        super().after_step()


class StopOnSignal(HookBase):
    """Ends a run in good order on Ctrl-C or SIGTERM: after the step, with a checkpoint.

    A signal to any process stops all of them with the same step. A second Ctrl-C ends the run at
    once.
    """

    def __init__(self, checkpointer: SafeCheckpointer) -> None:
        self.checkpointer = checkpointer
        self._signal = 0
        self._usual: dict[int, Any] = {}

    def before_train(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._usual[number] = signal.signal(number, self._remember)

    def before_step(self) -> None:
        self.trainer.steps.own["signal"] = self._signal

    def after_step(self) -> None:
        number = int(self.trainer.steps.agreed["signal"])
        done = self.trainer.iter + 1
        if not number or done >= self.trainer.max_iter:
            return
        name = f"model_{self.trainer.iter:07d}"
        self.checkpointer.save(name, iteration=self.trainer.iter)
        comm.synchronize()  # nobody leaves, and so ends the others, before the file is complete
        raise KeyboardInterrupt(
            f"stopped by {signal.Signals(number).name} after {done} iterations, saved {name}.pth"
        )

    def after_train(self) -> None:
        if comm.get_world_size() == 1:  # one of several must not be hit while it ends
            for number, usual in self._usual.items():
                signal.signal(number, usual)

    def _remember(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT and self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number


class BestCheckpoint(hooks.BestCheckpointer):
    """Keeps the weights with the highest score and its metrics: ``model_best.pth`` and ``.json``.

    Unlike detectron2's it continues from the best so far where a run is resumed, keeps weights
    alone, finds a metric below the names of data sets, and ranks by FALLBACKS.
    """

    def __init__(self, eval_period: int, checkpointer: SafeCheckpointer, metric: str) -> None:
        super().__init__(eval_period, checkpointer, metric)
        self.folder = Path(checkpointer.save_dir)
        self.ranking = tuple(dict.fromkeys((metric, *FALLBACKS)))
        self.best: tuple[float, ...] | None = None
        self._warned = False

    def before_train(self) -> None:
        """Continue from ``model_best.json`` where it was written before the run starts."""
        record, start = self.folder / "model_best.json", self.trainer.start_iter
        if start and record.is_file():
            saved = json.loads(record.read_text(encoding="utf-8"))
            if saved["iteration"] <= start:
                self.best = self.score(saved["metrics"])

    def score(self, metrics: Mapping[str, float | None]) -> tuple[float, ...]:
        """The values that two checkpoints are compared by, one after the other."""
        values = (find_metric(metrics, name) for name in self.ranking)
        return tuple(-math.inf if value is None else value for value in values)

    def _best_checking(self) -> None:
        metrics = flatten_results_dict(self.trainer.results)
        if not (metrics and comm.is_main_process()):
            return
        score = self.score(metrics)
        found = {n: v for n, v in zip(self.ranking, score, strict=True) if math.isfinite(v)}
        ranked_by = next(iter(found), None)
        if ranked_by != self.ranking[0] and not self._warned:
            self._warned = True
            finite = sorted(name for name, value in metrics.items() if math.isfinite(value))
            logger.warning(
                "TEST.BEST_METRIC %r is missing or not a number; %s. The results have: %s",
                self.ranking[0],
                f"ranked by {ranked_by} instead" if found else "no best checkpoint is kept",
                ", ".join(finite[:20]) or "nothing finite",
            )
        if not found or (self.best is not None and score <= self.best):
            return
        self.best = score
        done = min(self.trainer.iter + 1, self.trainer.max_iter)
        path = self.folder / "model_best.pth"
        model = self._checkpointer.model.state_dict()
        save_checkpoint(path, {"model": model, "iteration": done - 1})
        record = {"iteration": done, "ranked_by": ranked_by, "metrics": metrics}
        write_text(path.with_suffix(".json"), to_json(record) + "\n")
        scores = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        logger.info("Best so far, after %d iterations: %s; saved %s", done, scores, path)


def find_metric(metrics: Mapping[str, float | None], name: str) -> float | None:
    """A metric by its name, with or without the data set in front.

    Returns:
        Its value, the mean where several data sets have it; None where it is missing or not
        a finite number.
    """
    found = [value for key, value in metrics.items() if key == name or key.endswith(f"/{name}")]
    if not found or any(value is None or not math.isfinite(value) for value in found):
        return None
    return sum(found) / len(found)


class RunWriter(hooks.PeriodicWriter):
    """PeriodicWriter that builds its writers when the run starts and it is known from where."""

    def __init__(self, period: int) -> None:
        super().__init__([], period)

    def before_train(self) -> None:
        self._writers: Sequence[Any] = self.trainer.build_writers()

    def after_step(self) -> None:
        with refusals_named(self.trainer.cfg.OUTPUT_DIR):
            super().after_step()

    def after_train(self) -> None:
        with refusals_named(self.trainer.cfg.OUTPUT_DIR):
            super().after_train()


def continue_metrics(path: Path, start_iter: int) -> None:
    """Prepare ``metrics.json`` for a run that resumes at ``start_iter``.

    The lines written after the checkpoint are removed, so that no iteration is there twice. Half a
    line at the end (a killed run) is removed too.
    """
    if not path.is_file():
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
