from __future__ import annotations

import math

import pytest
import torch
from fvcore.common.param_scheduler import ConstantParamScheduler, CosineParamScheduler
from torch import nn

from detectron2.config import CfgNode

from densepose.config import get_densepose_cfg
from densepose.engine.solver import ClockSchedule, add_clipping, build_optimizer, build_scheduler


def config(**solver: object) -> CfgNode:
    cfg = get_densepose_cfg()
    cfg.SOLVER.BASE_LR = 1.0
    for key, value in solver.items():
        cfg.SOLVER[key] = value
    return cfg


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"bottom_up": nn.Linear(2, 2)})
        self.norm = nn.BatchNorm1d(2)
        self.head = nn.Linear(2, 1)


def rates(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, tuple[float, float]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize(("name", "kind"), [("SGD", torch.optim.SGD), ("ADAMW", torch.optim.AdamW)])
def test_optimizer_is_chosen_by_name_with_its_groups(name: str, kind: type):
    model = Net()
    cfg = config(OPTIMIZER=name, BACKBONE_LR_FACTOR=0.1, WEIGHT_DECAY=0.05, WEIGHT_DECAY_NORM=0.0)
    optimizer = build_optimizer(cfg, model)
    assert type(optimizer) is kind
    found = rates(optimizer, model)
    assert found["backbone.bottom_up.weight"] == (pytest.approx(0.1), 0.05)
    assert found["norm.weight"] == (1.0, 0.0)
    assert found["head.weight"] == (1.0, 0.05)
    assert len(found) == 6


def clip_config(kind: str) -> CfgNode:
    cfg = config()
    clip = cfg.SOLVER.CLIP_GRADIENTS
    clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE, clip.NORM_TYPE = True, kind, 1.0, 2.0
    return cfg


def with_gradients(*values: list[float]) -> list[torch.Tensor]:
    parameters = [torch.zeros(len(value), requires_grad=True) for value in values]
    for parameter, value in zip(parameters, values, strict=True):
        parameter.grad = torch.tensor(value)
    return parameters


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("value", [1.0, -1.0], [0.5]),
        ("norm", [0.6, -0.8], [0.5]),
        ("full_model", [3 / math.sqrt(25.25), -4 / math.sqrt(25.25)], [0.5 / math.sqrt(25.25)]),
    ],
)
def test_clipping_by_hand(kind: str, first: list[float], second: list[float]):
    parameters = with_gradients([3.0, -4.0], [0.5])
    add_clipping(clip_config(kind), torch.optim.SGD(parameters, lr=0.0)).step()
    torch.testing.assert_close(parameters[0].grad, torch.tensor(first), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parameters[1].grad, torch.tensor(second), rtol=1e-4, atol=1e-5)


def test_clipping_off():
    optimizer = torch.optim.SGD(with_gradients([3.0]), lr=0.0)
    assert type(add_clipping(config(), optimizer)) is torch.optim.SGD


def clock_schedule(time_used: float) -> ClockSchedule:
    return ClockSchedule(
        CosineParamScheduler(1.0, 0.0),
        max_iter=1000,
        warmup_iters=100,
        warmup_factor=0.0,
        time_used=lambda: time_used,
    )


def test_clock_schedule_is_at_its_end_when_the_time_is_over():
    assert clock_schedule(1.0)(0.2) == pytest.approx(0.0, abs=1e-9)
    assert clock_schedule(7.0)(0.2) == pytest.approx(0.0, abs=1e-9)
    assert clock_schedule(0.3)(1.0) == pytest.approx(0.0, abs=1e-9)


def test_clock_schedule_follows_what_is_further():
    half = 0.5
    assert clock_schedule(0.5)(0.2) == pytest.approx(half)
    assert clock_schedule(0.2)(0.5) == pytest.approx(half)


def test_warm_up_counts_iterations_but_takes_at_most_a_tenth_of_the_time():
    flat = ClockSchedule(
        ConstantParamScheduler(1.0),
        max_iter=1000,
        warmup_iters=100,
        warmup_factor=0.2,
        time_used=lambda: 0.0,
    )
    assert flat(0.0) == pytest.approx(0.2)
    assert flat(0.05) == pytest.approx(0.6)
    assert flat(0.1) == 1.0
    flat.time_used = lambda: 0.05
    assert flat(0.001) == pytest.approx(0.6)
    flat.time_used = lambda: 0.1
    assert flat(0.001) == 1.0


@pytest.mark.parametrize(
    "name", ["WarmupCosineLR", "WarmupMultiStepLR", "WarmupStepWithFixedGammaLR"]
)
def test_without_using_time_the_clock_schedule_decays_as_detectron2s(name: str):
    def rates_of_run(minutes: float) -> list[float]:
        cfg = config(
            LR_SCHEDULER_NAME=name, MAX_ITER=50, WARMUP_ITERS=0, STEPS=(20, 40), MAX_MINUTES=minutes
        )
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = build_scheduler(cfg, optimizer)
        found = []
        for _ in range(49):  # detectron2's steps with a fixed gamma are not defined at the end
            optimizer.step()
            found.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
        return found

    assert rates_of_run(5.0) == pytest.approx(rates_of_run(0.0))
