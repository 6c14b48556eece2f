"""A schedule written for one batch size, scaled to another by the linear rule.

With ``scale = batch / reference batch`` the learning rate is multiplied by ``scale`` and everything
that counts iterations is divided by it, so the network sees the same number of images and the same
steps per image. Goyal et al., "Accurate, Large Minibatch SGD", 2017.

Nothing is scaled unless SOLVER.AUTO_SCALE_LR (``--auto-scale-lr``) or detectron2's own
SOLVER.REFERENCE_WORLD_SIZE asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.utils import comm

logger = logging.getLogger(__name__)

RATES = ("SOLVER.BASE_LR", "SOLVER.BASE_LR_END")
ITERATIONS = (
    "SOLVER.MAX_ITER",
    "SOLVER.WARMUP_ITERS",
    "SOLVER.STEPS",
    "SOLVER.CHECKPOINT_PERIOD",
    "TEST.EVAL_PERIOD",
)


def scale_config(cfg: CfgNode, given: Collection[str] = ()) -> CfgNode:
    """The config with its schedule scaled to the batch size or the number of processes, if asked.

    Where nothing is asked for and SOLVER.IMS_PER_BATCH differs from SOLVER.REFERENCE_BATCH_SIZE,
    one log line says how to scale. The result carries its own batch size as the reference, so that
    scaling a saved config once more changes nothing.

    Args:
        cfg: a config; not modified.
        given: keys of the command line, whose values are kept as they are.

    Returns:
        A frozen config.

    Raises:
        ValueError: both rules are asked for, a batch size is not positive, or IMS_PER_BATCH cannot
            be divided among REFERENCE_WORLD_SIZE processes.
    """
    solver = cfg.SOLVER
    batch, reference, world = (
        solver.IMS_PER_BATCH,
        solver.REFERENCE_BATCH_SIZE,
        solver.REFERENCE_WORLD_SIZE,
    )
    if solver.AUTO_SCALE_LR:
        if world:
            raise ValueError(
                f"SOLVER.AUTO_SCALE_LR and SOLVER.REFERENCE_WORLD_SIZE {world} would both scale the"
                " schedule; set one of them to False or 0"
            )
        if reference <= 0 or batch <= 0:
            raise ValueError(
                "SOLVER.AUTO_SCALE_LR needs positive batch sizes, got SOLVER.REFERENCE_BATCH_SIZE"
                f" {reference} and SOLVER.IMS_PER_BATCH {batch}"
            )
        return _scaled(cfg, given)
    if world:
        if batch % world:
            raise ValueError(
                f"SOLVER.IMS_PER_BATCH {batch} cannot be divided among SOLVER.REFERENCE_WORLD_SIZE"
                f" {world} processes"
            )
        return DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
    if reference and reference != batch:
        logger.info(
            "The schedule was written for %d images per step, SOLVER.IMS_PER_BATCH is %d; learning"
            " rate %g and %d iterations are used as they are. --auto-scale-lr scales them",
            reference,
            batch,
            solver.BASE_LR,
            solver.MAX_ITER,
        )
    return cfg


def _scaled(cfg: CfgNode, given: Collection[str]) -> CfgNode:
    cfg = cfg.clone()
    cfg.defrost()
    batch, reference = cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.REFERENCE_BATCH_SIZE
    scale, changes = batch / reference, []
    for key in (*RATES, *ITERATIONS):
        node, name = cfg[key.split(".")[0]], key.split(".")[1]
        before = node[name]
        if key in given:
            continue
        node[name] = before * scale if key in RATES else _iterations(before, scale)
        if node[name] != before:
            changes.append(f"{key} {before} -> {node[name]}")
    logger.info(
        "Schedule scaled from %d to %d images per step (x%g): %s",
        reference,
        batch,
        scale,
        ", ".join(changes) or "nothing to change",
    )
    cfg.SOLVER.REFERENCE_BATCH_SIZE = batch
    cfg.freeze()
    return cfg


def _iterations(count: Any, scale: float) -> Any:
    """Whole iterations, at least 1 where they were not 0."""
    if isinstance(count, (tuple, list)):
        return tuple(_iterations(entry, scale) for entry in count)
    return max(1, round(count / scale)) if count else 0
