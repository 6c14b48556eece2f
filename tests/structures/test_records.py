"""What records mean to the one reader of annotation files; broken ones: tests/inputs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from densepose.data.coco import check_annotations, load_densepose_coco
from densepose.evaluation.ground_truth import GroundTruth

Tiny = tuple[Path, Path]


@pytest.fixture(scope="module")
def sound(tiny_coco: Tiny) -> dict[str, Any]:
    return json.loads(tiny_coco[0].read_text())


def test_other_spellings_are_read_as_the_plain_ones(sound: dict, tiny_coco: Tiny, tmp_path: Path):
    data = copy.deepcopy(sound)
    for person in data["annotations"]:
        person |= {"id": str(person["id"]), "image_id": float(person["image_id"])}
        person |= {"iscrowd": None, "category_id": "1", "track_id": None}
    data["annotations"][0] |= {"iscrowd": "1", "area": None}
    for image in data["images"]:
        image |= {"id": str(image["id"]), "height": float(image["height"])}
    del data["categories"]
    path = tmp_path / "spelt.json"
    path.write_text(json.dumps(data))
    plain, spelt = (load_densepose_coco(p, tiny_coco[1], "x") for p in (tiny_coco[0], path))
    assert spelt[0]["annotations"][0].pop("iscrowd") == 1
    assert plain[0]["annotations"][0].pop("iscrowd") == 0
    assert spelt == plain
    truth = GroundTruth.load(path).people([1, 2])
    assert truth.crowd.tolist() == [True] + [False] * (len(truth) - 1)
    x, y, w, h = sound["annotations"][0]["bbox"]
    assert truth.areas_px[0] == w * h


def test_points_on_no_part_are_left_out_everywhere(sound: dict, tiny_coco: Tiny, tmp_path: Path):
    data = copy.deepcopy(sound)
    data["annotations"][0]["dp_I"][1] = 0
    path = tmp_path / "zero.json"
    path.write_text(json.dumps(data))
    person = load_densepose_coco(path, tiny_coco[1], "x", "error")[0]["annotations"][0]
    assert len(person["dp_I"]) == len(person["dp_U"]) == 77
    assert GroundTruth.load(path).people([1]).num_points[0] == 77


def test_boxes_that_are_corners_are_guessed(sound: dict, tiny_coco: Tiny, tmp_path: Path):
    data = copy.deepcopy(sound)
    for person in data["annotations"]:
        x, y, w, h = person["bbox"]
        person["bbox"] = [x + 40, y + 40, x + w + 40, y + h + 40]
    path = tmp_path / "corners.json"
    path.write_text(json.dumps(data))
    report = check_annotations(path, None)
    assert report.errors == ["box-inside-image"] and "are they corners" in report.summary()


def test_images_are_opened(sound: dict, tiny_coco: Tiny, tmp_path: Path):
    files = [tmp_path / image["file_name"] for image in sound["images"]]
    for path in files:
        path.write_bytes((tiny_coco[1] / path.name).read_bytes())
    files[0].write_bytes(files[0].read_bytes()[:-200])
    files[1].write_bytes(b"<html>")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.open(tiny_coco[1] / files[2].name).save(files[2], exif=turned)
    files[3].unlink()
    report = check_annotations(tiny_coco[0], tmp_path)
    assert report.counts == {"image-readable": 3, "image-file": 1}
    told = report.summary()
    assert "image 1" in told and "image file is truncated" in told and "image 2" in told
    assert "160 x 120 px (height, width) after its EXIF entry turned it" in told


def test_nobody_in_a_file_is_an_error(sound: dict, tiny_coco: Tiny, tmp_path: Path):
    path = tmp_path / "nobody.json"
    path.write_text(json.dumps(sound | {"annotations": []}))
    assert check_annotations(path, None).errors == ["annotation-any"]
    path.write_text(json.dumps({"images": sound["images"]}))  # a test set
    assert not check_annotations(path, None).errors


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 100_000, '"\\ud800"', "NaN", "\ufeff[]"])
def test_any_json_gives_a_message(text: str, tmp_path: Path):
    path = tmp_path / "odd.json"
    path.write_text('{"images": ' + text, encoding="utf-8")
    with pytest.raises(ValueError, match="odd.json: expected a"):
        check_annotations(path, None)
