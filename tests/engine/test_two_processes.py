"""Data-parallel training on CPU is the same as training on the whole batch in one process."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from densepose.engine.processes import launch
from tests.engine.second_fails import fail_in_second
from tests.engine.two_processes import train_share
from tests.tiny_dataset import write_tiny_densepose_coco


def arguments(**values: Any) -> Namespace:
    defaults = {
        "num_gpus": 1,
        "num_machines": 1,
        "machine_rank": 0,
        "dist_url": "auto",
        "num_cpu_processes": 1,
    }
    return Namespace(**{**defaults, **values})


def flat(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in state.values()])


def test_two_processes_train_as_one_on_the_same_global_batch(tmp_path: Path):
    data = write_tiny_densepose_coco(tmp_path / "data", num_images=8)
    runs = {}
    for processes in (1, 2):
        output = tmp_path / f"{processes}"
        output.mkdir()
        status = launch(
            train_share, arguments(num_cpu_processes=processes, data=data, output=str(output))
        )
        assert status == 0
        runs[processes] = [torch.load(path) for path in sorted(output.iterdir())]
    (one,), (first, second) = runs[1], runs[2]
    assert first["own"] != second["own"]  # the shares differ
    assert first["mean"] == second["mean"]
    for step, (alone, shared) in enumerate(zip(one["mean"], first["mean"], strict=True)):
        assert shared == pytest.approx(alone, rel=1e-4), f"step {step}"
    torch.testing.assert_close(first["model"], second["model"], rtol=0, atol=0)
    # Sums of another order round otherwise, so weights are compared by the way that they have gone.
    way_of_one, way_of_two = (flat(run["model"]) - flat(run["initial"]) for run in (one, first))
    assert way_of_one.norm() > 0
    assert (way_of_two - way_of_one).norm() < 1e-2 * way_of_one.norm()


def test_a_failing_process_gives_its_exit_status():
    assert launch(fail_in_second, arguments(num_cpu_processes=2)) == 3


def test_more_gpus_than_there_are_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="but 0 CUDA devices were found; --num-cpu-processes N"):
        launch(fail_in_second, arguments(num_gpus=4))
    with pytest.raises(ValueError, match="exclude each other"):
        launch(fail_in_second, arguments(num_gpus=2, num_cpu_processes=2))
    with pytest.raises(ValueError, match="--num-machines 2 needs --dist-url"):
        launch(fail_in_second, arguments(num_machines=2))
