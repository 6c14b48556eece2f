from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator

from densepose.config import get_densepose_cfg
from densepose.engine import evaluation
from densepose.engine.evaluation import brief_text, evaluate

SCORES = {
    "densepose_gpsm": {"AP": 12.345, "AP50": 20.0},
    "densepose_points": {"mean_gps": 0.4567, "auc30": math.nan},
}


class Recorder(DatasetEvaluator):
    """Notes what it is given."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def reset(self) -> None:
        self.seen.clear()

    def process(self, inputs: object, outputs: object) -> None:
        self.seen.append((inputs, outputs))

    def evaluate(self) -> dict[str, dict[str, float]]:
        return SCORES


class Doubler(nn.Linear):
    def forward(self, batch: int) -> tuple[int, bool, bool]:
        return 2 * batch, self.training, torch.is_grad_enabled()


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(evaluation, "build_evaluator", lambda cfg, name, folder: recorder)
    monkeypatch.setattr(evaluation, "build_test_loader", lambda cfg, name: [1, 2])
    return recorder


def config(folder: Path, *names: str) -> CfgNode:
    cfg = get_densepose_cfg()
    cfg.OUTPUT_DIR, cfg.DATASETS.TEST = str(folder), names
    return cfg


def test_predicts_in_eval_mode_without_gradients_and_gives_training_back(
    tmp_path: Path, recorder: Recorder
):
    model = Doubler(1, 1).train()
    assert evaluate(config(tmp_path, "a"), model, iteration=7) == SCORES
    assert recorder.seen == [(1, (2, False, False)), (2, (4, False, False))]
    assert model.training


def test_metrics_file_is_strict_json_by_data_set(tmp_path: Path, recorder: Recorder):
    assert set(evaluate(config(tmp_path, "a", "b"), Doubler(1, 1), iteration=7)) == {"a", "b"}
    text = (tmp_path / "inference" / "metrics.json").read_text()
    content = json.loads(text, parse_constant=lambda word: 1 / 0)
    assert (content["iteration"], list(content["results"])) == (7, ["a", "b"])
    assert content["results"]["a"]["densepose_points"] == {"mean_gps": 0.4567, "auc30": None}


def test_no_test_set_is_no_result(tmp_path: Path, recorder: Recorder):
    assert evaluate(config(tmp_path), Doubler(1, 1)) == {}
    assert list(tmp_path.iterdir()) == []


def test_brief_text_has_what_there_is():
    assert brief_text(SCORES) == "GPSm AP 12.35, mean GPS 0.457, AUC30 nan"
