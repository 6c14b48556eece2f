"""The training loop."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from detectron2.config import CfgNode
from detectron2.engine import TrainerBase, hooks
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage, JSONWriter, TensorboardXWriter

from .best import BestCheckpoint
from .checkpoint import find_last_valid, load_weights
from .clock import TrainingClock
from .ema import WeightAverage
from .evaluation import evaluate
from .hooks import AverageHook, CheckpointHook, EvaluationHook, continue_metrics
from .loaders import build_train_loader
from .nonfinite import nonfinite_message, nonfinite_names, write_snapshot
from .progress import ProgressHook
from .solver import build_clipper, build_optimizer, build_scheduler
from .weights_file import WeightsFile, read_weights

logger = logging.getLogger(__name__)

Batch = Sequence[Mapping[str, Any]]


class Trainer(TrainerBase):
    """Model, optimizer, data and hooks of one run, built from a config.

    ``Trainer(cfg)``, then ``resume_or_load()``, then ``train()``. In several processes the gradients are averaged over
    the processes (DistributedDataParallel), and a logged loss is the mean of the processes' losses.
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
        self.bare_model = build_model(cfg) if model is None else model
        self.optimizer = build_optimizer(cfg, self.bare_model)
        self.clip = build_clipper(cfg)
        self.precision = _precision(cfg)
        self.scaler = torch.amp.GradScaler(enabled=self.precision == torch.float16)
        self.skips_left = cfg.SOLVER.SKIP_NONFINITE_STEPS
        ema = cfg.SOLVER.EMA
        self.average = WeightAverage(self.bare_model, ema.DECAY) if ema.ENABLED else None
        self.clock = TrainingClock(60 * cfg.SOLVER.MAX_MINUTES)
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.start_iter = 0
        self.model = _parallel(self.bare_model)
        self.model.train()
        self._data_loader = data_loader
        self._cfg = cfg  # for the pieces that are built when the run starts

    def resume_or_load(self, *, resume: bool) -> None:
        """Continue from the last valid checkpoint of OUTPUT_DIR, or load MODEL.WEIGHTS.

        Raises:
            ValueError: the weights do not fit at all, or all checkpoints are damaged.
            FileNotFoundError: MODEL.WEIGHTS does not exist.
        """
        self._register_hooks()
        file = find_last_valid(self.output_dir) if resume else None
        if file is not None and "trainer" in file.extra:
            self._resume(file)
        elif self._cfg.MODEL.WEIGHTS:
            if resume:
                logger.info("Nothing to resume in %s: a new run starts", self.output_dir)
            file = read_weights(self._cfg.MODEL.WEIGHTS)
            load_weights(self.bare_model, file, report_dir=self.output_dir)
            self._restart_average()

    def train(self) -> Mapping[str, Any]:
        """Run from ``start_iter`` to ``max_iter`` or the time limit; returns the last evaluation's results."""
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
            FloatingPointError: a loss or a gradient is NaN or infinite, and no step may be skipped any more.
        """
        start = time.perf_counter()
        batch = next(self._batches)
        data_time = time.perf_counter() - start
        with self._autocast():
            losses = self.model(batch)
            total = sum(losses.values())
        self.optimizer.zero_grad()
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.bare_model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        own, mean = _read(losses, norm)
        # With fp16 the scaler looks after gradients that overflow, by skipping the step and scaling less.
        watched = {
            k: v for k, v in mean.items() if k != "grad_norm" or not self.scaler.is_enabled()
        }
        if nonfinite_names(watched):
            self._skip_or_stop(batch, own)
            return
        if self.clip is not None:
            self.clip(list(self.bare_model.parameters()))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.storage.put_scalars(
            total_loss=sum(v for k, v in mean.items() if k != "grad_norm"),
            data_time=data_time,
            **mean,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything but the weights that resuming needs: tensors and plain values."""
        return {
            **super().state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "grad_scaler": self.scaler.state_dict(),
            "skips_left": self.skips_left,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``."""
        super().load_state_dict(state_dict)
        self.optimizer.load_state_dict(state_dict["optimizer"])
        if state_dict.get("grad_scaler"):
            self.scaler.load_state_dict(state_dict["grad_scaler"])
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

    def _resume(self, file: WeightsFile) -> None:
        logger.info("Resuming from %s", file.path)
        own = file.extra.get("train_model", file.weights)
        load_weights(
            self.bare_model, WeightsFile(file.path, own, name_matching="exact"), report_dir=None
        )
        self.load_state_dict(file.extra["trainer"])
        self.start_iter = self.iter = file.extra["iteration"] + 1
        if self.average is not None and "train_model" in file.extra:
            self.average.load(file.weights, file.extra["average_updates"])
        else:
            self._restart_average()

    def _restart_average(self) -> None:
        if self.average is not None:
            self.average.load(self.bare_model.state_dict(), 0)

    def _register_hooks(self) -> None:
        cfg = self._cfg
        self.scheduler = build_scheduler(cfg, self.optimizer, self.clock.share_used)
        self.register_hooks([self.clock, hooks.IterationTimer(), hooks.LRScheduler()])
        if self.average is not None:
            self.register_hooks([AverageHook(self.average, self.bare_model)])

    def _prepare_run(self) -> None:
        """Build what depends on where the run starts: the data order, the curves, the best so far."""
        cfg = self._cfg
        if not self._hooks:
            self._register_hooks()
        if self.start_iter >= self.max_iter:
            logger.info(
                "The run is complete after %d iterations: nothing is left to train", self.max_iter
            )
        loader = build_train_loader(cfg) if self._data_loader is None else self._data_loader
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
        self.register_hooks([checkpoints, progress, self.evaluation])
        self._closing = [progress]
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
            return evaluate(self._cfg, self.bare_model, iteration=self.iter)

    def _close(self) -> None:
        """After an error: take the bar away and close the files, without evaluating."""
        for hook in self._closing:
            hook.after_train()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision is None:
            return contextlib.nullcontext()
        return torch.autocast(self.bare_model.device.type, dtype=self.precision)

    def _skip_or_stop(self, batch: Batch, values: Mapping[str, float]) -> None:
        message = nonfinite_message(self.iter, values, batch)
        rate = self.optimizer.param_groups[0]["lr"]
        path = write_snapshot(
            self.output_dir, self.iter, values, batch, rate=rate, config=self.config_text
        )
        if self.skips_left <= 0:
            raise FloatingPointError(
                f"{message}. Details: {path}. A lower SOLVER.BASE_LR, a longer SOLVER.WARMUP_ITERS or"
                " SOLVER.CLIP_GRADIENTS.ENABLED True usually helps; SOLVER.SKIP_NONFINITE_STEPS N allows N such steps"
            )
        self.skips_left -= 1
        self.optimizer.zero_grad()
        # The scaler must see an update after each unscale_.
        self.scaler.update(self.scaler.get_scale() / 2 if self.scaler.is_enabled() else None)
        logger.warning(
            "Step skipped, %d more may be: %s. Details: %s", self.skips_left, message, path
        )


def _precision(cfg: CfgNode) -> torch.dtype | None:
    """The type that matrix products are computed in: None is float32."""
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    return torch.float16 if cfg.MODEL.DEVICE.startswith("cuda") else torch.bfloat16


def _parallel(model: nn.Module) -> nn.Module:
    if comm.get_world_size() == 1:
        return model
    device = next(model.parameters()).device
    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)


def _read(losses: Mapping[str, Tensor], norm: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """Values of the losses and the norm of the gradients in this process, and their means over all processes.

    The one place of a step that waits for the device.
    """
    names = [*sorted(losses), "grad_norm"]
    values = torch.stack([losses[name].detach().float() for name in names[:-1]] + [norm.float()])
    mean = values
    if comm.get_world_size() > 1:
        mean = values.clone()
        distributed.all_reduce(mean)
        mean /= comm.get_world_size()
    own = dict(zip(names, values.tolist(), strict=True))
    return own, dict(zip(names, mean.tolist(), strict=True))
