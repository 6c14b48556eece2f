from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from densepose.engine import hooks as hooks_module
from densepose.engine.checkpoint import SafeCheckpointer
from densepose.engine.hooks import (
    BestCheckpoint,
    TrainingClock,
    WeightAverage,
    continue_metrics,
    find_metric,
)


class Runs:
    """Makes best checkpoints of a run in one folder."""

    def __init__(self, folder: Path, metric: str, start_iter: int = 0) -> None:
        self.hook = BestCheckpoint(1, SafeCheckpointer(nn.Linear(1, 1), folder), metric)
        self.path = folder / "model_best.pth"
        self.trainer = SimpleNamespace(start_iter=start_iter, max_iter=1000)
        self.hook.trainer = self.trainer
        self.hook.before_train()

    def offer(self, iteration: int, **metrics: float) -> bool:
        """Scores after so many iterations; whether the weights were kept."""
        results: dict[str, Any] = {}
        for name, value in metrics.items():
            task, metric = name.split("__")
            results.setdefault(task, {})[metric] = value
        self.trainer.results, self.trainer.iter = results, iteration - 1
        before = self.path.stat().st_mtime_ns if self.path.is_file() else 0
        self.hook.after_step()
        return self.path.is_file() and self.path.stat().st_mtime_ns != before


def test_keeps_the_highest_weights_alone(tmp_path: Path):
    runs = Runs(tmp_path, "densepose_gpsm/AP")
    kept = [
        runs.offer(n + 1, densepose_gpsm__AP=value) for n, value in enumerate([1.0, 3.0, 2.0, 3.0])
    ]
    assert kept == [True, True, False, False]
    assert json.loads((tmp_path / "model_best.json").read_text()) == {
        "iteration": 2,
        "ranked_by": "densepose_gpsm/AP",
        "metrics": {"densepose_gpsm/AP": 3.0},
    }
    saved = torch.load(runs.path, weights_only=True)
    assert set(saved) == {"model", "iteration"} and saved["iteration"] == 1
    assert not (tmp_path / "last_checkpoint").exists()


def test_the_last_evaluation_has_the_number_of_the_last_step(tmp_path: Path):
    runs = Runs(tmp_path, "bbox/AP")
    runs.trainer.results, runs.trainer.iter = {"bbox": {"AP": 1.0}}, 1000
    runs.hook.after_train()
    assert torch.load(runs.path, weights_only=True)["iteration"] == 999


def test_mean_gps_decides_while_the_ap_is_zero(tmp_path: Path):
    runs = Runs(tmp_path, "densepose_gpsm/AP")
    assert runs.offer(1, densepose_gpsm__AP=0.0, densepose_points__mean_gps=0.1)
    assert runs.offer(2, densepose_gpsm__AP=0.0, densepose_points__mean_gps=0.2)
    assert not runs.offer(3, densepose_gpsm__AP=0.0, densepose_points__mean_gps=0.15)


@pytest.mark.parametrize("missing", [{}, {"densepose_gpsm__AP": math.nan}])
def test_a_missing_metric_is_named_once_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, missing: dict[str, float]
):
    runs = Runs(tmp_path, "densepose_gpsm/AP")
    assert runs.offer(1, bbox__AP=5.0, **missing) and runs.offer(2, bbox__AP=6.0, **missing)
    assert caplog.text.count("TEST.BEST_METRIC 'densepose_gpsm/AP' is missing") == 1
    assert "ranked by bbox/AP instead" in caplog.text
    assert json.loads((tmp_path / "model_best.json").read_text())["ranked_by"] == "bbox/AP"


def test_nothing_to_rank_by_keeps_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    runs = Runs(tmp_path, "densepose_gpsm/AP")
    assert not runs.offer(1, bbox__AP=math.nan) and not runs.offer(2)
    assert "no best checkpoint is kept" in caplog.text


def test_a_resumed_run_knows_the_best_so_far_and_a_new_one_does_not(tmp_path: Path):
    Runs(tmp_path, "bbox/AP").offer(50, bbox__AP=7.0)
    assert not Runs(tmp_path, "bbox/AP", start_iter=100).offer(150, bbox__AP=6.0)
    assert Runs(tmp_path, "bbox/AP").offer(10, bbox__AP=6.0)


def test_finds_a_metric_below_the_name_of_a_data_set():
    assert find_metric({"bbox/AP": 1.0}, "bbox/AP") == 1.0
    assert find_metric({"one/bbox/AP": 1.0, "two/bbox/AP": 3.0}, "bbox/AP") == 2.0
    assert find_metric({"one/bbox/AP": 1.0, "two/bbox/AP": math.nan}, "bbox/AP") is None
    assert find_metric({"xbbox/AP": 1.0}, "bbox/AP") is None


def test_the_average_follows_the_decay_written_as_a_loop():
    model = nn.BatchNorm1d(1)
    hook = WeightAverage(model, decay=0.5)
    expected = 0.0
    for step in range(1, 9):
        nn.init.constant_(model.weight, float(step))
        model.running_mean.fill_(float(step))
        model.num_batches_tracked.fill_(step)
        hook.after_step()
        decay = min(0.5, 1 - step ** (-2 / 3))  # 0 at the first step
        expected = decay * expected + (1 - decay) * step
    average = hook.average.module
    assert average.weight.item() == average.running_mean.item() == pytest.approx(expected)
    assert average.num_batches_tracked.item() == 8


def test_an_average_continues_from_its_state():
    first = WeightAverage(nn.Linear(2, 2), decay=0.9)
    first.after_step()
    nn.init.zeros_(first.model.weight)
    second = WeightAverage(nn.Linear(2, 2), decay=0.9)
    second.average.module.load_state_dict(first.average.module.state_dict())
    second.load_state_dict(first.state_dict())
    for hook in (first, second):
        hook.after_step()
    ours, theirs = (hook.average.module.state_dict() for hook in (first, second))
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(second.model.weight, torch.zeros(2, 2))


def test_only_time_in_steps_counts_and_the_limit_ends_the_run(monkeypatch: pytest.MonkeyPatch):
    now = 0.0
    monkeypatch.setattr(hooks_module.time, "perf_counter", lambda: now)
    clock = TrainingClock(limit_seconds=10)
    assert clock.seconds_left() == 10 and TrainingClock().seconds_left() == math.inf
    clock.load_state_dict({"seconds": 2.0})
    steps = SimpleNamespace(own={})
    clock.trainer = SimpleNamespace(iter=0, max_iter=99, steps=steps)
    while clock.trainer.iter < clock.trainer.max_iter:
        now += 100
        clock.before_step()
        now += 4
        steps.agreed = dict(steps.own)
        clock.after_step()
        clock.trainer.iter += 1
    assert clock.trainer.iter == 3  # 2, 6 and 10 seconds were known after the steps
    assert clock.state_dict() == {"seconds": 14.0} and clock.fraction_used() == 1.0


def curve(path: Path, *records: dict[str, float]) -> list[dict[str, float]]:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return list(records)


def test_resuming_takes_out_what_comes_again(tmp_path: Path):
    path = tmp_path / "metrics.json"
    records = curve(
        path,
        {"iteration": 19, "total_loss": 1.0},
        {"iteration": 39, "total_loss": 2.0},
        {"iteration": 40, "bbox/AP": 3.0},
        {"iteration": 40, "total_loss": 4.0},
        {"iteration": 59, "total_loss": 5.0},
    )
    path.write_text(path.read_text() + '{"iteration": 6')
    continue_metrics(path, start_iter=40)
    assert [json.loads(line) for line in path.read_text().splitlines()] == records[:3]
