"""DP-FCN from a config file to the scores of DensePose-RCNN's evaluator."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from densepose.cli.__main__ import run_verb
from densepose.evaluation.predictions import prediction_paths, read_prediction, write_prediction
from tests.support import ROOT
from tests.support.training import options

WHOLE = str(ROOT / "tests" / "configs" / "dp_fcn_cpu.yaml")
CROPS = str(ROOT / "tests" / "configs" / "teacher_cpu.yaml")


CHANGES = {
    "SOLVER.MAX_ITER": 2,
    "TEST.EVAL_PERIOD": 0,
    "DENSEPOSE_EVALUATION.STORAGE": "file",
}


@pytest.fixture(scope="module")
def trained(tiny_coco, tmp_path_factory) -> dict[str, Path]:
    """Output folders of both kinds of network after two steps and an evaluation."""
    folders = {}
    for config in (WHOLE, CROPS):
        folders[config] = tmp_path_factory.mktemp("run")
        words = options(tiny_coco, folders[config], **CHANGES)
        assert run_verb("train", ["--config-file", config, *words]) == 0
    return folders


def scores(output: Path) -> dict[str, dict[str, float]]:
    return json.loads((output / "inference" / "metrics.json").read_text())["results"]["tiny"]


@pytest.mark.parametrize("config", [WHOLE, CROPS], ids=["whole images", "crops"])
def test_annotated_people_are_scored_by_the_same_evaluator(trained, config: str):
    result = scores(trained[config])
    assert {"densepose_gps", "densepose_gpsm", "densepose_points"} <= set(result)
    assert result["densepose_points"]["points_of_found_people"] == pytest.approx(1.0)


def evaluate(tiny_coco, trained: Path, output: Path, **changes: object) -> int:
    words = options(tiny_coco, output, **{"MODEL.WEIGHTS": trained / "model_final.pth", **changes})
    return run_verb("evaluate", ["--config-file", WHOLE, "--save-predictions", *words])


def test_boxes_of_a_detector_are_taken_with_their_scores(trained, tiny_coco, tmp_path: Path):
    detector = trained[CROPS] / "inference" / "tiny" / "predictions"
    people = {"MODEL.DP_FCN.PEOPLE": detector}
    assert evaluate(tiny_coco, trained[WHOLE], tmp_path, **people) == 0
    made = prediction_paths(tmp_path / "inference" / "tiny" / "predictions")
    given = prediction_paths(detector)
    assert [path.name for path in made] == [path.name for path in given]
    for a, b in zip(made, given, strict=True):
        boxes = read_prediction(a).boxes_xyxy_px, read_prediction(b).boxes_xyxy_px
        assert boxes[0] == pytest.approx(boxes[1], abs=0.01)
    unsure = shutil.copytree(detector, tmp_path / "unsure")
    for path in given:
        prediction = read_prediction(path)
        halved = replace(prediction, scores=prediction.scores / 2)
        write_prediction(unsure / path.name, halved)
    people = {"MODEL.DP_FCN.PEOPLE": unsure, "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.6}
    assert evaluate(tiny_coco, trained[WHOLE], tmp_path / "none", **people) == 0
    nobody = prediction_paths(tmp_path / "none" / "inference" / "tiny" / "predictions")
    assert all(len(read_prediction(path)) == 0 for path in nobody)


def test_predictions_of_other_images_are_refused(trained, tiny_coco, tmp_path: Path, capsys):
    detector = trained[CROPS] / "inference" / "tiny" / "predictions"
    copy = tmp_path / "some"
    copy.mkdir()
    for path in detector.iterdir():
        if not path.name.endswith("3.npz"):
            (copy / path.name).write_bytes(path.read_bytes())
    people = {"MODEL.DP_FCN.PEOPLE": copy}
    assert evaluate(tiny_coco, trained[WHOLE], tmp_path / "out", **people) == 1
    assert "no predictions for image 3" in capsys.readouterr().err


def test_people_are_connected_foreground_where_nobody_names_them(trained, tiny_coco, tmp_path):
    people = {"MODEL.DP_FCN.PEOPLE": "foreground"}
    assert evaluate(tiny_coco, trained[WHOLE], tmp_path, **people) == 0
    assert "densepose_gps" in scores(tmp_path)


def test_crops_without_boxes_contradict_themselves(trained, tiny_coco, tmp_path, capsys):
    words = options(tiny_coco, tmp_path, **{"MODEL.DP_FCN.PEOPLE": "foreground"})
    assert run_verb("train", ["--config-file", CROPS, *words]) == 1
    assert "crops need boxes" in capsys.readouterr().err
