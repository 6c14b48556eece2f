"""PoseTrack and Chimps through the evaluation; files without charts are refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.evaluation.evaluate import evaluate_densepose
from densepose.structures.prediction import ImagePrediction
from tests.support.other_datasets import write_form
from tests.support.tiny_dataset import doll_at
from tools.upstream.generated import generated_surface

Tiny = tuple[Path, Path]


def perfect(image: dict, people: list[dict]) -> ImagePrediction:
    """The dolls of an image, as drawn, in boxes of whole pixels; each has a score of its own."""
    boxes, labels, uvs = [], [], []
    for person in people:
        x, y, w, h = person["bbox"]
        left, top = int(x), int(y)
        width, height = int(np.ceil(x + w)) - left, int(np.ceil(y + h)) - top
        rows, columns = np.indices((height, width))
        place = (np.stack([columns + left + 0.5, rows + top + 0.5], axis=-1) - (x, y)) / (w, h)
        _, part, uv = doll_at(place.reshape(-1, 2), back=1.0 in person["dp_I"])
        boxes.append([left, top, left + width, top + height])
        labels.append(part.reshape(height, width).astype(np.uint8))
        steps = np.rint(np.clip(uv, 0, 1) * 255).astype(np.uint8)
        uvs.append(np.moveaxis(steps.reshape(height, width, 2), -1, 0))
    return ImagePrediction(
        image_id=image["id"],
        image_size=(image["height"], image["width"]),
        boxes_xyxy_px=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, len(boxes)).astype(np.float32),
        labels=labels,
        uv=uvs,
    )


def scored(tiny: Tiny, name: str, folder: Path):
    """Scores of perfect predictions, and what the file holds."""
    path = folder / "truth.json"
    data = write_form(tiny, name, path, folder / "images")
    predictions = []
    for image in data["images"]:
        people = [a for a in data["annotations"] if a["image_id"] == image["id"]]
        predictions.append(perfect(image, [a for a in people if "dp_I" in a]))
    surface = generated_surface(vertices_per_part=300)
    return evaluate_densepose(path, predictions, surface, detection_scores=False), data


@pytest.mark.parametrize(
    "name", ["posetrack2017_val", "densepose_chimps", "densepose_coco_2014_train_cse"]
)
def test_true_predictions_score_high(name: str, tiny_coco: Tiny, tmp_path: Path):
    result, data = scored(tiny_coco, name, tmp_path)
    # Three points a chimpanzee: one on the seam of two parts weighs a third.
    assert result.tables["densepose_gps"]["AP50"] > 99
    assert result.tables["densepose_gpsm"]["AP50"] > 99
    assert result.counts["images"] == len(data["images"])


def test_people_in_regions_to_ignore_do_not_count(tiny_coco: Tiny, tmp_path: Path):
    path = tmp_path / "truth.json"
    data = write_form(tiny_coco, "posetrack2017_val", path, tmp_path / "images")
    surface = generated_surface(vertices_per_part=20)
    missed = evaluate_densepose(path, [], surface, detection_scores=False)
    assert missed.tables["densepose_gps"]["AR"] == 0
    for image in data["images"]:
        w, h = image["width"], image["height"]
        image |= {"ignore_regions_x": [[0, w, w, 0]], "ignore_regions_y": [[0, 0, h, h]]}
    nobody = evaluate_densepose(data, [], surface, detection_scores=False)
    assert np.isnan(nobody.tables["densepose_gps"]["AR"])


def test_files_without_charts_are_refused_with_a_reason(tiny_coco: Tiny, tmp_path: Path):
    path = tmp_path / "truth.json"
    write_form(tiny_coco, "densepose_chimps_cse_train", path, tmp_path / "images")
    with pytest.raises(
        InputError, match=r"truth.json: annotation 1 has points on vertices of a mesh"
    ):
        evaluate_densepose(path, [], generated_surface(vertices_per_part=20))
    assert "dp_vertex" in json.loads(path.read_text())["annotations"][0]
