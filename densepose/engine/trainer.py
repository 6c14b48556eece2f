"""The training loop."""

from __future__ import annotations

import contextlib
import logging
import time
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from detectron2.config import CfgNode
from detectron2.engine import TrainerBase, hooks
from detectron2.utils import comm
from detectron2.utils.events import EventStorage, JSONWriter, TensorboardXWriter

from .best import BestCheckpoint
from .bootstrap import build_training_batches
from .checkpoint import SafeCheckpointer
from .clock import TrainingClock
from .ema import WeightAverage
from .evaluation import evaluate
from .hooks import AverageHook, CheckpointHook, EvaluationHook, InterruptHook, continue_metrics
from .model import build_run_model
from .nonfinite import nonfinite_message, write_snapshot
from .prepare import seed_process
from .progress import ProgressHook
from .solver import build_optimizer, build_scheduler
from .step import Batch, OptimizationStep, parallel

logger = logging.getLogger(__name__)


class Trainer(TrainerBase):
    """Model, optimizer, data and hooks of one run, built from a config.

    ``Trainer(cfg)``, then ``resume_or_load()``, then ``train()``. In several processes the
    gradients are averaged over the processes (DistributedDataParallel), and a logged loss is the
    mean of the processes' losses.
    """

    def __init__(
        self,
        cfg: CfgNode,
        *,
        model: nn.Module | None = None,
        data_loader: Iterable[Batch] | None = None,
    ) -> None:
        """Args: ``model`` and ``data_loader`` replace the ones the config describes."""
        super().__init__()
        self.output_dir = Path(cfg.OUTPUT_DIR)
        self.config_text = cfg.dump()
        self.bare_model = build_run_model(cfg) if model is None else model
        self.optimizer = build_optimizer(cfg, self.bare_model)
        self.model = parallel(self.bare_model)
        self.model.train()
        self.step = OptimizationStep.from_config(cfg, self.model, self.optimizer)
        self.skips_left = cfg.SOLVER.SKIP_NONFINITE_STEPS
        ema = cfg.SOLVER.EMA
        self.average = WeightAverage(self.bare_model, ema.DECAY) if ema.ENABLED else None
        self.clock = TrainingClock(60 * cfg.SOLVER.MAX_MINUTES)
        self.scheduler = build_scheduler(cfg, self.optimizer, self.clock.share_used)
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.checkpointer = SafeCheckpointer.from_config(
            cfg, self.bare_model, trainer=weakref.proxy(self)
        )
        self._data_loader = data_loader
        self._cfg = cfg  # for the pieces that are built when the run starts
        self.register_hooks([self.clock, hooks.IterationTimer(), hooks.LRScheduler()])
        if self.average is not None:
            self.register_hooks([AverageHook(self.average, self.bare_model)])

    def resume_or_load(self, *, resume: bool) -> None:
        """Continue from the last valid checkpoint of OUTPUT_DIR, or load MODEL.WEIGHTS.

        Raises:
            ValueError: the weights do not fit at all, or all checkpoints are damaged.
            FileNotFoundError: MODEL.WEIGHTS does not exist.
        """
        extra = self.checkpointer.resume_or_load(self._cfg.MODEL.WEIGHTS, resume=resume)
        if resume and self.checkpointer.has_checkpoint():
            self.start_iter = self.iter = self.iter + 1
        if self.average is not None:
            average = extra.get("average", self.bare_model.state_dict())
            self.average.load(average, extra.get("average_updates", 0))

    def train(self) -> Mapping[str, Any]:
        """Run to ``max_iter`` or the time limit; returns the results of the last evaluation."""
        self._prepare_run()
        with EventStorage(self.start_iter) as self.storage:
            try:
                self.before_train()
                self.iter = self.start_iter
                while self.iter < self.max_iter:
                    self.before_step()
                    self.run_step()
                    self.after_step()
                    self.iter += 1
            except BaseException:
                self._close()
                raise
            self.after_train()
        return self.evaluation.results

    def run_step(self) -> None:
        """One batch: losses, gradients, update of the weights.

        Raises:
            FloatingPointError: a loss or a gradient is NaN or infinite, and no step may be skipped
                any more.
        """
        start = time.perf_counter()
        batch = next(self._batches)
        data_time = time.perf_counter() - start
        outcome = self.step(batch)
        if outcome.updated:
            self.storage.put_scalars(
                total_loss=outcome.total_loss, data_time=data_time, **outcome.mean
            )
        else:
            self._skip_or_stop(batch, outcome.own)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the weights that resuming needs: tensors and plain values."""
        own = {"skips_left": self.skips_left}
        return {**super().state_dict(), "_trainer": self.step.state_dict(), **own}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``."""
        super().load_state_dict(state_dict)
        self.step.load_state_dict(state_dict["_trainer"])
        self.skips_left = state_dict.get("skips_left", self.skips_left)

    def weights_checkpoint(self) -> dict[str, Any]:
        """The weights to use (their average where there is one), without what resuming needs."""
        model = self.bare_model.state_dict() if self.average is None else self.average.average
        return {"model": model, "iteration": self.iter, "config": self.config_text}

    def full_checkpoint(self) -> dict[str, Any]:
        """Everything that resuming needs."""
        content = {**self.weights_checkpoint(), "trainer": self.state_dict()}
        if self.average is not None:
            content["train_model"] = self.bare_model.state_dict()
            content["average_updates"] = self.average.updates
        return content

    def _prepare_run(self) -> None:
        """Build what depends on where the run starts: order of the data, curves, best so far."""
        cfg = self._cfg
        if self.start_iter >= self.max_iter:
            logger.info(
                "The run is complete after %d iterations: nothing is left to train", self.max_iter
            )
        if self.start_iter:
            seed_process(cfg, start_iter=self.start_iter)
        loader = build_training_batches(cfg) if self._data_loader is None else self._data_loader
        self._batches = iter(loader)
        self.evaluation = EvaluationHook(
            self._evaluate,
            period=cfg.TEST.EVAL_PERIOD,
            best=BestCheckpoint(self.output_dir, cfg.TEST.BEST_METRIC, start_iter=self.start_iter),
            weights=self.weights_checkpoint,
        )
        checkpoints = CheckpointHook(
            self.output_dir,
            self.full_checkpoint,
            period=cfg.SOLVER.CHECKPOINT_PERIOD,
            keep=cfg.SOLVER.CHECKPOINTS_TO_KEEP,
        )
        progress = ProgressHook(
            images_per_step=cfg.SOLVER.IMS_PER_BATCH,
            period=cfg.LOG_PERIOD,
            time_left=self.clock.seconds_left,
        )
        interrupt = InterruptHook(checkpoints)
        self.register_hooks([checkpoints, interrupt, progress, self.evaluation])
        self._closing = [interrupt, progress]
        if comm.is_main_process():
            self.output_dir.mkdir(parents=True, exist_ok=True)
            curves = self.output_dir / "metrics.json"
            continue_metrics(curves, self.start_iter)
            board = TensorboardXWriter(
                str(self.output_dir), purge_step=self.start_iter + 1 if self.start_iter else None
            )
            writer = hooks.PeriodicWriter([JSONWriter(str(curves)), board], period=cfg.LOG_PERIOD)
            self.register_hooks([writer])
            self._closing.append(writer)

    def _evaluate(self) -> Mapping[str, Any]:
        averaged = (
            contextlib.nullcontext()
            if self.average is None
            else self.average.applied(self.bare_model)
        )
        with averaged:
            iteration = min(self.iter + 1, self.max_iter)
            ended = self.iter >= self.max_iter
            return evaluate(self._cfg, self.bare_model, iteration=iteration, brief=not ended)

    def _close(self) -> None:
        """After an error: take the bar away and close the files, without evaluating."""
        for hook in self._closing:
            hook.after_train()

    def _skip_or_stop(self, batch: Batch, values: Mapping[str, float]) -> None:
        message = nonfinite_message(self.iter, values, batch)
        rate = self.optimizer.param_groups[0]["lr"]
        path = write_snapshot(
            self.output_dir, self.iter, values, batch, rate=rate, config=self.config_text
        )
        if self.skips_left <= 0:
            raise FloatingPointError(
                f"{message}. Details: {path}. A lower SOLVER.BASE_LR, a longer"
                " SOLVER.WARMUP_ITERS or SOLVER.CLIP_GRADIENTS.ENABLED True usually helps;"
                " SOLVER.SKIP_NONFINITE_STEPS N allows N such steps"
            )
        self.skips_left -= 1
        logger.warning(
            "Step skipped, %d more may be: %s. Details: %s", self.skips_left, message, path
        )
