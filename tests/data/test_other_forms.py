"""PoseTrack, Chimps, LVIS and the files for embeddings: loaded, checked and mapped."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog

from densepose.cli.__main__ import run_verb
from densepose.data.builtin_sets import ANIMALS
from densepose.data.coco import check_annotations, load_densepose_coco, training_records
from densepose.data.mapper import DensePoseMapper
from densepose.data.person_annotations import pack_annotations
from densepose.data.registration import register_builtin
from densepose.errors import InputError
from densepose.structures.records import POINT_KEYS
from tests.support.other_datasets import FORMS, write_form

Tiny = tuple[Path, Path]


@pytest.fixture(scope="module")
def sets(tiny_coco: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All sets where they are expected, by the names of detectron2; what their files hold."""
    root = tmp_path_factory.mktemp("datasets")
    register_builtin(root, on_bad="error")
    held = {}
    for name in FORMS:
        metadata = MetadataCatalog.get(name)
        held[name] = write_form(
            tiny_coco, name, Path(metadata.json_file), Path(metadata.image_root)
        )
    yield held
    register_builtin()


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_loaded_whole_and_keeps_every_rule(name: str, sets: dict, caplog: Any):
    with caplog.at_level(logging.INFO):
        records = DatasetCatalog.get(name)
    assert "every rule is kept" in caplog.text
    assert ("2 annotations of other categories are not read" in caplog.text) == ("lvis" in name)
    assert len(records) == 6 and all(Path(r["file_name"]).is_file() for r in records)
    source = {a["id"]: a for a in sets[name]["annotations"]}
    classes = {c["id"]: c["name"] for c in sets[name]["categories"]}
    read = {a["id"]: a for r in records for a in r["annotations"]}
    wanted = MetadataCatalog.get(name).thing_classes
    assert set(read) == {i for i, a in source.items() if classes[a["category_id"]] in wanted}
    for number, person in read.items():
        assert person["iscrowd"] == 0
        for key in (*POINT_KEYS, "dp_vertex", "ref_model", "dp_masks", "track_id"):
            assert person.get(key) == source[number].get(key), key


def test_frames_of_videos_say_where_they_are_from(sets: dict):
    records = DatasetCatalog.get("posetrack2017_val")
    frames = [(r["video_id"], r["frame_id"], r["is_labeled"]) for r in records]
    assert frames[:2] == [("000000", 100_000, True), ("000000", 100_001, True)]
    assert frames[4] == ("000001", 100_001, False)


@pytest.mark.parametrize("name", FORMS)
def test_check_data_knows_every_form(name: str, sets: dict, capsys: Any):
    metadata = MetadataCatalog.get(name)
    assert run_verb("check-data", [metadata.json_file, "--images", metadata.image_root]) == 0
    told = capsys.readouterr().out
    assert "every rule is kept" in told
    expected = {
        "posetrack2017_val": "frames of 2 videos, 3 track ids, 1 images with regions to ignore, 1",
        "densepose_chimps": "one mask for the whole body instead of part masks: 7 people",
        "densepose_coco_2014_train_cse": "7 on smpl_27554 people; 0 of them without charts",
        "densepose_chimps_cse_train": "7 on chimp_5029 people; 7 of them without charts",
        "densepose_lvis_v1_ds2_train_v1": "images below the folder of their split, as in LVIS",
    }
    assert expected[name] in told


def test_classes_of_lvis_are_the_animals_with_points(sets: dict):
    name = "densepose_lvis_v1_ds2_train_v1"
    people = [a for r in DatasetCatalog.get(name) for a in r["annotations"]]
    assert MetadataCatalog.get(name).thing_classes == list(ANIMALS)
    assert {ANIMALS[a["category_id"]] for a in people} == {"cat", "dog"}
    assert all(a["ref_model"].startswith(ANIMALS[a["category_id"]]) for a in people)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_goes_through_the_mapper(name: str, sets: dict):
    mapper = DensePoseMapper(True, augmentations=[], image_format="BGR", use_masks=True)
    for record in DatasetCatalog.get(name):
        instances = mapper(record)["instances"]
        kept = [p for p in record["annotations"] if p.get("segmentation") or p.get("dp_masks")]
        assert len(instances) == len(kept)
        charts = sum(len(p["dp_I"]) for p in kept if "dp_I" in p)
        assert len(instances.gt_densepose.part) == charts


def test_one_mask_for_the_whole_body_is_region_1(sets: dict):
    people = [p for r in DatasetCatalog.get("densepose_chimps") for p in r["annotations"]]
    packed = pack_annotations(people)
    assert packed.has_masks.tolist() == ["dp_masks" in p for p in people]
    assert sorted(packed.coarse.unique().tolist()) == [0, 1]


def test_frames_that_are_not_labelled_do_not_train(sets: dict, caplog: Any):
    with caplog.at_level(logging.INFO):
        kept = training_records(["posetrack2017_val"], filter_empty=False)
    assert 5 not in [r["image_id"] for r in kept] and len(kept) == 5
    assert "1 images are not labelled and are skipped" in caplog.text


def test_vertices_alone_are_no_points_for_charts(sets: dict):
    with pytest.raises(InputError, match="7 people have points on vertices of a mesh"):
        training_records(["densepose_chimps_cse_train"])
    with pytest.raises(InputError, match="DensePose branch would learn nothing"):
        training_records(["densepose_lvis_v1_ds2_train_v1"], use_masks=True, needs_points=True)
    with_masks = training_records(["densepose_lvis_v1_ds2_train_v1"], use_masks=True)
    assert with_masks and all(r["annotations"] for r in with_masks)


def damage(sets: dict, name: str, folder: Path, change: Any) -> Path:
    data = json.loads(json.dumps(sets[name]))
    change(data)
    path = folder / "damaged.json"
    path.write_text(json.dumps(data))
    return path


def first_with_vertices(data: dict) -> dict:
    return next(a for a in data["annotations"] if "dp_vertex" in a)


def set_key(key: str, value: Any) -> Any:
    return lambda data: first_with_vertices(data).update({key: value})


VERTEX_DAMAGES = {
    "vertices-complete": (lambda d: first_with_vertices(d).pop("ref_model"), "no ref_model"),
    "vertices-mesh": (set_key("ref_model", "chimp"), "ref_model is 'chimp'"),
    "vertices-lengths": (set_key("dp_vertex", [1, 2]), "lengths [3, 3, 2]"),
    "vertices-range": (set_key("dp_vertex", [0, 5029, 1]), "got 5029 on chimp_5029"),
    "points-grid": (set_key("dp_x", [0, 300, 1]), "dp_x is 300 at [1]"),
}


@pytest.mark.parametrize("rule", VERTEX_DAMAGES)
def test_broken_vertices_cost_the_vertices(rule: str, sets: dict, tmp_path: Path):
    change, told = VERTEX_DAMAGES[rule]
    path = damage(sets, "densepose_chimps_cse_train", tmp_path, change)
    report = check_annotations(path, None)
    assert report.counts == {rule: 1} and told in report.summary()
    images = MetadataCatalog.get("densepose_chimps_cse_train").image_root
    people = {
        p["id"]: p for r in load_densepose_coco(path, images, "damaged") for p in r["annotations"]
    }
    hurt = first_with_vertices(sets["densepose_chimps_cse_train"])["id"]
    assert "dp_vertex" not in people[hurt] and "dp_masks" in people[hurt]
    assert sum("dp_vertex" in p for p in people.values()) == 6


@pytest.mark.parametrize("value", [3, [0.5] * 3, [-1, 0, 0], [None, 0, 0], ["a", 0, 0]])
def test_vertices_are_whole_numbers(value: list, sets: dict, tmp_path: Path):
    path = damage(sets, "densepose_chimps_cse_train", tmp_path, set_key("dp_vertex", value))
    assert check_annotations(path, None).counts == {"vertices-range": 1}


def test_broken_vertices_leave_the_charts_alone(sets: dict, tmp_path: Path):
    name = "densepose_coco_2014_train_cse"
    path = damage(sets, name, tmp_path, set_key("ref_model", "smpl"))
    assert check_annotations(path, None).counts == {"vertices-mesh": 1}
    records = load_densepose_coco(path, MetadataCatalog.get(name).image_root, "damaged")
    people = [p for r in records for p in r["annotations"]]
    assert sum("dp_I" in p for p in people) == 7 and sum("dp_vertex" in p for p in people) == 6


@pytest.mark.parametrize(
    ("xs", "ys", "told"),
    [
        ([[1, 2, 3]], [[1, 2, 3, 4]], "[3] values x, [4] values y"),
        ([[1, 2, 3]], [], "[3] values x, [] values y"),
        ([[1, 2]], [[1, 2]], "array of length >= 3"),
        ([1, 2, 3], [1, 2, 3], "Expected array, got int"),
        ([[1, 2, None]], [[1, 2, 3]], "Expected float, got null"),
    ],
)
def test_broken_regions_to_ignore_are_named(xs: Any, ys: Any, told: str, sets: dict, tmp_path):
    def change(data: dict) -> None:
        data["images"][0] |= {"ignore_regions_x": xs, "ignore_regions_y": ys}

    report = check_annotations(damage(sets, "posetrack2017_val", tmp_path, change), None)
    assert report.counts == {"image-ignore-regions": 1} and told in report.summary()


def test_images_without_any_name_are_told(sets: dict, tmp_path: Path):
    def change(data: dict) -> None:
        data["images"][0].pop("coco_url")

    path = damage(sets, "densepose_lvis_v1_ds2_train_v1", tmp_path, change)
    assert check_annotations(path, None).counts == {"image-keys": 1}
