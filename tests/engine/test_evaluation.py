from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from densepose.config import get_densepose_cfg
from densepose.data.registration import register_from_config
from densepose.engine import evaluation
from densepose.engine.evaluation import brief_text, build_evaluator, view_symmetry
from densepose.errors import InputError
from densepose.evaluation.evaluator import DensePoseEvaluator
from densepose.structures.prediction import ImagePrediction
from tests.support.predictions import prediction
from tests.support.tiny_dataset import write_tiny_densepose_coco
from tools.upstream.generated import generated_set, generated_surface

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
        return dict(SCORES)


class Doubler(nn.Linear):
    def forward(self, batch: int) -> tuple[int, bool, bool]:
        return 2 * batch, self.training, torch.is_grad_enabled()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def evaluate(cfg: CfgNode, model: nn.Module, recorder: Recorder):
    return evaluation.evaluate(
        cfg,
        model,
        build_evaluator=lambda cfg, name, folder: recorder,
        build_test_loader=lambda cfg, name: [1, 2],
    )


def config(folder: Path, *names: str) -> CfgNode:
    cfg = get_densepose_cfg()
    cfg.OUTPUT_DIR, cfg.DATASETS.TEST = str(folder), names
    return cfg


def test_predicts_in_eval_mode_without_gradients_and_gives_training_back(
    tmp_path: Path, recorder: Recorder
):
    model = Doubler(1, 1).train()
    assert evaluate(config(tmp_path, "a"), model, recorder) == SCORES
    assert recorder.seen == [(1, (2, False, False)), (2, (4, False, False))]
    assert model.training


def test_metrics_file_is_strict_json_by_data_set(tmp_path: Path, recorder: Recorder):
    with EventStorage(6):  # within the seventh step
        assert set(evaluate(config(tmp_path, "a", "b"), Doubler(1, 1), recorder)) == {"a", "b"}
    text = (tmp_path / "inference" / "metrics.json").read_text()
    content = json.loads(text, parse_constant=lambda word: 1 / 0)
    assert (content["iteration"], list(content["results"])) == (7, ["a", "b"])
    assert content["results"]["a"]["densepose_points"] == {"mean_gps": 0.4567, "auc30": None}


def test_no_test_set_is_no_result(tmp_path: Path, recorder: Recorder):
    assert evaluate(config(tmp_path), Doubler(1, 1), recorder) == {}
    assert list(tmp_path.iterdir()) == []


def test_brief_text_has_what_there_is():
    assert brief_text(SCORES) == "GPSm AP 12.35, mean GPS 0.457, AUC30 nan"
    assert brief_text({"shoes": {"size": 47.0}, "empty": {}}) == "shoes size 47.00"


def test_several_views_stand_beside_the_plain_scores(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evaluation, "_augmented", lambda cfg, model, name: model)
    cfg = config(tmp_path, "a", "b")
    cfg.TEST.AUG.ENABLED = True
    both = SCORES | {f"{task}_TTA": row for task, row in SCORES.items()}
    assert evaluate(cfg, Doubler(1, 1), recorder) == {"a": both, "b": both}
    assert (tmp_path / "inference_TTA" / "metrics.json").is_file()
    with EventStorage(6):  # before the end of a training
        assert evaluate(cfg, Doubler(1, 1), recorder) == {"a": SCORES, "b": SCORES}


def test_data_sets_of_other_code_have_an_evaluator(tmp_path: Path):
    made = generated_set("easy", num_images=1).ground_truth
    (tmp_path / "truth.json").write_text(json.dumps(made))
    register_coco_instances("of_a_user", {}, str(tmp_path / "truth.json"), str(tmp_path))
    DatasetCatalog.register("of_a_function", list)
    MetadataCatalog.get("of_a_function").set(thing_classes=["person"])
    try:
        cfg = get_densepose_cfg()
        cfg.MODEL.DENSEPOSE_ON = True
        assert isinstance(build_evaluator(cfg, "of_a_user", tmp_path), DensePoseEvaluator)
        assert isinstance(build_evaluator(cfg, "of_a_function", tmp_path), DensePoseEvaluator)
        cfg.MODEL.DENSEPOSE_ON = False
        assert isinstance(build_evaluator(cfg, "of_a_user", tmp_path), COCOEvaluator)
    finally:
        for name in ("of_a_user", "of_a_function"):
            DatasetCatalog.remove(name)
            MetadataCatalog.pop(name, None)


@pytest.mark.parametrize("densepose", [True, False])
@pytest.mark.usefixtures("catalog_as_before")
def test_missing_images_do_not_count_as_missed(
    densepose: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    annotations, images = write_tiny_densepose_coco(tmp_path / "tiny", num_images=5)
    content = json.loads(annotations.read_text())
    keys = ("id", "image_id", "category_id", "bbox")  # all that are needed
    for person in content["annotations"][:2]:
        for key in set(person) - set(keys):
            del person[key]
    annotations.write_text(json.dumps(content))
    (images / content["images"][3]["file_name"]).unlink()
    cfg = config(tmp_path, "tiny")
    cfg.MODEL.DENSEPOSE_ON = densepose
    entry = {"NAME": "tiny", "ANNOTATIONS": str(annotations), "IMAGES": str(images)}
    cfg.DATASETS.REGISTER = [{**entry, "SURFACE": "template"}]
    register_from_config(cfg)
    small = generated_surface(vertices_per_part=20)
    monkeypatch.setattr(evaluation, "_surface", lambda *_: small)
    evaluator = build_evaluator(cfg, "tiny", tmp_path / "out")
    if densepose:  # the network's maps are not asked for
        evaluator._to_prediction = lambda instances, image_id: prediction_of(image_id, instances)
    evaluator.reset()
    for record in DatasetCatalog.get("tiny"):
        evaluator.process([record], [{"instances": everybody(record)}])
    scores = evaluator.evaluate()
    assert scores["bbox"]["AP"] == pytest.approx(100)
    if densepose:
        assert evaluator.result.counts["images"] == evaluator.result.num_predicted == 4
        assert "1 images of" in evaluator.result.warnings[0]
    cfg.DATASETS.REGISTER = [{**entry, "SURFACE": "template", "ON_BAD": "error"}]
    register_from_config(cfg)
    with pytest.raises(InputError, match="image 4: .* does not exist"):
        build_evaluator(cfg, "tiny", tmp_path / "out").reset()


def everybody(record: dict) -> Instances:
    """Detections at the annotated boxes of a dataset dict."""
    boxes = torch.tensor([person["bbox"] for person in record["annotations"]])
    boxes[:, 2:] += boxes[:, :2]
    count = len(boxes)
    return Instances(
        (record["height"], record["width"]),
        pred_boxes=Boxes(boxes),
        scores=torch.ones(count),
        pred_classes=torch.zeros(count, dtype=torch.int64),
    )


def prediction_of(image_id: int, found: Instances) -> ImagePrediction:
    boxes = found.pred_boxes.tensor.tolist()
    made = prediction(*((tuple(box), 1.0, 2) for box in boxes), size=found.image_size)
    return replace(made, image_id=image_id)


@pytest.fixture
def unplaced():
    """Name of a data set that says nothing about a surface."""
    DatasetCatalog.register("without_surface", list)
    yield "without_surface"
    DatasetCatalog.remove("without_surface")
    MetadataCatalog.pop("without_surface", None)


def test_flipped_views_need_a_surface(unplaced: str):
    cfg = get_densepose_cfg()
    with pytest.raises(ValueError, match="'without_surface' nor DATASETS.TRAIN is annotated on a"):
        view_symmetry(cfg, unplaced)
    cfg.TEST.AUG.FLIP = False
    assert view_symmetry(cfg, unplaced) is None
