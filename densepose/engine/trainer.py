"""The training loop: detectron2's DefaultTrainer with what it lacks."""

from __future__ import annotations

import inspect
import logging
import math
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from fvcore.nn.precise_bn import get_bn_modules
from torch import nn
from torch.utils.data import DataLoader

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, hooks
from detectron2.evaluation import DatasetEvaluator, verify_results
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.solver import LRMultiplier
from detectron2.utils import comm
from detectron2.utils.events import (
    CommonMetricPrinter,
    EventStorage,
    EventWriter,
    JSONWriter,
    TensorboardXWriter,
)

from densepose.files import held

from .bootstrap import build_training_batches
from .checkpoint import SafeCheckpointer
from .evaluation import build_evaluator, evaluate
from .hooks import (
    BestCheckpoint,
    Checkpoints,
    RunWriter,
    StopOnSignal,
    TrainingClock,
    WeightAverage,
    continue_metrics,
)
from .loaders import ResumableBatches, build_test_loader
from .logs import setup_logging
from .model import build_run_model
from .solver import build_optimizer, build_scheduler
from .step import StepTrainer, autocast_precision, parallel

logger = logging.getLogger(__name__)


class Trainer(DefaultTrainer):
    """Model, optimizer, data and hooks of one run, built from a config.

    ``Trainer(cfg)``, then ``resume_or_load(resume=...)``, then ``train()``. What it is made of is
    overridden in a subclass as detectron2's documentation teaches: ``build_model``,
    ``build_train_loader``, ``build_evaluator``, ``build_hooks``, ``test`` and so on.

    A resumed run gives the losses of an uninterrupted one: data order and random numbers follow
    from the seed of the run and the iteration (see ``seeding``). This holds for the train loader of
    this package without BOOTSTRAP_DATASETS; another loader starts from its beginning.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """Args: ``cfg`` as ``setup`` returns it."""
        # Not DefaultTrainer's own: it would build a trainer and a checkpointer of other classes.
        super(DefaultTrainer, self).__init__()
        if not logging.getLogger("densepose").isEnabledFor(logging.INFO):
            setup_logging(None, rank=comm.get_rank())  # a script that did not call ``setup``
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        self.cfg = cfg
        self.seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
        self.start_iter, self.max_iter = 0, cfg.SOLVER.MAX_ITER
        self.complete = -1  # the last iteration whose results are in weights, optimizer and hooks
        self.results: Mapping[str, Any] = {}
        self.bare_model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, self.bare_model)
        data_loader = self.build_train_loader(cfg)
        device = next(self.bare_model.parameters()).device
        self._trainer = self.steps = StepTrainer(
            parallel(self.bare_model),
            data_loader,
            optimizer,
            precision=autocast_precision(cfg, device),
            skips=cfg.SOLVER.SKIP_NONFINITE_STEPS,
            snapshots=Path(cfg.OUTPUT_DIR),
            config=cfg.dump(),
        )
        # detectron2 calls that of the inner trainer, which has no hooks.
        outer = weakref.proxy(self)
        self.steps.after_backward = lambda: outer.after_backward()
        self.clock = TrainingClock(60 * cfg.SOLVER.MAX_MINUTES)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        if (schedule := getattr(self.scheduler, "clock_schedule", None)) is not None:
            schedule.time_used = self.clock.fraction_used
        ema = cfg.SOLVER.EMA
        self.average = WeightAverage(self.bare_model, ema.DECAY) if ema.ENABLED else None
        self.checkpointer = SafeCheckpointer.from_config(cfg, self.evaluated_model, trainer=outer)
        self.register_hooks(self.build_hooks())

    @property
    def evaluated_model(self) -> nn.Module:
        """What is evaluated and saved: the moving average of the weights where there is one."""
        return self.bare_model if self.average is None else self.average.average.module

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """The model of the config on its device, see ``build_run_model``.

        SOLVER.CHANNELS_LAST and SOLVER.COMPILE change how it is computed, not what.
        """
        model = build_run_model(cfg)
        if cfg.SOLVER.CHANNELS_LAST:
            model.to(memory_format=torch.channels_last)
        if cfg.SOLVER.COMPILE:
            # In place, so that names of weights stay. Sizes of images change from batch to batch.
            getattr(model, "backbone", model).compile(backend=cfg.SOLVER.COMPILE, dynamic=True)
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """SGD or AdamW, see ``solver``."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
        """detectron2's schedule, or one that follows the clock where SOLVER.MAX_MINUTES is set."""
        return build_scheduler(cfg, optimizer)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        """Endless batches of this process's shard of SOLVER.IMS_PER_BATCH images."""
        return build_training_batches(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> DataLoader:
        """This process's shard of one data set, one image at a time, in order."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(
        cls, cfg: CfgNode, dataset_name: str, output_folder: str | None = None
    ) -> DatasetEvaluator:
        """The evaluator of one data set; results go below OUTPUT_DIR/inference by default."""
        folder = output_folder or str(Path(cfg.OUTPUT_DIR) / "inference" / dataset_name)
        return build_evaluator(cfg, dataset_name, folder)

    def build_hooks(self) -> list[HookBase | None]:
        """detectron2's hooks and this package's, in the order in which they run.

        The last one writes curves: hooks whose numbers it should write are inserted before it.
        """
        cfg, main = self.cfg, comm.is_main_process()
        keep = cfg.SOLVER.CHECKPOINTS_TO_KEEP or None
        period = cfg.SOLVER.CHECKPOINT_PERIOD or sys.maxsize  # fvcore's knows no 0 for never
        return [
            self.clock,
            hooks.IterationTimer(),
            hooks.LRScheduler(),
            self._build_precise_bn(),
            self.average,
            Checkpoints(self.checkpointer, period, max_to_keep=keep) if main else None,
            StopOnSignal(self.checkpointer),
            hooks.EvalHook(cfg.TEST.EVAL_PERIOD, self._evaluate),
            BestCheckpoint(cfg.TEST.EVAL_PERIOD, self.checkpointer, cfg.TEST.BEST_METRIC),
            RunWriter(cfg.LOG_PERIOD) if main else None,
        ]

    def _build_precise_bn(self) -> HookBase | None:
        bn = self.cfg.TEST.PRECISE_BN
        if not (bn.ENABLED and get_bn_modules(self.model)):
            return None
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.DATALOADER.NUM_WORKERS = 0
        loader = self.build_train_loader(cfg)  # its own, so that training is not disturbed
        return hooks.PreciseBN(cfg.TEST.EVAL_PERIOD, self.model, loader, bn.NUM_ITER)

    def build_writers(self) -> list[EventWriter]:
        """Log lines, ``metrics.json`` and TensorBoard; called when the run starts."""
        folder = Path(self.cfg.OUTPUT_DIR)
        folder.mkdir(parents=True, exist_ok=True)
        continue_metrics(folder / "metrics.json", self.start_iter)
        return [
            ProgressPrinter(self),
            JSONWriter(str(folder / "metrics.json")),
            TensorboardXWriter(
                str(folder), purge_step=self.start_iter + 1 if self.start_iter else None
            ),
        ]

    def resume_or_load(self, resume: bool = True) -> None:
        """Continue from the last valid checkpoint of OUTPUT_DIR, or load MODEL.WEIGHTS.

        Raises:
            InputError: the weights do not fit at all, or all checkpoints are damaged; MODEL.WEIGHTS
                does not exist.
        """
        resuming = resume and self.checkpointer.has_checkpoint()
        if self.average is not None:
            self.average.updates = -1  # no state of the average was loaded
        self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        if self.average is not None and self.average.updates < 0:
            self.average.restart()
        if resuming:
            self.start_iter = self.iter + 1
            logger.info("Resuming after %d iterations", self.start_iter)

    def train(self) -> Mapping[str, Any]:
        """Run to ``max_iter`` or the time limit; returns the results of the last evaluation."""
        if self.clock.fraction_used() >= 1:
            self.max_iter = self.start_iter
        if self.start_iter >= self.max_iter:
            done = self.max_iter
            logger.info("The run is complete after %d iterations: nothing is left to train", done)
        self.steps.seed = self.seed
        sampler = getattr(self.data_loader, "batch_sampler", None)
        if isinstance(sampler, ResumableBatches):
            sampler.seed, sampler.first_batch = self.seed, self.start_iter
        with held(self.cfg.OUTPUT_DIR, again=True) if comm.is_main_process() else nullcontext():
            self._loop()
        if self.cfg.TEST.EXPECTED_RESULTS and comm.is_main_process():
            verify_results(self.cfg, self.results)
        return self.results

    def _loop(self) -> None:
        """As detectron2's, but the end may come closer, and an error evaluates nothing."""
        self.iter = self.start_iter
        with EventStorage(self.start_iter) as self.storage:
            try:
                self.before_train()
                while self.iter < self.max_iter:
                    self.before_step()
                    self.run_step()
                    self.after_step()
                    self.iter += 1
            except BaseException as error:
                self._end_early(error)
                raise
            self.after_train()

    def _end_early(self, error: BaseException) -> None:
        """Save the steps that no checkpoint has, and end the hooks; nothing hides the error."""
        self.max_iter = sys.maxsize  # the end is not reached: nothing is evaluated
        consistent = self.steps.changed_at <= self.complete
        unsaved = self.complete >= max(self.start_iter, self.checkpointer.last_iteration + 1)
        try:
            if isinstance(error, Exception) and consistent and unsaved:
                begun, self.iter = self.iter, self.complete
                self.checkpointer.save(f"model_{self.iter:07d}", iteration=self.iter)
                self.iter = begun
            self.after_train()
        except Exception as another:
            logger.warning("At the end of the run: %s", another)

    def state_dict(self) -> dict[str, Any]:
        """detectron2's, and the seed."""
        return {**super().state_dict(), "seed": self.seed}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``; also takes that of detectron2's DefaultTrainer."""
        base_lrs = getattr(self.scheduler, "base_lrs", None)
        super().load_state_dict(state_dict)
        self.seed = state_dict.get("seed", self.seed)
        if isinstance(self.scheduler, LRMultiplier):  # whose rates follow from the config of today
            self.scheduler.base_lrs = base_lrs
            rates = self.scheduler.get_lr() if self.iter + 1 < self.max_iter else base_lrs
        else:
            rates = self.scheduler.get_last_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=False):
            group["lr"] = rate

    @classmethod
    def test(
        cls,
        cfg: CfgNode,
        model: nn.Module,
        evaluators: DatasetEvaluator | Sequence[DatasetEvaluator] | None = None,
    ) -> dict[str, Any]:
        """Score a model on DATASETS.TEST, see ``evaluate``.

        Args:
            cfg: from ``setup``.
            model: with the weights to evaluate.
            evaluators: one for each data set; by default ``build_evaluator`` builds them.
        """
        names = cfg.DATASETS.TEST
        if isinstance(evaluators, DatasetEvaluator):
            evaluators = [evaluators]
        given = dict(zip(names, evaluators, strict=True)) if evaluators is not None else {}
        # detectron2's documentation overrides it with and without a folder.
        takes_folder = len(inspect.signature(cls.build_evaluator).parameters) > 2

        def build(cfg: CfgNode, name: str, folder: str) -> DatasetEvaluator:
            return given.get(name) or cls.build_evaluator(cfg, name, *[folder] * takes_folder)

        loader = cls.build_test_loader
        return evaluate(cfg, model, build_evaluator=build, build_test_loader=loader)

    def _evaluate(self) -> dict[str, Any]:
        """Evaluate now; returns the finite scores, which can go into curves."""
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.SOLVER.MAX_ITER = self.max_iter  # where the run ends
        cfg.freeze()
        self.results = self.test(cfg, self.evaluated_model)
        flat = flatten_results_dict(self.results)
        return {name: value for name, value in flat.items() if math.isfinite(value)}


class ProgressPrinter(CommonMetricPrinter):
    """detectron2's line about losses, speed and time left, which also knows the time limit."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer.max_iter)
        self._clock = trainer.clock

    def _get_eta(self, storage: EventStorage) -> str | None:
        """Time left as text."""
        eta = super()._get_eta(storage)
        left = self._clock.seconds_left()
        if math.isinf(left) or storage.latest().get("eta_seconds", (math.inf,))[0] <= left:
            return eta
        return str(timedelta(seconds=int(left)))  # as detectron2 writes it
