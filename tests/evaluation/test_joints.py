"""Agreement of predicted parts with COCO keypoints: counts by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from densepose.cli.__main__ import main
from densepose.errors import InputError
from densepose.evaluation.joints import joint_agreement, parts_of_joints
from densepose.evaluation.predictions import PredictionWriter
from densepose.structures.body_parts import (
    KEYPOINT_NAMES,
    PART_NAMES,
    flipped_keypoints,
    flipped_parts,
)
from densepose.structures.prediction import ImagePrediction

LEFT_ARM, RIGHT_ARM = (
    PART_NAMES.index("left lower arm front"),
    PART_NAMES.index("right lower arm front"),
)


def test_joints_lie_on_parts_of_their_side():
    allowed = parts_of_joints()
    assert not allowed[:, 0].any() and allowed.any(axis=1).all()
    assert (allowed == allowed[flipped_keypoints()][:, flipped_parts()]).all()
    wrist = allowed[KEYPOINT_NAMES.index("left_wrist")]
    assert {name for name, on in zip(PART_NAMES, wrist, strict=True) if on} == {
        "left hand",
        "left lower arm front",
        "left lower arm back",
    }


def person(identity: int, box: list[float], joints: dict[str, tuple[float, float, int]]) -> dict:
    flat = [joints.get(name, (0, 0, 0)) for name in KEYPOINT_NAMES]
    return {
        "id": identity,
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": box,
        "area": box[2] * box[3],
        "num_keypoints": len(joints),
        "keypoints": [float(v) for triple in flat for v in triple],
    }


@pytest.fixture
def truth() -> dict:
    """Two people of 20 x 20 px; the second has nobody found for it, and a joint that is hidden."""
    first = person(
        1,
        [10, 10, 20, 20],
        {"left_wrist": (12, 12, 2), "right_wrist": (28, 12, 2), "left_knee": (12, 28.5, 2)},
    )
    first["segmentation"] = [[10, 10, 20, 10, 20, 30, 10, 30]]  # its left half
    second = person(2, [60, 10, 20, 20], {"nose": (70, 12, 2), "left_ear": (75, 12, 1)})
    return {
        "images": [{"id": 1, "file_name": "1.jpg", "height": 50, "width": 100}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [first, second],
    }


@pytest.fixture
def prediction() -> ImagePrediction:
    """Left arm everywhere in the upper half of the first box; a better score stands elsewhere."""
    label = np.zeros((20, 20), np.uint8)
    label[:10] = LEFT_ARM
    return ImagePrediction(
        image_id=1,
        image_size=(50, 100),
        boxes_xyxy_px=np.array([[30, 30, 50, 50], [10, 10, 30, 30], [60, 10, 80, 30]], np.float32),
        scores=np.array([0.99, 0.9, 0.3], np.float32),
        labels=(label, label, label),
        uv=(np.zeros((2, 20, 20), np.uint8),) * 3,
    )


def test_counts_by_hand(truth, prediction):
    result = joint_agreement(truth, [prediction])
    scores = result.to_dict()
    assert (scores["people"], scores["people_found"]) == (2, 1)  # a score of 0.3 is not found
    joints = scores["joints"]
    left = {"visible": 1, "found": 1.0, "on_body": 1.0, "right": 1.0, "other_side": 0.0}
    assert joints["left_wrist"] == left
    assert joints["right_wrist"] == {**left, "right": 0.0, "other_side": 1.0}
    assert joints["left_knee"] == {**left, "on_body": 0.0, "right": 0.0}
    assert joints["nose"] == {**dict.fromkeys(left, 0.0), "visible": 1}
    assert joints["left_ear"] == {**dict.fromkeys(left, None), "visible": 0}
    assert scores["all"] == pytest.approx(
        {"visible": 4, "found": 3 / 4, "on_body": 2 / 4, "right": 1 / 4, "other_side": 1 / 4}
    )
    # 100 of the 200 px on each side are shared.
    assert (scores["masks"], scores["mask_iou"]) == (1, pytest.approx(100 / 300))
    assert "1 of 2 people" in result.to_table()
    assert (scores["false_people"], scores["images"]) == (1, 1)  # the one at (30, 30)
    assert "1 false people in 1 image" in result.to_table()


def test_who_lies_in_a_crowd_or_on_a_person_without_keypoints_is_not_false(truth, prediction):
    others = [person(3, [20, 35, 50, 30], {}) | {"iscrowd": 1}, person(4, [29, 29, 30, 30], {})]
    for other in others:
        known = truth | {"annotations": [*truth["annotations"], other]}
        assert joint_agreement(known, [prediction]).to_dict()["false_people"] == 0
    beside = person(5, [41, 30, 30, 30], {})  # nine of twenty columns
    known = truth | {"annotations": [*truth["annotations"], beside]}
    assert joint_agreement(known, [prediction]).to_dict()["false_people"] == 1


def test_predictions_that_do_not_belong_to_the_file_are_refused(truth, prediction):
    for wrong, text in (
        ([replace(prediction, image_id=9)], "image 9, which is not in"),
        ([prediction, prediction], "image 1 is predicted twice"),
        ([replace(prediction, image_size=(50, 99))], "50 x 100 px"),
    ):
        with pytest.raises(InputError, match=text):
            joint_agreement(truth, wrong)


def test_an_image_without_prediction_counts(truth):
    scores = joint_agreement(truth, []).to_dict()
    assert (scores["people_found"], scores["all"]["visible"], scores["all"]["right"]) == (0, 4, 0.0)
    assert scores["mask_iou"] == 0


def test_the_command(truth, prediction, tmp_path, capsys):
    PredictionWriter(tmp_path / "found").write(prediction)
    (tmp_path / "person_keypoints.json").write_text(json.dumps(truth))
    words = [
        "score",
        str(tmp_path / "found"),
        "--keypoints",
        str(tmp_path / "person_keypoints.json"),
    ]
    assert main([*words, "--output", str(tmp_path / "scores.json")]) == 0
    assert "| left_wrist" in capsys.readouterr().out
    assert json.loads((tmp_path / "scores.json").read_text())["people_found"] == 1
    assert main(["score", str(tmp_path / "missing"), *words[2:]]) == 1
