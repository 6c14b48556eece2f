from __future__ import annotations

import contextlib
import io
import json
import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from densepose.evaluation.coco_detection import METRICS, DetectionCollector, encode_crop
from densepose.evaluation.detections import pack_detections
from densepose.evaluation.generated import generated_set
from densepose.evaluation.ground_truth import GroundTruth


def collect(made, truth: GroundTruth) -> DetectionCollector:
    collector = DetectionCollector()
    for prediction in made.predictions:
        size = truth.image_size(prediction.image_id)
        found = pack_detections([prediction], [size])
        collector.add([prediction.image_id], [size], found)
    return collector


def on_image(mask: np.ndarray, box: list[float], size: tuple[int, int]) -> np.ndarray:
    """A picture of the image with the mask in its box, pixel by pixel."""
    image = np.zeros(size, np.uint8, order="F")
    left, top = math.floor(box[0]), math.floor(box[1])
    for y, x in np.argwhere(mask) + (top, left):
        inside = 0 <= y < min(size[0], int(box[1] + box[3]))
        image[y, x] |= inside if 0 <= x < min(size[1], int(box[0] + box[2])) else 0
    return image


def plain_pycocotools(made, kind: str, folder) -> list[float]:
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
def test_agrees_with_pycocotools_through_files(kind, tmp_path, capsys):
    made = generated_set("noisy", num_images=8)
    truth = GroundTruth(made.ground_truth, "truth")
    got = collect(made, truth).scores(truth)[kind]
    np.testing.assert_array_equal(list(got.values()), plain_pycocotools(made, kind, tmp_path))
    assert list(got) == list(METRICS) and got["AP50"] > 50
    assert capsys.readouterr().out == ""


def test_people_without_segmentation_are_counted_and_left_out_of_mask_ap(caplog):
    made = generated_set("easy", num_images=5)
    made.ground_truth["annotations"][0]["segmentation"] = []
    truth = GroundTruth(made.ground_truth, "truth.json")
    scores = collect(made, truth).scores(truth)
    assert "truth.json: 1 of" in caplog.text and "have no segmentation" in caplog.text
    assert scores["bbox"]["AR100"] > 90


def test_no_detections_score_zero_and_no_people_nothing():
    made = generated_set("easy", num_images=2)
    truth = GroundTruth(made.ground_truth, "truth")
    assert DetectionCollector().scores(truth)["bbox"]["AP"] == 0
    empty = GroundTruth(made.ground_truth | {"annotations": []}, "truth")
    assert all(np.isnan(v) for v in collect(made, empty).scores(empty)["segm"].values())


def test_a_crop_is_encoded_at_its_place():
    labels = np.array([[9, 9, 9, 9], [9, 7, 0, 9], [9, 2, 3, 9]], np.uint8)
    runs, area = encode_crop(labels, np.array([2, 3, 2, 2, 1, 1]), (5, 6))
    assert runs["size"] == [5, 6] and area == 3
    assert np.argwhere(coco_mask.decode(runs)).tolist() == [[2, 3], [3, 3], [3, 4]]


def test_run_lengths_are_those_of_pycocotools():
    rng = np.random.default_rng(5)
    for share in (0.0, 0.02, 0.5, 0.98, 1.0):
        for _ in range(20):
            height, width = rng.integers(1, 40, 2)
            rows, columns = rng.integers(0, height + 1), rng.integers(0, width + 1)
            top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
            labels = (rng.uniform(size=(rows, columns)) < share).astype(np.uint8) * 5
            whole = np.zeros((height, width), np.uint8, order="F")
            whole[top : top + rows, left : left + columns] = labels > 0
            crop = np.array([top, left, rows, columns, 0, 0])
            runs, area = encode_crop(labels, crop, (int(height), int(width)))
            assert runs["counts"] == coco_mask.encode(whole)["counts"]
            assert area == whole.sum()
