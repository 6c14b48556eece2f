from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from densepose.evaluation.coco_detection import METRICS, DetectionCollector, encode_crop
from densepose.evaluation.detections import ImageDetections
from densepose.evaluation.foreground import MaskCrop
from densepose.evaluation.generated import generated_set
from densepose.evaluation.ground_truth import GroundTruth


def collect(made, truth: GroundTruth) -> DetectionCollector:
    collector = DetectionCollector()
    for prediction in made.predictions:
        size = truth.image_size(prediction.image_id)
        found = ImageDetections.from_prediction(prediction, size)
        crops = found.crops(size, towards_zero=False)
        collector.add(prediction.image_id, size, found.boxes_xywh_px, found.scores, crops)
    return collector


def plain_pycocotools(made, kind: str, folder) -> list[float]:
    """pycocotools used as its own documentation does, through files."""
    results = []
    for prediction in made.predictions:
        found = ImageDetections.from_prediction(prediction, prediction.image_size)
        crops = found.crops(prediction.image_size, towards_zero=False)
        for box, score, crop in zip(
            found.boxes_xywh_px.tolist(), found.scores.tolist(), crops, strict=True
        ):
            runs = encode_crop(crop, prediction.image_size)
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
    made = generated_set("noisy", num_images=25)
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
    runs = encode_crop(MaskCrop(np.array([[True, False], [True, True]]), 2, 3), (5, 6))
    assert runs["size"] == [5, 6]
    from pycocotools import mask as coco_mask

    assert np.argwhere(coco_mask.decode(runs)).tolist() == [[2, 3], [3, 3], [3, 4]]
