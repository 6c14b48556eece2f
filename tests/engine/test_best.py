from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from densepose.engine.best import BestCheckpoint, find_metric

WEIGHTS = {"model": {"w": torch.ones(1)}}


def offer(best: BestCheckpoint, iteration: int, **metrics: float) -> bool:
    named = {name.replace("__", "/"): value for name, value in metrics.items()}
    return best.offer(named, iteration, lambda: {**WEIGHTS, "iteration": iteration})


def saved_iteration(folder: Path) -> int:
    return torch.load(folder / "model_best.pth", weights_only=True)["iteration"]


def test_keeps_the_highest(tmp_path: Path):
    best = BestCheckpoint(tmp_path, "densepose_gpsm/AP")
    kept = [
        offer(best, n, densepose_gpsm__AP=value) for n, value in enumerate([1.0, 3.0, 2.0, 3.0])
    ]
    assert kept == [True, True, False, False]
    assert saved_iteration(tmp_path) == 1
    assert json.loads((tmp_path / "model_best.json").read_text()) == {
        "iteration": 1,
        "ranked_by": "densepose_gpsm/AP",
        "metrics": {"densepose_gpsm/AP": 3.0},
    }


def test_mean_gps_decides_while_the_ap_is_zero(tmp_path: Path):
    best = BestCheckpoint(tmp_path, "densepose_gpsm/AP")
    assert offer(best, 1, densepose_gpsm__AP=0.0, densepose_points__mean_gps=0.1)
    assert offer(best, 2, densepose_gpsm__AP=0.0, densepose_points__mean_gps=0.2)
    assert not offer(best, 3, densepose_gpsm__AP=0.0, densepose_points__mean_gps=0.15)


@pytest.mark.parametrize("missing", [{}, {"densepose_gpsm__AP": math.nan}])
def test_a_missing_metric_is_named_once_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, missing: dict[str, float]
):
    best = BestCheckpoint(tmp_path, "densepose_gpsm/AP")
    assert offer(best, 1, bbox__AP=5.0, **missing)
    assert offer(best, 2, bbox__AP=6.0, **missing)
    assert caplog.text.count("TEST.BEST_METRIC 'densepose_gpsm/AP' is missing") == 1
    assert "ranked by bbox/AP instead" in caplog.text
    assert json.loads((tmp_path / "model_best.json").read_text())["ranked_by"] == "bbox/AP"


def test_nothing_to_rank_by_keeps_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    best = BestCheckpoint(tmp_path, "densepose_gpsm/AP")
    assert not offer(best, 1, bbox__AP=math.nan)
    assert "no best checkpoint is kept" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_knows_the_best_so_far_and_a_new_one_does_not(tmp_path: Path):
    offer(BestCheckpoint(tmp_path, "bbox/AP"), 50, bbox__AP=7.0)
    assert not offer(BestCheckpoint(tmp_path, "bbox/AP", start_iter=100), 150, bbox__AP=6.0)
    assert offer(BestCheckpoint(tmp_path, "bbox/AP", start_iter=0), 10, bbox__AP=6.0)


def test_finds_a_metric_below_the_name_of_a_data_set():
    assert find_metric({"bbox/AP": 1.0}, "bbox/AP") == 1.0
    assert find_metric({"one/bbox/AP": 1.0, "two/bbox/AP": 3.0}, "bbox/AP") == 2.0
    assert find_metric({"one/bbox/AP": 1.0, "two/bbox/AP": math.nan}, "bbox/AP") is None
    assert find_metric({"xbbox/AP": 1.0}, "bbox/AP") is None
