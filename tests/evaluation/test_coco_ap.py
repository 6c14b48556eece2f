from __future__ import annotations

import contextlib
import io
import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from densepose.evaluation.coco_ap import KEYPOINT_METRICS, METRICS, CocoScores
from densepose.evaluation.evaluate import evaluate_densepose
from densepose.evaluation.ground_truth import GroundTruth
from densepose.evaluation.pairs import pack_detections
from densepose.evaluation.predictions import PredictionWriter, read_prediction
from densepose.structures.prediction import ImagePrediction
from tools.upstream.generated import GeneratedSet, generated_set, generated_surface


def scores_of(made, truth: GroundTruth | None = None) -> dict[str, dict[str, float]]:
    """Of images that are added two at a time, in two lots that are merged."""
    truth = GroundTruth(made.ground_truth, "truth") if truth is None else truth
    lots = CocoScores(), CocoScores()
    for start in range(0, len(made.predictions), 2):
        images = made.predictions[start : start + 2]
        people = truth.people([prediction.image_id for prediction in images])
        sizes = [truth.image_size(prediction.image_id) for prediction in images]
        lots[start // 2 % 2].add(images, people, pack_detections(images, sizes))
    lots[0].merge(lots[1])
    return lots[0].tables(truth)


def on_image(mask: np.ndarray, box: list[float], size: tuple[int, int]) -> np.ndarray:
    """A picture of the image with the mask in its box, pixel by pixel."""
    image = np.zeros(size, np.uint8, order="F")
    left, top = math.floor(box[0]), math.floor(box[1])
    for y, x in np.argwhere(mask) + (top, left):
        inside = 0 <= y < min(size[0], int(box[1] + box[3]))
        image[y, x] |= inside if 0 <= x < min(size[1], int(box[0] + box[2])) else 0
    return image


def through_files(made, kind: str, folder) -> list[float]:
    """pycocotools used as its own documentation does, through files."""
    results = []
    for prediction in made.predictions:
        found = pack_detections([prediction], [prediction.image_size])
        for box, score, labels in zip(
            found.boxes_xywh_px.tolist(), found.scores.tolist(), found.labels, strict=True
        ):
            runs = coco_mask.encode(on_image(labels > 0, box, prediction.image_size))
            runs = {"size": runs["size"], "counts": runs["counts"].decode()}
            shape = {"bbox": box} if kind == "bbox" else {"segmentation": runs}
            common = {"image_id": prediction.image_id, "category_id": 1, "score": score}
            results.append(common | shape)
    for name, value in (("truth", made.ground_truth), ("results", results)):
        (folder / f"{name}.json").write_text(json.dumps(value))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(folder / "truth.json")
        run = COCOeval(truth, truth.loadRes(str(folder / "results.json")), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [np.nan if value < 0 else value * 100 for value in run.stats]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_boxes_and_masks_agree_with_pycocotools_through_files(kind, tmp_path, capsys):
    made = generated_set("noisy", num_images=8)
    truth = GroundTruth(made.ground_truth, "truth")
    got = scores_of(made, truth)[kind]
    np.testing.assert_array_equal(list(got.values()), through_files(made, kind, tmp_path))
    assert list(got) == list(METRICS) and got["AP50"] > 50
    assert capsys.readouterr().out == ""


def test_people_without_segmentation_are_counted_and_left_out_of_mask_ap(caplog):
    made = generated_set("easy", num_images=5)
    made.ground_truth["annotations"][0]["segmentation"] = []
    truth = GroundTruth(made.ground_truth, "truth.json")
    scores = scores_of(made, truth)
    assert "truth.json: 1 of" in caplog.text and "have no segmentation" in caplog.text
    assert scores["bbox"]["AR100"] > 90


def test_no_detections_score_zero_and_no_people_nothing():
    made = generated_set("easy", num_images=2)
    truth = GroundTruth(made.ground_truth, "truth")
    assert CocoScores().tables(truth)["bbox"]["AP"] == 0
    empty = GroundTruth(made.ground_truth | {"annotations": []}, "truth")
    assert all(np.isnan(v) for v in scores_of(made, empty)["segm"].values())


def with_branches(made: GeneratedSet, noise_px: float = 8.0, unlabelled: int = 4) -> GeneratedSet:
    """Adds keypoints to people (but each fourth one), masks and keypoints to the predictions."""
    rng = np.random.default_rng(0)
    people = [dict(person) for person in made.ground_truth["annotations"]]
    for number, person in enumerate(people):
        x, y, w, h = person["bbox"]
        keypoints = np.zeros((17, 3))
        if (number + 1) % unlabelled:
            keypoints[:, :2] = rng.uniform(size=(17, 2)) * (w, h) + (x, y)
            keypoints[:, 2] = rng.integers(1, 3, 17)
        person["keypoints"] = keypoints.round(2).ravel().tolist()
        person["num_keypoints"] = int((keypoints[:, 2] > 0).sum())
    predictions = tuple(branches_of(one, people, rng, noise_px) for one in made.predictions)
    return GeneratedSet({**made.ground_truth, "annotations": people}, predictions)


def branches_of(
    prediction: ImagePrediction, people: list[dict], rng: np.random.Generator, noise_px: float
) -> ImagePrediction:
    mine = [p for p in people if p["image_id"] == prediction.image_id]
    masks, keypoints = [], []
    for box in prediction.boxes_xyxy_px:
        nearest = min(mine, key=lambda p: abs(np.array(p["bbox"])[:2] - box[:2]).sum())
        whole = np.zeros(prediction.image_size, np.uint8, order="F")
        x0, y0, x1, y1 = (box + rng.uniform(-6, 6, 4)).astype(int).clip(0)
        whole[y0:y1, x0:x1] = 1
        masks.append(coco_mask.encode(whole))
        moved = np.array(nearest["keypoints"]).reshape(17, 3) + (0.5, 0.5, 0)
        moved[:, :2] += rng.normal(0, noise_px, (17, 2))
        keypoints.append(moved)
    stacked = np.array(keypoints, np.float32).reshape(-1, 17, 3)
    return replace(prediction, masks=tuple(masks), keypoints_px=stacked)


def branches_through_files(made: GeneratedSet, kind: str, folder) -> list[float]:
    """pycocotools used as its own documentation does, through files."""
    results = []
    for prediction in made.predictions:
        for person, score in enumerate(prediction.scores.tolist()):
            common = {"image_id": prediction.image_id, "category_id": 1, "score": score}
            mask = prediction.masks[person]
            counted = prediction.keypoints_px[person].astype(np.float64) - (0.5, 0.5, 0)
            shape = {"segmentation": {"size": mask["size"], "counts": mask["counts"].decode()}}
            if kind == "keypoints":
                shape = {"keypoints": counted.ravel().tolist()}
            results.append(common | shape)
    for name, value in (("truth", made.ground_truth), ("results", results)):
        (folder / f"{name}.json").write_text(json.dumps(value))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(folder / "truth.json")
        run = COCOeval(truth, truth.loadRes(str(folder / "results.json")), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [np.nan if value < 0 else value * 100 for value in run.stats]


@pytest.mark.parametrize(("table", "kind"), [("mask_branch", "segm"), ("keypoints", "keypoints")])
def test_branches_agree_with_pycocotools_through_files(table: str, kind: str, tmp_path):
    made = with_branches(generated_set("noisy", num_images=12))
    got = scores_of(made)[table]
    np.testing.assert_array_equal(list(got.values()), branches_through_files(made, kind, tmp_path))
    assert list(got) == list(KEYPOINT_METRICS if kind == "keypoints" else METRICS)
    assert 5 < got["AP"] < 95


def test_keypoints_at_their_place_score_everything():
    made = with_branches(generated_set("easy", num_images=3), noise_px=0.0, unlabelled=10**6)
    assert scores_of(made)["keypoints"]["AP"] == pytest.approx(100)
    for one in made.predictions:
        one.keypoints_px[..., :2] += 60
    assert scores_of(made)["keypoints"]["AP"] < 20


def test_where_nobody_has_keypoints_there_is_no_score():
    made = with_branches(generated_set("easy", num_images=2))
    for person in made.ground_truth["annotations"]:
        person.pop("keypoints")
    assert all(np.isnan(value) for value in scores_of(made)["keypoints"].values())


def test_tables_are_there_only_for_branches_that_are_there():
    made = generated_set("easy", num_images=2)
    assert set(scores_of(made)) == {"bbox", "segm"}
    with_both = with_branches(made)
    result = evaluate_densepose(made.ground_truth, with_both.predictions, generated_surface())
    assert {"mask_branch", "keypoints"} <= set(result.tables)
    table = result.to_table()
    assert "OKS of the keypoint branch" in table and "mask IoU of the mask branch" in table
    # Each group of rows stands below the names of its own columns.
    row = next(line for line in table.splitlines() if "OKS" in line)
    header = table.splitlines()[table.splitlines().index(row) - 2]
    assert header.count("|") == row.count("|") and "AR75" in header


def test_images_without_prediction_count_as_missed_by_a_branch():
    made = with_branches(generated_set("easy", num_images=6))
    whole, half = scores_of(made), scores_of(replace(made, predictions=made.predictions[:3]))
    for table in whole:
        assert 0 < half[table]["AR100" if "AR100" in half[table] else "AR"] < 70 < 1e9
        assert list(half[table]) == list(whole[table])


def test_branches_are_written_and_read_back(tmp_path):
    made = with_branches(generated_set("noisy", num_images=2)).predictions[1]
    read = read_prediction(PredictionWriter(tmp_path).write(made))
    assert read.masks == made.masks and len(made.masks) > 1
    assert np.array_equal(read.keypoints_px, made.keypoints_px)
    empty = replace(
        made,
        boxes_xyxy_px=made.boxes_xyxy_px[:0],
        scores=made.scores[:0],
        labels=(),
        uv=(),
        masks=(),
        keypoints_px=made.keypoints_px[:0],
    )
    read = read_prediction(PredictionWriter(tmp_path).write(empty))
    assert read.masks == () and read.keypoints_px.shape == (0, 17, 3)


def test_outputs_that_do_not_fit_are_refused(tmp_path):
    made = with_branches(generated_set("easy", num_images=1)).predictions[0]
    with pytest.raises(ValueError, match="entries in masks"):
        replace(made, masks=())
    small = tuple({"size": [3, 3], "counts": mask["counts"]} for mask in made.masks)
    with pytest.raises(ValueError, match=r"masks must be \[360, 480\] px as the image, got \[3"):
        PredictionWriter(tmp_path).write(replace(made, masks=small))
    with pytest.raises(ValueError, match=r"keypoints must be \(N, K, 3\)"):
        PredictionWriter(tmp_path).write(replace(made, keypoints_px=made.keypoints_px[..., 0]))
    with pytest.raises(ValueError, match=r"shape \(N, 17, 3\), got \(\d+, 5, 3\)"):
        made = replace(made, keypoints_px=made.keypoints_px[:, :5])
        scores_of(GeneratedSet(generated_set("easy", num_images=1).ground_truth, (made,)))


def test_little_is_kept_of_a_person():
    made = generated_set("noisy", num_images=12)
    truth = GroundTruth(made.ground_truth, "truth")
    scores = CocoScores()
    people = truth.people(truth.image_ids)
    sizes = [truth.image_size(image_id) for image_id in truth.image_ids]
    predictions = sorted(made.predictions, key=lambda prediction: prediction.image_id)
    scores.add(predictions, people, pack_detections(predictions, sizes))
    assert len(pickle.dumps(scores)) < 400 * len(people)  # dictionaries of arrays: 9,000
