"""One reader, one verdict: whatever an annotation file holds, all commands agree about it.

The broken files are made from a sound one by the changes in ``CASES``. Each runs through
check-data, loading for training, what an evaluation reads before a run starts, and score.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from densepose.cli.__main__ import main
from densepose.config import get_densepose_cfg
from densepose.data.coco import check_annotations, load_densepose_coco
from densepose.data.mapper import DensePoseMapper
from densepose.data.registration import detection_file, register_from_config
from densepose.engine.evaluation import build_evaluator
from densepose.errors import InputError
from densepose.evaluation.ground_truth import GroundTruth
from densepose.evaluation.masks import people_masks
from densepose.evaluation.predictions import PredictionWriter
from densepose.surface import evaluation_surface
from tests.support.predictions import prediction
from tools.upstream.generated import generated_surface

Tiny = tuple[Path, Path]
Changes = list[tuple[tuple, Any]]
DROP = object()
HUGE = 10**400
NAN = float("nan")
WHOLE = {"counts": [5, 120 * 160 - 5], "size": [120, 160]}
ZIGZAG = [value for k in range(2000) for value in (1500 * (k % 2), 1500 * (k % 2))]


def first(key: str, value: Any, of: str = "annotations") -> Changes:
    return [((of, 0, key), value)]


def of_all(key: str, value: Any, of: str = "annotations") -> Changes:
    return [((of, index, key), value) for index in range(9 if of == "annotations" else 6)]


# What is changed in a sound file, and a part of the message; "" where the file stays sound.
CASES: dict[str, tuple[Changes, str]] = {
    "no area": (of_all("area", DROP), ""),
    "area is text": (first("area", "12"), "area is '12'"),
    "area is NaN": (first("area", NAN), "area is nan"),
    "no iscrowd": (of_all("iscrowd", DROP), ""),
    "iscrowd is null": (of_all("iscrowd", None), ""),
    "iscrowd is text": (of_all("iscrowd", "0"), ""),
    "iscrowd is a word": (first("iscrowd", "maybe"), "iscrowd is 'maybe'"),
    "ids are text": (first("id", "1"), ""),
    "ids are whole floats": (first("image_id", 1.0), ""),
    "ids are no whole numbers": (first("image_id", 1.5), "image_id is 1.5"),
    "sizes are text": (first("width", "160", "images"), ""),
    "an id occurs twice": (first("id", 2), "annotation-id-unique"),
    "no categories": ([(("categories",), DROP)], ""),
    "a category without a name": (first("name", DROP, "categories"), ""),
    "the only category has another name": (first("name", "human", "categories"), ""),
    "category 0, people 1": (first("id", 0, "categories"), "got category_id 1"),
    "a category that is not there": (first("category_id", 7), "got category_id 7"),
    "two categories of one id": ([(("categories",), [{"id": 1, "name": "a"}] * 2)], "share an id"),
    "an image that is not there": (first("image_id", 99), "got image_id 99"),
    "133 keypoints": (first("keypoints", [1.0] * 399), "keypoints is"),
    "U in 0..255": ([(("annotations", 0, "dp_U"), [200.0] * 78)], "dp_U is"),
    "points of one list are gone": (first("dp_V", DROP), "no dp_V"),
    "points beyond the grid": ([(("annotations", 0, "dp_x", 0), 300)], "dp_x is 300 at [0]"),
    "dp_masks of another size": ([(("annotations", 0, "dp_masks", 0, "size"), [9, 9])], "[9, 9]"),
    "box of corners beyond": (first("bbox", [200, 0, 220, 5]), "box overlaps the image"),
    "box of billions of pixels": (first("bbox", [0, 0, 1e9, 1e9]), "ten times as large"),
    "box without height": (first("bbox", [0, 0, 5, 0]), "w, h > 0"),
    "box of infinite width": (first("bbox", [0, 0, HUGE, 5]), "bbox is"),
    "counts as Python prints bytes": (
        first("segmentation", {"counts": "b'oPP1'", "size": [120, 160]}),
        "damaged or do not fill",
    ),
    "runs that do not fill the image": (
        first("segmentation", {"counts": [5, 7], "size": [120, 160]}),
        "runs do not fill",
    ),
    "mask of another size": (
        first("segmentation", {"counts": [160 * 120], "size": [160, 120]}),
        "got [160, 120], expected [120, 160]",
    ),
    "uncompressed runs": (first("segmentation", WHOLE), ""),
    "no counts": (first("segmentation", {"counts": None}), "segmentation is"),
    "polygon with NaN": (first("segmentation", [[1.0, 2, 3, 4, 5, NAN]]), "nan at [0][5]"),
    "polygon of text": (first("segmentation", [["1", "2", "3", "4", "5", "6"]]), "got str"),
    "polygon of an odd length": (first("segmentation", [[1.0, 2, 3, 4, 5, 6, 7]]), "odd number"),
    "polygon of two points": (first("segmentation", [[1.0, 2, 3, 4]]), ""),
    "polygon far away": (first("segmentation", [[0, 0, 0, 1e6, 1e6, 0]]), "far from the image"),
    "outline of millions of pixels": (first("segmentation", [ZIGZAG]), "px long"),
    "file above the folder": (first("file_name", "../a.jpg", "images"), "not a path below"),
    "file name is a number": (first("file_name", 5, "images"), "file_name is 5"),
    "file name that no disk has": (first("file_name", "\ud800.jpg", "images"), "not a path below"),
    "image of terapixels": (
        [*first("width", 2**20, "images"), *first("height", 2**20, "images")],
        "1048576 x 1048576 px",
    ),
    "is_labeled is a word": (first("is_labeled", "no", "images"), "is_labeled is 'no'"),
    "images is null": ([(("images",), None)], "with the lists images"),
    "an annotation is a number": ([(("annotations", 0), 5)], "id missing"),
}


def changed(data: dict[str, Any], changes: Changes) -> dict[str, Any]:
    data = copy.deepcopy(data)
    for path, value in changes:
        try:
            parent = data
            for step in path[:-1]:
                parent = parent[step]
            if value is DROP:
                del parent[path[-1]]
            else:
                parent[path[-1]] = copy.deepcopy(value)  # the next change may be inside it
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change has taken the place away
    return data


@pytest.fixture(scope="module")
def sound(tiny_coco: Tiny) -> dict[str, Any]:
    return json.loads(tiny_coco[0].read_text())


@pytest.fixture(scope="module")
def surface() -> Iterator[None]:
    """A small surface in place of the real one, for ``densepose score``."""
    small = functools.cache(lambda: generated_surface(vertices_per_part=20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_surface, "load_evaluation_surface", lambda *_: small())
        yield


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = PredictionWriter(tmp_path_factory.mktemp("found") / "predictions")
    writer.write(prediction(((20, 20, 90, 110), 0.9, 2), size=(120, 160)))
    return writer.folder


def config_of(path: Path, images: Path) -> CfgNode:
    cfg = get_densepose_cfg()
    entry = {"NAME": "case", "ANNOTATIONS": str(path), "IMAGES": str(images), "ON_BAD": "error"}
    cfg.DATASETS.REGISTER = [{**entry, "SURFACE": "template"}]
    register_from_config(cfg)
    return cfg


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("surface", "catalog_as_before")
def test_all_commands_agree(
    name: str,
    sound: dict,
    predicted: Path,
    tiny_coco: Tiny,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    changes, message = CASES[name]
    path, images = tmp_path / "case.json", tiny_coco[1]
    path.write_text(json.dumps(changed(sound, changes)))
    answers = {}
    for words in (
        ["check-data", str(path), "--images", str(images)],
        ["score", str(predicted), str(path)],
    ):
        status = main(words)
        printed = capsys.readouterr()
        answers[words[0]] = "" if status == 0 else printed.out + printed.err
    cfg = config_of(path, images)
    for reader, read in (
        ("loading", lambda: DatasetCatalog.get("case")),
        ("evaluation", lambda: build_evaluator(cfg, "case", tmp_path).check()),
        ("COCO's scores", lambda: detection_file("case", tmp_path)),
    ):
        try:
            read()
            answers[reader] = ""
        except InputError as error:
            answers[reader] = str(error)
    assert {reader: bool(answer) for reader, answer in answers.items()} == dict.fromkeys(
        answers, bool(message)
    )
    for answer in filter(None, answers.values()):
        assert message in answer and str(path) in answer and "Traceback" not in answer


def test_whole_paths_lie_below_the_folder(sound: dict, tiny_coco: Tiny, tmp_path: Path):
    """detectron2's converter writes them; evaluation opens no images."""
    path, images = tmp_path / "whole.json", tiny_coco[1]
    for name, is_sound in ((str(images / "000000000001.jpg"), True), ("/etc/passwd", False)):
        path.write_text(json.dumps(changed(sound, first("file_name", name, "images"))))
        assert (not check_annotations(path, images).errors) == is_sound
        assert len(load_densepose_coco(path, images, "x")) == 5 + is_sound
        assert len(GroundTruth.load(path).image_ids) == 6
        if not is_sound:
            with pytest.raises(InputError, match="'/etc/passwd' is not a path below the folder"):
                GroundTruth.load(path, image_root=images)


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 5, 255, 0.5, 7.0, HUGE, -HUGE, 2**62, 1e300, 1e9),
    *(NAN, float("inf"), "", "1", "x", "\ud800", "b'12'", "../x.jpg", "a\0b"),
    *([], {}, [None], ["1"], [1, 2, 3], [[]], [{}], [[1, 2, 3, 4]], [["1"] * 6], [[HUGE] * 6]),
    *([NAN] * 4, [[NAN] * 6], [[1e8] * 6], [1.0] * 133 * 3, [0, 0, 1e8, 1e8], [ZIGZAG]),
    *({"counts": None, "size": None}, {"counts": "b'oPP'", "size": [120, 160]}, WHOLE),
    *({"counts": [1, 2], "size": [120, 160]}, {"counts": [120 * 160], "size": [120, 160]}),
    *({"counts": [-1, 120 * 160 + 1], "size": [120, 160]}, {"counts": [HUGE], "size": [1, 1]}),
    *({"counts": "\ud800", "size": [120, 160]}, {"counts": "P", "size": [HUGE, HUGE]}),
)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths of everything in a value; of long lists the first entries."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:3])
    found = []
    for key, entry in inner:
        found.append((*path, key))
        if isinstance(entry, (dict, list)):
            found += places(entry, (*path, key))
    return found


def accepted(path: Path, images: Path) -> dict[str, bool]:
    """Whether check-data, strict loading and evaluation accept a file; what they accept is used."""

    def check() -> None:
        report = check_annotations(path, images)
        assert report.summary().encode() and json.dumps(report.to_dict())
        # A file without people gives no scores, and a warning.
        if wrong := set(report.errors) - {"annotation-any"}:
            raise InputError(str(wrong))

    def evaluate() -> None:
        truth = GroundTruth.load(path)
        people_masks(truth.people(truth.image_ids))

    answers = {}
    names = ("person",)
    for reader, read in (
        ("check", check),
        ("load", lambda: load_densepose_coco(path, images, "x", "error", class_names=names)),
        ("evaluate", evaluate),
    ):
        try:
            read()
            answers[reader] = True
        except InputError as error:
            answers[reader] = "annotation-any: " in str(error) and answers["check"]
    return answers


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    chosen=st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, len(ODD))), min_size=1, max_size=3
    )
)
def test_any_change_of_a_file_gives_one_verdict(
    chosen: list[tuple[int, int]], tiny_coco: Tiny, tmp_path: Path
):
    sound = json.loads(tiny_coco[0].read_text())  # no fixture: too long for a report
    where, values = places(sound), (DROP, *ODD)
    data = changed(sound, [(where[place % len(where)], values[value]) for place, value in chosen])
    if data.get("annotations") is None:
        return  # a test set: sound for check-data, nothing to learn from or to score
    path = tmp_path / "some.json"
    path.write_text(json.dumps(data))
    try:
        if {"image-file", "image-readable"} & set(check_annotations(path, tiny_coco[1]).counts):
            return  # evaluation opens no images
    except InputError:
        pass
    # What is skipped never stops training later.
    mapper = DensePoseMapper(True, augmentations=[], image_format="BGR", use_masks=True)
    try:
        records = load_densepose_coco(path, tiny_coco[1], "x")
    except InputError:
        records = []
    for record in records[:2]:
        mapper(record)
    assert len(set(accepted(path, tiny_coco[1]).values())) == 1
