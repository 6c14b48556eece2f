"""One reader, one verdict: whatever a file holds, check-data, training and evaluation agree."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from densepose.data.coco import check_annotations, load_densepose_coco
from densepose.data.mapper import DensePoseMapper
from densepose.evaluation.ground_truth import GroundTruth
from densepose.evaluation.masks import people_masks

Tiny = tuple[Path, Path]
HUGE = 10**400
# What evaluation alone has a meaning for.
OWN = {"annotation-any"}
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 5, 255, 0.5, 7.0, HUGE, -HUGE, 2**62, 1e300),
    *(float("nan"), float("inf"), "", "1", "x", "\ud800", "b'12'", "../x.jpg", "a\0b"),
    *([], {}, [None], ["1"], [1, 2, 3], [[]], [{}], [[1, 2, 3, 4]], [["1"] * 6], [[HUGE] * 6]),
    *([float("nan")] * 4, [[float("nan")] * 6], [[1e8] * 6], [1.0] * 133 * 3),
    *({"counts": None, "size": None}, {"counts": "b'oPP'", "size": [120, 160]}),
    *({"counts": [1, 2], "size": [120, 160]}, {"counts": [120 * 160], "size": [120, 160]}),
    *({"counts": [-1, 120 * 160 + 1], "size": [120, 160]}, {"counts": [HUGE], "size": [1, 1]}),
    *({"counts": "\ud800", "size": [120, 160]}, {"counts": "P", "size": [HUGE, HUGE]}),
)


@pytest.fixture(scope="module")
def sound(tiny_coco: Tiny) -> dict[str, Any]:
    return json.loads(tiny_coco[0].read_text())


def verdicts(data: Any, images: Path, folder: Path) -> tuple[bool, ...]:
    """Whether check-data, strict loading and evaluation accept a file; what they accept is used."""
    path = folder / "some.json"
    path.write_text(json.dumps(data))
    try:
        report = check_annotations(path, images)
        str(report.summary()).encode(), json.dumps(report.to_dict())
        checked = not set(report.errors) - OWN
        if {"image-file", "image-readable"} & set(report.counts):
            return False, False, False  # evaluation opens no images
    except ValueError:
        checked = False
    try:
        truth = GroundTruth.load(path)
        people_masks(truth.people(truth.image_ids))
        scored = True
    except ValueError as error:
        # Which category is scored is a question of its own.
        scored = "is called 'person'" in str(error) and checked
    try:
        load_densepose_coco(path, images, "x", "error")
        strict = True
    except ValueError as error:
        strict = "annotation-any" in str(error) and checked
    # What is left out never stops training later.
    mapper = DensePoseMapper(True, augmentations=[], image_format="BGR", use_masks=True)
    try:
        records = load_densepose_coco(path, images, "x")
    except ValueError:
        records = []
    for record in records:
        mapper(record)
    return checked, strict, scored


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths of everything in a value; of long lists the first entries."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:3])
    found = []
    for key, entry in inner:
        found.append((*path, key))
        if isinstance(entry, (dict, list)):
            found += places(entry, (*path, key))
    return found


def changed(data: dict[str, Any], changes: list[tuple[tuple, Any]]) -> dict[str, Any]:
    data = copy.deepcopy(data)
    for path, value in changes:
        try:
            parent = data
            for step in path[:-1]:
                parent = parent[step]
            if value is DROP:
                del parent[path[-1]]
            else:
                parent[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change has taken the place away
    return data


DROP = object()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    chosen=st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, len(ODD))), min_size=1, max_size=3
    )
)
def test_any_change_of_a_file_gives_one_verdict(
    chosen: list[tuple[int, int]], tiny_coco: Tiny, tmp_path: Path
):
    sound = json.loads(tiny_coco[0].read_text())
    where, values = places(sound), (DROP, *ODD)
    data = changed(sound, [(where[place % len(where)], values[value]) for place, value in chosen])
    if data.get("annotations") is None:
        return  # a test set: sound for check-data, nothing to learn from or to score
    assert len(set(verdicts(data, tiny_coco[1], tmp_path))) == 1


def first(key: str, value: Any, of: str = "annotations") -> list[tuple[tuple, Any]]:
    return [((of, 0, key), value)]


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        (first("file_name", 5, "images"), False),
        (first("file_name", "\ud800.jpg", "images"), False),
        (first("file_name", "../images/000000000001.jpg", "images"), False),
        (first("bbox", [0, 0, HUGE, 5]), False),
        (first("dp_x", [HUGE]), False),
        (first("name", DROP, "categories"), True),  # called by its id
        ([(("categories",), DROP)], True),
        (first("segmentation", {"counts": None}), False),
        (first("segmentation", [["1", "2", "3", "4", "5", "6"]]), False),
        (first("segmentation", [[1.0, 2, 3, 4, 5, float("nan")]]), False),
        (first("segmentation", [[1.0, 2, 3, 4, 5, 6, 7]]), False),
        (first("segmentation", [[1.0, 2, 3, 4]]), True),  # no area, no part of the mask
        (first("segmentation", {"counts": [5, 7], "size": [120, 160]}), False),
        (first("segmentation", {"counts": [160 * 120], "size": [160, 120]}), False),
        (first("segmentation", {"counts": [5, 120 * 160 - 5], "size": [120, 160]}), True),
        (first("iscrowd", None), True),
        (first("iscrowd", "0"), True),
        (first("iscrowd", "maybe"), False),
        (first("area", DROP), True),
        (first("id", "1"), True),
        (first("image_id", 1.0), True),
        (first("width", "160", "images"), True),
        (first("keypoints", [1.0] * 399), False),
        ([(("annotations", 0, "dp_U"), [200.0] * 78)], False),
    ],
)
def test_odd_records_have_one_meaning(
    changes: list, accepted: bool, sound: dict, tiny_coco: Tiny, tmp_path: Path
):
    data = changed(sound, changes)
    assert verdicts(data, tiny_coco[1], tmp_path) == (accepted,) * 3


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
    data = changed(sound, [(("annotations", 0, "dp_I", 1), 0)])
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
