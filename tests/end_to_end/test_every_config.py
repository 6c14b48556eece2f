"""A config of each family goes from ``tools/train_net.py`` to scores, made small.

Models of all configs: tests/modeling/test_paper_configs.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.training import SMALL, options, train_net

NAMES = (
    "multitask/masks_keypoints_R_50_FPN_s1x",
    "cascade/masks_keypoints_R_50_FPN_s1x",
    "cpu/cascade_keypoints_distilled",
    "dp_fcn/R_50_FPN_crops_figure_ground_s1x",
    "dp_fcn/R_101_C5_dilated_s1x",
    "teacher/R_50_FPN_s1x",
)


@pytest.mark.parametrize("name", NAMES)
def test_trains_and_is_evaluated(
    name: str, tiny_coco, tiny_inpainted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    changes = dict(SMALL)
    if "distilled" in name:
        changes["DATASETS.INPAINTED"] = tiny_inpainted
    words = options(tiny_coco, tmp_path, **changes)
    config = str(ROOT / "configs" / f"{name}.yaml")
    assert train_net(monkeypatch, "--config-file", config, *words) == 0
    written = json.loads((tmp_path / "inference" / "metrics.json").read_text())
    scores = written["results"]["tiny"]
    assert written["iteration"] == 2
    assert {"densepose_gps", "densepose_gpsm", "densepose_points", "bbox"} <= set(scores)
    assert ("mask_branch" in scores) == ("masks" in name)
    assert ("keypoints" in scores) == ("keypoints" in name)
    evaluation = json.loads((tmp_path / "inference/tiny/densepose_evaluation.json").read_text())
    by_boxes = "dp_fcn" in name or "teacher" in name
    assert evaluation["protocol"] == ("single" if by_boxes else "multi")
    losses = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    dense = any("loss_densepose_dense_U" in line for line in losses)
    assert dense == ("distilled" in name)
