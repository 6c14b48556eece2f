from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from densepose.engine.nonfinite import nonfinite_message, nonfinite_names, write_snapshot

VALUES = {"loss_box_reg": 1.0, "loss_densepose_U": math.nan, "grad_norm": math.inf}
BATCH = [
    {"image_id": 7, "file_name": "a.jpg", "image": torch.zeros(3, 4, 5)},
    {"image_id": 9, "file_name": "b.jpg"},
]


def test_message_names_the_losses_and_the_images():
    message = nonfinite_message(12, VALUES, BATCH)
    assert message == (
        "iteration 12: loss_densepose_U = nan, grad_norm = inf;"
        " images of the batch: 7 (a.jpg), 9 (b.jpg)"
    )
    assert nonfinite_names({"loss": 1.0}) == []
    assert "a loss of another process" in nonfinite_message(12, {"loss": 1.0}, BATCH)


def test_snapshot_is_strict_json_with_everything(tmp_path: Path):
    path = write_snapshot(tmp_path, 12, VALUES, BATCH, rate=0.1, config="SEED: 1\nX: 2\n")
    assert path.name == "nonfinite_0000012_rank0.json"
    content = json.loads(path.read_text(), parse_constant=lambda word: 1 / 0)
    assert content["losses"] == {"loss_box_reg": 1.0, "loss_densepose_U": "nan", "grad_norm": "inf"}
    assert content["images"][0] == {
        "image_id": 7,
        "file_name": "a.jpg",
        "size": [3, 4, 5],
        "people": None,
    }
    assert content["config"] == ["SEED: 1", "X: 2"]
