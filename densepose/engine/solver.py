"""Optimizer, gradient clipping and learning rate of a training run.

detectron2's own parameter groups and schedules are used; added are AdamW, clipping by the norm of
all gradients together, and a schedule that follows the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from fvcore.common.param_scheduler import (
    CosineParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
)
from torch import Tensor, nn

from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, build_lr_scheduler
from detectron2.solver.build import get_default_optimizer_params

from .layer_rates import rate_factor

# Warm-up of a run with a time limit ends after this share of the time even if its iterations are
# not done.
LONGEST_WARMUP = 0.1


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SGD or AdamW (SOLVER.OPTIMIZER) with detectron2's groups for norms and biases.

    The rates of layers may differ, see ``layer_rates``.

    Raises:
        ValueError: an unknown optimizer, or impossible factors of rates.
    """
    solver = cfg.SOLVER
    params = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        # detectron2 would give biases one rate in all layers.
        bias_lr_factor=1.0,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
        lr_factor_func=rate_factor(cfg, [name for name, _ in model.named_parameters()]),
    )
    rates = {"lr": solver.BASE_LR, "weight_decay": solver.WEIGHT_DECAY}
    if solver.OPTIMIZER.upper() == "SGD":
        return torch.optim.SGD(params, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV, **rates)
    if solver.OPTIMIZER.upper() == "ADAMW":
        return torch.optim.AdamW(params, **rates)
    raise ValueError(f"SOLVER.OPTIMIZER={solver.OPTIMIZER!r} is unknown; use 'SGD' or 'ADAMW'")


def build_clipper(cfg: CfgNode) -> Callable[[Iterable[Tensor]], object] | None:
    """The function that clips the gradients of parameters in place; None where clipping is off.

    SOLVER.CLIP_GRADIENTS.CLIP_TYPE is detectron2's ``value`` (each element) or ``norm`` (each
    parameter by itself), or ``full_model`` (the norm of all gradients together).
    """
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED:
        return None

    def by_value(parameters: Iterable[Tensor]) -> None:
        nn.utils.clip_grad_value_(parameters, clip.CLIP_VALUE)

    def by_norm(parameters: Iterable[Tensor]) -> None:
        for parameter in parameters:
            nn.utils.clip_grad_norm_(parameter, clip.CLIP_VALUE, clip.NORM_TYPE)

    def by_full_norm(parameters: Iterable[Tensor]) -> None:
        nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, clip.NORM_TYPE)

    clippers = {"value": by_value, "norm": by_norm, "full_model": by_full_norm}
    if clip.CLIP_TYPE not in clippers:
        raise ValueError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE={clip.CLIP_TYPE!r} is unknown; use one of"
            f" {', '.join(clippers)}"
        )
    return clippers[clip.CLIP_TYPE]


class ClockSchedule(ParamScheduler):
    """A schedule that moves on with iterations or with time, whichever is further.

    Warm-up counts iterations, because what it protects from is a number of steps, but takes at most
    a tenth of the time. At the end of the time the schedule is at its end, however many iterations
    there were.
    """

    def __init__(
        self,
        decay: ParamScheduler,
        *,
        max_iter: int,
        warmup_iters: int,
        warmup_factor: float,
        time_used: Callable[[], float],
    ) -> None:
        """Args: ``decay``: progress in [0, 1] -> factor; ``time_used``: share of time gone by."""
        self.decay = decay
        self.max_iter = max_iter
        self.warmup_iters = warmup_iters
        self.warmup_factor = warmup_factor
        self.time_used = time_used

    def __call__(self, where: float) -> float:
        """Factor of the learning rate after the share ``where`` of the iterations."""
        time_used = min(self.time_used(), 1.0)
        warm = time_used / LONGEST_WARMUP
        if self.warmup_iters:
            warm = max(warm, where * self.max_iter / self.warmup_iters)
        else:
            warm = 1.0
        factor = 1.0 if warm >= 1 else self.warmup_factor + (1 - self.warmup_factor) * warm
        # fvcore's schedules are defined on [0, 1).
        return factor * self.decay(min(max(where, time_used), 1 - 1e-9))


def build_scheduler(
    cfg: CfgNode, optimizer: torch.optim.Optimizer, time_used: Callable[[], float]
) -> LRMultiplier:
    """detectron2's schedule, or the one that follows the clock where SOLVER.MAX_MINUTES is set.

    Args:
        cfg: the config, already scaled to the batch size.
        optimizer: whose rates are set.
        time_used: share of SOLVER.MAX_MINUTES that has gone by; only called when there is a limit.
    """
    solver = cfg.SOLVER
    if not solver.MAX_MINUTES:
        return build_lr_scheduler(cfg, optimizer)
    schedule = ClockSchedule(
        _decay(cfg),
        max_iter=solver.MAX_ITER,
        warmup_iters=solver.WARMUP_ITERS,
        warmup_factor=solver.WARMUP_FACTOR,
        time_used=time_used,
    )
    return LRMultiplier(optimizer, schedule, max_iter=solver.MAX_ITER)


def _decay(cfg: CfgNode) -> ParamScheduler:
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME == "WarmupCosineLR":
        return CosineParamScheduler(1.0, solver.BASE_LR_END / solver.BASE_LR)
    if solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR":
        steps = [step for step in solver.STEPS if step <= solver.MAX_ITER]
        return MultiStepParamScheduler(
            [solver.GAMMA**k for k in range(len(steps) + 1)],
            milestones=steps,
            num_updates=solver.MAX_ITER,
        )
    raise ValueError(
        f"SOLVER.LR_SCHEDULER_NAME={solver.LR_SCHEDULER_NAME!r} cannot follow SOLVER.MAX_MINUTES;"
        " use 'WarmupCosineLR' or 'WarmupMultiStepLR'"
    )
