"""Data-parallel training on CPU: the same as one process on the whole batch, and its endings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from densepose.engine import processes as processes_module
from densepose.engine import run
from densepose.engine.processes import launch
from tests.support.processes_of_lines import fail_in_second, train_lines
from tests.support.tiny_dataset import write_tiny_densepose_coco
from tests.support.two_processes import train_shard


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """``launch`` hides GPUs from processes on CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))


def arguments(**values: Any) -> Namespace:
    defaults = {
        "num_gpus": 1,
        "num_machines": 1,
        "machine_rank": 0,
        "dist_url": "auto",
        "num_cpu_processes": 1,
        "resume": False,
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
        args = arguments(num_cpu_processes=processes, data=data, output=str(output))
        assert launch(train_shard, args) == 0
        runs[processes] = [torch.load(path) for path in sorted(output.iterdir())]
    (one,), (first, second) = runs[1], runs[2]
    assert first["mean"] == second["mean"]
    for step, (alone, shared) in enumerate(zip(one["mean"], first["mean"], strict=True)):
        assert shared == pytest.approx(alone, rel=1e-4), f"step {step}"
    torch.testing.assert_close(first["model"], second["model"], rtol=0, atol=0)
    # Sums of another order round otherwise, so weights are compared by the way that they have gone.
    way_of_one, way_of_two = (flat(run["model"]) - flat(run["initial"]) for run in (one, first))
    assert way_of_one.norm() > 0
    assert (way_of_two - way_of_one).norm() < 1e-2 * way_of_one.norm()


def train(folder: Path, **values: Any) -> int:
    """Exit status of two processes; ``stop_at`` of each run that they do one after the other."""
    return launch(train_lines, arguments(num_cpu_processes=2, folder=str(folder), **values))


def written(output: Path) -> list[dict[str, Any]]:
    return [torch.load(path) for path in sorted(output.glob("rank*.pt"))]


def test_a_signal_to_one_stops_all_and_resuming_gives_the_same_losses(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    parts = tmp_path / "parts"
    status = train(tmp_path, runs={"whole": None, "parts": 2})
    message = " ".join(capfd.readouterr().err.split())
    whole, stopped = written(tmp_path / "whole"), written(parts)
    assert status == 130
    assert whole[0]["losses"] == whole[1]["losses"]
    assert all(result["data_time"] > 0.04 for result in whole)  # that of the slower one
    assert message.count("densepose: stopped by SIGTERM after 4 iterations") == 1
    assert (parts / "model_0000003.pth").is_file()
    assert train(tmp_path, runs={"parts": None}, resume=True) == 0
    resumed = written(parts)
    assert list(resumed[0]["losses"]) == [4, 5, 6, 7]
    for rank in (0, 1):
        assert {**stopped[rank]["losses"], **resumed[rank]["losses"]} == whole[rank]["losses"]


@pytest.mark.parametrize("kind", ["user", "fault", "killed"])
def test_one_that_fails_ends_all_with_one_message(
    kind: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    failed_at = tmp_path / "time"
    args = arguments(num_cpu_processes=2, kind=kind, failed_at=str(failed_at))
    assert launch(fail_in_second, args) == {"user": 1, "fault": 70, "killed": signal.SIGKILL}[kind]
    assert time.time() - float(failed_at.read_text()) < 60
    err = capfd.readouterr().err
    assert err.count("densepose: kind user") == (kind == "user")
    assert err.count("AttributeError: kind fault") == (kind == "fault")
    assert err.count("Traceback") == (kind == "fault")
    assert ("process 1 was ended by SIGKILL" in caplog.text) == (kind == "killed")


def test_the_loss_of_a_killed_process_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    def main(*args: Any) -> None:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:5")

    monkeypatch.setattr(run, "main", main)
    monkeypatch.setattr(run, "first_failure", lambda: nullcontext(True))
    monkeypatch.setattr(run.comm, "get_world_size", lambda: 2)
    assert run.run_process(arguments()) == 70
    err = capfd.readouterr().err
    assert "densepose: another process of the run was ended" in err and "Traceback" not in err


SCRIPT = """
import sys
import threading
from argparse import Namespace
from densepose.engine.processes import launch
from tests.support.processes_of_lines import fail_in_second
args = Namespace(num_gpus=1, num_cpu_processes=2, kind="user", failed_at=sys.argv[1])
sys.exit(launch(fail_in_second, args))
"""


def test_one_that_fails_below_torchrun_ends_all(tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(tmp_path / "time")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1
    assert time.time() - float((tmp_path / "time").read_text()) < 60
    assert done.stderr.count("densepose: kind user") == 1


def test_more_gpus_than_there_are_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="but 0 CUDA devices were found; --num-cpu-processes N"):
        launch(fail_in_second, arguments(num_gpus=4))
    with pytest.raises(ValueError, match="exclude each other"):
        launch(fail_in_second, arguments(num_gpus=2, num_cpu_processes=2))
    with pytest.raises(ValueError, match="--num-machines 2 needs --dist-url"):
        launch(fail_in_second, arguments(num_machines=2))


def test_the_others_wait_until_the_first_failure_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 2)
    monkeypatch.setattr(processes_module.comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed.distributed_c10d, "_get_default_store", lambda: store)
    order = []

    def second() -> None:
        with processes_module.first_failure() as first:
            order.append(first)

    with processes_module.first_failure() as first:
        other = threading.Thread(target=second)
        other.start()
        other.join(timeout=0.5)
        order.append(first)
    other.join()
    assert order == [True, False]
