"""Runs of the model of two numbers that are resumed with another config, or beside another run."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from densepose.engine.resume import config_changes, fitted_optimizer, set_aside
from densepose.errors import InputError
from tests.support.lines import LineTrainer, line_config


def train(cfg: Any, *, resume: bool = False) -> tuple[LineTrainer, list[float]]:
    """The trainer, and the rate before each of its steps."""
    rates: list[float] = []

    class Train(LineTrainer):
        def before_step(self) -> None:
            super().before_step()
            rates.append(self.optimizer.param_groups[0]["lr"])

    trainer = Train(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer, rates


def half_a_cosine(step: int, steps: int) -> float:
    return (1 + math.cos(math.pi * step / steps)) / 2


def test_a_longer_run_and_another_rate_follow_the_schedule_of_today(tmp_path: Path, caplog: Any):
    train(line_config(tmp_path))
    _, rates = train(line_config(tmp_path, MAX_ITER=12, BASE_LR=0.02), resume=True)
    assert rates == pytest.approx([0.02 * half_a_cosine(n, 12) for n in range(8, 12)], rel=1e-3)
    assert (
        "used from here on: SOLVER.BASE_LR was 0.1, now 0.02; SOLVER.MAX_ITER was 8" in caplog.text
    )


def test_keys_about_the_start_are_reported_to_have_no_effect(tmp_path: Path, caplog: Any):
    first, _ = train(line_config(tmp_path))
    cfg = line_config(tmp_path, MAX_ITER=9)
    cfg.SEED, cfg.MODEL.WEIGHTS = 8, "gone.pth"
    second, _ = train(cfg, resume=True)
    assert second.seed == first.seed == 7
    text = (
        "without effect on a run that is resumed: MODEL.WEIGHTS was '', now 'gone.pth'; SEED was 7"
    )
    assert text in caplog.text


def test_nothing_is_reported_where_nothing_changed(tmp_path: Path, caplog: Any):
    train(line_config(tmp_path))
    train(line_config(tmp_path), resume=True)
    assert "The config is not that" not in caplog.text


def test_another_model_is_refused_by_its_keys(tmp_path: Path, monkeypatch: Any):
    train(line_config(tmp_path))
    cfg = line_config(tmp_path, MAX_ITER=9)
    cfg.MODEL.MASK_ON = True

    class Wider(nn.Linear):
        def __init__(self) -> None:
            super().__init__(1, 1)
            self.a, self.b = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    monkeypatch.setattr(LineTrainer, "build_model", classmethod(lambda cls, cfg: Wider()))
    with pytest.raises(
        InputError, match="another model .*bias .* MODEL.MASK_ON was False, now True"
    ):
        train(cfg, resume=True)


def test_a_new_run_neither_overwrites_nor_takes_up_an_earlier_one(tmp_path: Path):
    train(line_config(tmp_path, CHECKPOINT_PERIOD=4))
    old = (tmp_path / "model_final.pth").read_bytes()
    (tmp_path / ".model_0000003.pth.1.x").mkdir()  # of a killed process

    class Killed(LineTrainer):
        def before_step(self) -> None:
            raise KeyboardInterrupt

    killed = Killed(line_config(tmp_path))
    killed.resume_or_load(resume=False)
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    assert (tmp_path / "earlier_run_1" / "model_final.pth").read_bytes() == old
    assert (tmp_path / "earlier_run_1" / "metrics.json").is_file()
    assert list(tmp_path.glob(".model*")) == list(tmp_path.glob("model*")) == []
    resumed = LineTrainer(line_config(tmp_path))
    resumed.resume_or_load(resume=True)
    assert resumed.start_iter == 0
    (tmp_path / "model_0000003.pth").write_text("x")
    set_aside(tmp_path)
    assert (tmp_path / "earlier_run_2" / "model_0000003.pth").is_file()
    shutil.rmtree(tmp_path / "earlier_run_1")
    (tmp_path / "model_0000004.pth").write_text("x")
    set_aside(tmp_path)
    assert (tmp_path / "earlier_run_3" / "model_0000004.pth").is_file()


def test_changes_of_a_config_are_those_of_keys_that_both_have():
    assert config_changes("", "A: 1") == {}
    assert config_changes("A: {B: [1], C: 1}", "A: {B: [2], D: 1}") == {"A.B": "[1], now [2]"}


def optimizer(groups: list[list[str]], model: nn.Module) -> torch.optim.Optimizer:
    parameters = dict(model.named_parameters())
    made = [{"params": [parameters[n] for n in names], "param_names": names} for names in groups]
    return torch.optim.SGD(made, lr=0.1, momentum=0.9)


def test_each_parameter_finds_its_state_in_other_groups():
    model = nn.Linear(2, 2)
    first, second = (optimizer(g, model) for g in ([["weight"], ["bias"]], [["bias", "weight"]]))
    model(torch.ones(1, 2)).sum().backward()
    first.step()
    order = {"weight": 0, "bias": 1}
    saved = first.state_dict()
    plain = {**saved, "param_groups": [{"params": [0]}, {"params": [1]}]}  # detectron2 0.5
    for state in (saved, plain):
        second.load_state_dict(fitted_optimizer(state, second, order))
        for parameter in model.parameters():
            own, other = (o.state[parameter]["momentum_buffer"] for o in (first, second))
            assert torch.equal(own, other)
    with pytest.raises(InputError, match="has 1 groups of parameters without names, the config 2"):
        fitted_optimizer({**saved, "param_groups": [{"params": [0, 1]}]}, first, order)
    with pytest.raises(InputError, match="does not fit weight"):
        swapped = {"state": {0: saved["state"][1]}, "param_groups": saved["param_groups"]}
        fitted_optimizer(swapped, first, order)
