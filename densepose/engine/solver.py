"""Optimizer, rates of layers, gradient clipping and schedule of a training run.

detectron2's own parameter groups, clipping and schedules are used; added are AdamW, rates that
differ from layer to layer, clipping by the norm of all gradients together, and a schedule that
follows the clock.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable

import torch
from fvcore.common.param_scheduler import ParamScheduler
from torch import Tensor, nn

from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, build_lr_scheduler
from detectron2.solver.build import (
    _generate_optimizer_class_with_gradient_clipping,
    get_default_optimizer_params,
    maybe_add_gradient_clipping,
)

from .load_report import check_prefixes, is_below

BOTTOM_UP = "backbone.bottom_up."
# The number of a stage in names of ResNets (res2), HRNets (stage2, layer1, transition1) and timm's
# models (blocks.0, stages_0, layers.0).
_STAGE = re.compile(r"(?:^|\.)(?:res|stages?|layers?|blocks|transition)[._]?(\d+)(?:\.|$)")
STEM = -1
# Warm-up of a run with a time limit ends after this fraction of the time even if its iterations are
# not done.
LONGEST_WARMUP = 0.1


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SGD or AdamW (SOLVER.OPTIMIZER) with detectron2's groups for norms and biases.

    The rates of layers may differ, see ``rate_factor``.
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
    sgd = functools.partial(torch.optim.SGD, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV)
    kind = {"SGD": sgd, "ADAMW": torch.optim.AdamW}[solver.OPTIMIZER]
    return add_clipping(cfg, kind(params, **rates))


def add_clipping(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer, which clips gradients in its ``step`` where SOLVER.CLIP_GRADIENTS is on.

    CLIP_TYPE is detectron2's ``value`` (each element) or ``norm`` (each parameter by itself), or
    ``full_model`` (the norm of all gradients together).
    """
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED or clip.CLIP_TYPE != "full_model":
        return maybe_add_gradient_clipping(cfg, optimizer)

    def clip_all(parameters: Iterable[Tensor]) -> None:
        nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, clip.NORM_TYPE)

    optimizer.__class__ = _generate_optimizer_class_with_gradient_clipping(
        type(optimizer), global_clipper=clip_all
    )
    return optimizer


def rate_factor(cfg: CfgNode, names: list[str]) -> Callable[[str], float]:
    """The function that gives the learning rate of a parameter as a multiple of SOLVER.BASE_LR.

    It is the factor of the longest fitting prefix in SOLVER.LR_FACTORS, and in the backbone times
    SOLVER.BACKBONE_LR_FACTOR and times SOLVER.LAYER_LR_DECAY ** k in the k-th stage from the top;
    for a bias also times SOLVER.BIAS_LR_FACTOR.

    Args:
        cfg: the config.
        names: of all parameters of the model, frozen ones too.

    Raises:
        InputError: a prefix names nothing.
    """
    solver = cfg.SOLVER
    factors = dict(solver.LR_FACTORS)
    check_prefixes("SOLVER.LR_FACTORS", factors, names)
    height = stage_heights(names)

    def factor(name: str) -> float:
        fitting = [prefix for prefix in factors if is_below(name, prefix)]
        found = factors[max(fitting, key=len)] if fitting else 1.0
        if name.startswith(BOTTOM_UP):
            found *= solver.BACKBONE_LR_FACTOR * solver.LAYER_LR_DECAY ** height[name]
        return found * solver.BIAS_LR_FACTOR if name.endswith(".bias") else found

    return factor


def stage_heights(names: Iterable[str]) -> dict[str, int]:
    """For each parameter of the backbone, how far from the top its stage is; 1 is the last stage.

    What belongs to no numbered stage is the stem, which lies below all.
    """
    stage = {}
    for name in names:
        if name.startswith(BOTTOM_UP):
            found = _STAGE.search(name.removeprefix(BOTTOM_UP))
            stage[name] = int(found[1]) if found else STEM
    order = sorted(set(stage.values()), reverse=True)
    return {name: order.index(number) + 1 for name, number in stage.items()}


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
        time_used: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Args: ``decay``: progress in [0, 1] -> factor; ``time_used``: fraction of the time."""
        self.decay = decay
        self.max_iter = max_iter
        self.warmup_iters = warmup_iters
        self.warmup_factor = warmup_factor
        self.time_used = time_used

    def __call__(self, where: float) -> float:
        """Factor of the learning rate after the fraction ``where`` of the iterations."""
        time_used = min(self.time_used(), 1.0)
        warm = 1.0
        if self.warmup_iters:
            by_steps = where * self.max_iter / self.warmup_iters
            warm = min(1.0, max(by_steps, time_used / LONGEST_WARMUP))
        factor = self.warmup_factor + (1 - self.warmup_factor) * warm
        # fvcore's schedules are defined on [0, 1), and add WHERE_EPSILON.
        return factor * self.decay(min(max(where, time_used), 1 - 2 * self.WHERE_EPSILON))


def build_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRMultiplier:
    """detectron2's schedule; where SOLVER.MAX_MINUTES is set it follows the clock, too.

    Then it has ``clock_schedule``, whose ``time_used`` the trainer sets.
    """
    solver = cfg.SOLVER
    if not solver.MAX_MINUTES:
        return build_lr_scheduler(cfg, optimizer)
    plain = cfg.clone()
    plain.defrost()
    plain.SOLVER.WARMUP_ITERS = 0
    schedule = ClockSchedule(
        build_lr_scheduler(plain, optimizer)._multiplier,
        max_iter=solver.MAX_ITER,
        warmup_iters=solver.WARMUP_ITERS,
        warmup_factor=solver.WARMUP_FACTOR,
    )
    scheduler = LRMultiplier(optimizer, schedule, solver.MAX_ITER)
    scheduler.clock_schedule = schedule
    return scheduler
