"""A run of detectron2's own trainer, resumed by ``densepose train --resume``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.utils.events import EventWriter

from densepose.cli.__main__ import run_verb
from densepose.config import check_config, load_config
from densepose.data.registration import register_from_config
from densepose.engine.loaders import build_train_loader
from tests.support.tiny_dataset import write_tiny_densepose_coco
from tests.support.training import QUICK, options

SGD = {"SOLVER.OPTIMIZER": "SGD", "SOLVER.EMA.ENABLED": False, "DATASETS.TEST": ()}


class TheirTrainer(DefaultTrainer):
    """detectron2's, which has no loader of DensePose annotations."""

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return build_train_loader(cfg)

    def build_writers(self) -> list[EventWriter]:
        return []


def test_weights_optimizer_and_schedule_continue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = write_tiny_densepose_coco(tmp_path / "data", num_images=4)
    output = tmp_path / "out"
    output.mkdir()
    words = options(data, output, **SGD)
    cfg = load_config(QUICK, [*words, "MODEL.DEVICE", "cpu", "SOLVER.MAX_ITER", "2"])
    register_from_config(cfg)
    check_config(cfg)
    theirs = TheirTrainer(cfg)
    theirs.train()
    saved = torch.load(output / "model_final.pth", weights_only=True)
    assert saved["trainer"]["_trainer"]["optimizer"]["state"]

    more = ["--config-file", QUICK, "--resume", *words]
    assert run_verb("train", [*more, "SOLVER.MAX_ITER", "4"]) == 0
    curve = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    assert [line["iteration"] for line in curve if "total_loss" in line] == [2, 3]
    continued = torch.load(output / "model_final.pth", weights_only=True)
    assert continued["iteration"] == 3
    optimizer = continued["trainer"]["_trainer"]["optimizer"]
    assert len(optimizer["state"]) == len(saved["trainer"]["_trainer"]["optimizer"]["state"])
    assert continued["trainer"]["hooks"]["LRScheduler"]["last_epoch"] == 4

    assert run_verb("train", [*more, "SOLVER.MAX_ITER", "6", "SOLVER.OPTIMIZER", "ADAMW"]) == 1
    assert "SOLVER.OPTIMIZER" in capsys.readouterr().err
