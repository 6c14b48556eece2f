"""Every config of the paper's rows goes from ``tools/train_net.py`` to scores, made small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.modeling import test_branch_configs, test_fcn_configs

from .test_train_net import ROOT, options, train_net

NAMES = sorted({*test_branch_configs.NAMES, *test_fcn_configs.NAMES})
SMALL = {
    **test_branch_configs.TINY,
    **test_fcn_configs.SMALL_CROPS,
    "MODEL.RESNETS.NORM": "LN",  # needs no statistics to predict after two steps
    "INPUT.MIN_SIZE_TRAIN": (120,),
    "INPUT.MIN_SIZE_TEST": 120,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 20,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,  # after two steps nobody is surely a person
    "TEST.DETECTIONS_PER_IMAGE": 5,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.REFERENCE_BATCH_SIZE": 0,
    "SOLVER.BASE_LR": 1e-4,
    "SOLVER.STEPS": (),
    "SOLVER.MAX_ITER": 2,
    "SOLVER.CHECKPOINT_PERIOD": 100,
    "SOLVER.EMA.ENABLED": False,
    "TEST.EVAL_PERIOD": 0,
    "DATALOADER.NUM_WORKERS": 0,
}


@pytest.mark.parametrize("name", NAMES)
def test_trains_and_is_evaluated(
    name: str, tiny_coco, tiny_inpainted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    changes = dict(SMALL)
    if "distilled" in name:
        changes["DATASETS.INPAINTED"] = tiny_inpainted
    words = options(tiny_coco, tmp_path, **changes)
    config = str(ROOT / "configs" / name)
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
