"""A schedule written for one batch size, brought to another by the linear rule.

With ``scale = batch / reference batch`` the learning rate is multiplied by ``scale`` and everything
that counts iterations is divided by it, so the network sees the same number of images and the same
steps per image. Goyal et al., "Accurate, Large Minibatch SGD", 2017.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.utils import comm

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """The numbers that depend on the batch size; counts are iterations, 0 means off."""

    base_lr: float
    base_lr_end: float
    max_iter: int
    warmup_iters: int
    steps: tuple[int, ...]
    eval_period: int
    checkpoint_period: int


def scale_schedule(schedule: Schedule, *, reference_batch: int, batch: int) -> Schedule:
    """The schedule for ``batch`` images per step, given the one for ``reference_batch``.

    Counts are rounded to whole iterations and stay at least 1 where they were not 0.

    Raises:
        ValueError: a batch size is not positive.
    """
    if reference_batch <= 0 or batch <= 0:
        raise ValueError(
            f"batch sizes must be positive, got reference {reference_batch} and {batch}"
        )

    def iterations(count: int) -> int:
        return max(1, round(count * reference_batch / batch)) if count else 0

    return Schedule(
        base_lr=schedule.base_lr * batch / reference_batch,
        base_lr_end=schedule.base_lr_end * batch / reference_batch,
        max_iter=iterations(schedule.max_iter),
        warmup_iters=iterations(schedule.warmup_iters),
        steps=tuple(iterations(step) for step in schedule.steps),
        eval_period=iterations(schedule.eval_period),
        checkpoint_period=iterations(schedule.checkpoint_period),
    )


def scale_config(cfg: CfgNode) -> CfgNode:
    """The config with its schedule scaled to SOLVER.IMS_PER_BATCH; one log line says what changed.

    Does nothing where SOLVER.REFERENCE_BATCH_SIZE is 0 or equals the batch size. The result carries
    its own batch size as the reference, so that scaling a saved config once more changes nothing. A
    config with detectron2's SOLVER.REFERENCE_WORLD_SIZE is scaled by detectron2's own rule first.

    Args:
        cfg: a config; not modified.

    Returns:
        A frozen copy.
    """
    cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size()).clone()
    solver, reference = cfg.SOLVER, cfg.SOLVER.REFERENCE_BATCH_SIZE
    if reference and reference != solver.IMS_PER_BATCH:
        before = _schedule_of(cfg)
        after = scale_schedule(before, reference_batch=reference, batch=solver.IMS_PER_BATCH)
        logger.info(_describe(before, after, reference, solver.IMS_PER_BATCH))
        cfg.defrost()
        solver.BASE_LR, solver.BASE_LR_END = after.base_lr, after.base_lr_end
        solver.MAX_ITER, solver.WARMUP_ITERS, solver.STEPS = (
            after.max_iter,
            after.warmup_iters,
            after.steps,
        )
        solver.CHECKPOINT_PERIOD, cfg.TEST.EVAL_PERIOD = after.checkpoint_period, after.eval_period
        solver.REFERENCE_BATCH_SIZE = solver.IMS_PER_BATCH
    cfg.freeze()
    return cfg


def _schedule_of(cfg: CfgNode) -> Schedule:
    solver = cfg.SOLVER
    return Schedule(
        base_lr=solver.BASE_LR,
        base_lr_end=solver.BASE_LR_END,
        max_iter=solver.MAX_ITER,
        warmup_iters=solver.WARMUP_ITERS,
        steps=tuple(solver.STEPS),
        eval_period=cfg.TEST.EVAL_PERIOD,
        checkpoint_period=solver.CHECKPOINT_PERIOD,
    )


def _describe(before: Schedule, after: Schedule, reference: int, batch: int) -> str:
    changes = []
    for field in fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old != new:
            name = field.name.replace("_", " ")
            changes.append(f"{name} {_number(old)} -> {_number(new)}")
    return (
        f"Schedule scaled from {reference} to {batch} images per step (x{batch / reference:g}): "
        + ", ".join(changes)
        + "; SOLVER.REFERENCE_BATCH_SIZE 0 turns this off"
    )


def _number(value: float | tuple[int, ...]) -> str:
    return str(value) if isinstance(value, tuple) else f"{value:g}" if value < 1 else f"{value}"
