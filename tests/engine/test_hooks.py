from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from detectron2.utils.events import EventStorage

from densepose.engine.best import BestCheckpoint
from densepose.engine.hooks import (
    CheckpointHook,
    EvaluationHook,
    InterruptHook,
    continue_metrics,
)


def run(hook: object, *, steps: int, max_iter: int, start: int = 0) -> None:
    trainer = SimpleNamespace(iter=start, start_iter=start, max_iter=max_iter)
    hook.trainer = trainer
    with EventStorage(start) as trainer.storage:
        hook.before_train()
        for trainer.iter in range(start, start + steps):
            hook.after_step()
        trainer.iter += 1
        hook.after_train()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.pth"))


@pytest.mark.parametrize(
    ("keep", "expected"), [(0, ["0000001", "0000003", "0000005"]), (2, ["0000003", "0000005"])]
)
def test_checkpoints_come_periodically_and_at_the_end(
    tmp_path: Path, keep: int, expected: list[str]
):
    run(CheckpointHook(tmp_path, lambda: {"model": {}}, period=2, keep=keep), steps=7, max_iter=7)
    assert names(tmp_path) == [f"model_{number}.pth" for number in expected] + ["model_final.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"


def test_later_checkpoints_of_an_older_run_are_not_touched(tmp_path: Path):
    (tmp_path / "model_0000099.pth").write_bytes(b"")
    run(CheckpointHook(tmp_path, lambda: {"model": {}}, period=1, keep=1), steps=3, max_iter=9)
    assert names(tmp_path) == ["model_0000002.pth", "model_0000099.pth"]


def test_a_signal_saves_after_the_step_and_gives_the_handler_back(tmp_path: Path):
    before = signal.getsignal(signal.SIGTERM)
    checkpoints = CheckpointHook(tmp_path, lambda: {"model": {}}, period=0, keep=0)
    hook = InterruptHook(checkpoints)
    hook.trainer = checkpoints.trainer = SimpleNamespace(iter=4, max_iter=9)
    hook.before_train()
    hook.after_step()
    os.kill(os.getpid(), signal.SIGTERM)
    assert names(tmp_path) == []
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        hook.after_step()
    assert names(tmp_path) == ["model_0000004.pth"]
    hook.after_train()
    assert signal.getsignal(signal.SIGTERM) is before


def test_evaluates_periodically_and_once_at_the_end(tmp_path: Path):
    seen: list[int] = []
    metrics = {"bbox": {"AP": 3.0, "APs": math.nan}}

    def evaluate() -> dict[str, dict[str, float]]:
        seen.append(hook.trainer.iter)
        return metrics

    hook = EvaluationHook(
        evaluate,
        period=2,
        best=BestCheckpoint(tmp_path, "bbox/AP"),
        weights=lambda: {"model": {}},
    )
    run(hook, steps=6, max_iter=6)
    assert seen == [1, 3, 6]
    assert hook.results == metrics
    assert list(hook.trainer.storage.latest()) == ["bbox/AP"]
    assert names(tmp_path) == ["model_best.pth"]


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


def test_a_new_run_sets_the_old_curve_aside(tmp_path: Path):
    path = tmp_path / "metrics.json"
    continue_metrics(path, start_iter=0)
    curve(path, {"iteration": 19, "total_loss": 1.0})
    continue_metrics(path, start_iter=0)
    assert not path.exists() and (tmp_path / "metrics.old.json").exists()
