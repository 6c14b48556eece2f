"""The training loop around a model of two numbers, so that whole runs take milliseconds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detectron2.config import CfgNode

from densepose.config import get_densepose_cfg
from densepose.engine.trainer import Trainer
from densepose.engine.weights import read_checkpoint


class Line(nn.Module):
    """Fits y = a x + b to the records of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.0))
        self.b = nn.Parameter(torch.tensor(0.0))

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        x, y = (torch.tensor([record[name] for record in batch]) for name in ("x", "y"))
        return {"loss_line": (self.a * x + self.b - y).square().mean()}


def batches(first: int = 0, bad_at: int | None = None) -> Iterator[list[dict[str, Any]]]:
    """Endless pairs of points of y = 2 x + 1, the same at the same iteration."""
    number = first
    while True:
        x = [math.sin(number), math.cos(3.0 * number)]
        values = [{"x": v, "y": 2 * v + 1, "image_id": number, "file_name": "f"} for v in x]
        if number == bad_at:
            values[0]["y"] = math.nan
        yield values
        number += 1


def config(folder: Path, **solver: Any) -> CfgNode:
    cfg = get_densepose_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.OUTPUT_DIR = str(folder)
    cfg.DATASETS.TEST = ()
    cfg.LOG_PERIOD = 1
    values = {
        "OPTIMIZER": "ADAMW",
        "BASE_LR": 0.1,
        "LR_SCHEDULER_NAME": "WarmupCosineLR",
        "WARMUP_ITERS": 2,
        "MAX_ITER": 8,
        "IMS_PER_BATCH": 2,
        **solver,
    }
    for key, value in values.items():
        cfg.SOLVER[key] = value
    cfg.SOLVER.EMA.ENABLED = True
    return cfg


def train(cfg: CfgNode, *, resume: bool = False, bad_at: int | None = None) -> Trainer:
    trainer = Trainer(cfg, model=Line())
    trainer.resume_or_load(resume=resume)
    trainer._data_loader = batches(trainer.start_iter, bad_at)
    trainer.train()
    return trainer


def curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path):
    whole = train(config(tmp_path / "whole"))
    # Saved after 4 and 6 steps, stopped by a NaN in the 8th; the last checkpoint is cut short.
    cfg = config(tmp_path / "parts", CHECKPOINT_PERIOD=2)
    with pytest.raises(FloatingPointError):
        train(cfg, bad_at=7)
    damaged = tmp_path / "parts" / "model_0000005.pth"
    damaged.write_bytes(damaged.read_bytes()[:-50])
    resumed = train(cfg, resume=True)
    assert resumed.start_iter == 4
    assert resumed.bare_model.state_dict() == whole.bare_model.state_dict()
    assert resumed.average.average == whole.average.average
    assert resumed.average.average != resumed.bare_model.state_dict()
    expected = curve(tmp_path / "whole")
    assert [line["iteration"] for line in expected] == list(range(8))
    for ours, theirs in zip(curve(tmp_path / "parts"), expected, strict=True):
        assert (ours["iteration"], ours["lr"]) == (theirs["iteration"], theirs["lr"])


def test_the_learning_rate_warms_up_and_decays(tmp_path: Path):
    train(config(tmp_path))
    rates = [line["lr"] for line in curve(tmp_path)]
    assert rates[0] == pytest.approx(0.1 / 1000)
    assert max(rates) == rates[2]
    assert rates[2:] == pytest.approx(
        [0.1 * (1 + math.cos(math.pi * n / 8)) / 2 for n in range(2, 8)]
    )


def test_checkpoints_hold_the_average_and_what_training_goes_on_with(tmp_path: Path):
    trainer = train(config(tmp_path))
    file = read_checkpoint(tmp_path / "model_final.pth")
    assert file["model"] == trainer.average.average
    assert file["train_model"] == trainer.bare_model.state_dict()
    assert file["iteration"] == 7
    assert "MAX_ITER: 8" in file["config"]


def test_nan_names_the_loss_and_the_images_and_leaves_a_snapshot(tmp_path: Path):
    with pytest.raises(FloatingPointError, match="iteration 3: loss_line = nan") as caught:
        train(config(tmp_path), bad_at=3)
    assert "images of the batch: 3 (f), 3 (f)" in str(caught.value)
    assert (tmp_path / "nonfinite_0000003_rank0.json").is_file()
    assert not (tmp_path / "model_final.pth").exists()
    assert [line["iteration"] for line in curve(tmp_path)] == [0, 1, 2]


def test_a_bad_step_is_skipped_where_that_is_allowed(tmp_path: Path):
    cfg = config(tmp_path, SKIP_NONFINITE_STEPS=1)
    trainer = train(cfg, bad_at=3)
    assert trainer.skips_left == 0
    assert all(value.isfinite() for value in trainer.bare_model.state_dict().values())
    assert len(curve(tmp_path)) == 8


def test_a_time_limit_ends_the_run_in_good_order(tmp_path: Path):
    trainer = train(config(tmp_path, MAX_MINUTES=1e-9, MAX_ITER=10**9))
    assert trainer.iter == 1
    assert (tmp_path / "model_final.pth").is_file()
    again = train(config(tmp_path, MAX_MINUTES=1e-9, MAX_ITER=10**9), resume=True)
    assert again.iter == again.start_iter == 1


def test_a_complete_run_is_not_trained_further(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    first = train(config(tmp_path))
    with caplog.at_level("INFO"):
        second = train(config(tmp_path), resume=True)
    assert "nothing is left to train" in caplog.text
    assert second.bare_model.state_dict() == first.bare_model.state_dict()


def test_weights_are_loaded_where_there_is_nothing_to_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    torch.save({"a": torch.tensor(5.0)}, tmp_path / "start.pth")
    cfg = config(tmp_path / "run", MAX_ITER=1, BASE_LR=0.0001)
    cfg.MODEL.WEIGHTS = str(tmp_path / "start.pth")
    with caplog.at_level("INFO"):
        trainer = train(cfg, resume=True)
    assert trainer.bare_model.a.item() == pytest.approx(5.0, abs=0.01)
    assert "has no checkpoint" in caplog.text
    assert "1 weights matched, 1 new" in (tmp_path / "run" / "load_report.txt").read_text()


def test_learns_the_line(tmp_path: Path):
    trainer = train(config(tmp_path, MAX_ITER=300, WARMUP_ITERS=10))
    assert trainer.bare_model.a.item() == pytest.approx(2.0, abs=0.05)
    assert trainer.bare_model.b.item() == pytest.approx(1.0, abs=0.05)
