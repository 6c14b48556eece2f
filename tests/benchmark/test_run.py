"""The benchmark from end to end on small models, in real processes; no time is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from densepose.benchmark import cases
from densepose.benchmark.contestants import Contestant
from densepose.benchmark.measure import CPU_TIME, TOTAL
from densepose.benchmark.run import run_benchmark


@pytest.mark.slow
def test_every_kind_of_case_runs():
    words = ["64x96, 5 people", "12 RoIs", "loading", "evaluation", "surface"]
    counts = []
    measured = run_benchmark(
        only=words,
        quick=True,
        rounds=1,
        warm_up=0,
        half=True,
        after_each=lambda done: counts.append(len(done)),
    )
    assert counts == list(range(1, len(measured) + 1))
    assert [sorted(m.seconds) for m in measured] == [
        ["accelerated", "plain torch"],
        ["accelerated", "plain torch"],
        *[["accelerated"]] * 10,
    ]
    inference, training, loading, evaluation, _, _, *surface = measured
    assert {"backbone and FPN", "DensePose branch", TOTAL} <= set(inference.seconds["plain torch"])
    assert {"forward", "backward", "update"} <= set(training.seconds["accelerated"])
    assert len(loading.seconds["accelerated"][TOTAL]) == 1
    assert "score GPS, GPSm and IoU" in evaluation.seconds["accelerated"]
    assert all(m.seconds["accelerated"][CPU_TIME][0] > 0 for m in measured)
    stages = {stage for measurement in surface for stage in measurement.seconds["accelerated"]}
    assert {"vertices", "points", "take", "put"} <= stages


def test_only_what_runs_a_model_is_measured_on_a_gpu():
    chosen = cases.select(cases.all_cases(), [], "cuda")
    assert {case.kind for case in chosen} == {"inference", "training"}
    with pytest.raises(ValueError, match="--only loading: no case"):
        cases.select(cases.all_cases(), ["loading"], "cuda")


def test_rounds_have_to_be_run():
    with pytest.raises(ValueError, match="--rounds must be 1 or more, got 0"):
        run_benchmark(rounds=0)


def test_a_contestant_that_ends_tells_why(tmp_path: Path):
    with Contestant("ours", ["-c", "import nothing_of_this_name"], tmp_path) as contestant:
        with pytest.raises(RuntimeError, match="ended with status 1(.|\n)*nothing_of_this_name"):
            contestant.prepare({})


def test_a_contestant_finds_packages_of_the_users_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "of_the_user.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Contestant("ours", ["-c", "import of_the_user"], tmp_path / "other") as contestant:
        with pytest.raises(RuntimeError, match="ended with status 0"):
            contestant.prepare({})
