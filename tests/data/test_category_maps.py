"""Whitelists and category maps, on tables made by hand and on annotation files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from densepose.config import get_densepose_cfg
from densepose.data.categories import (
    CategoryRule,
    class_table,
    evaluated_class,
    relabel,
    rules_from_config,
)
from densepose.data.coco import training_records
from densepose.data.registration import register_from_config
from densepose.errors import InputError

pytestmark = pytest.mark.usefixtures("catalog_as_before")
ANIMALS = {1: "person", 17: "cat", 18: "dog", 62: "chair"}
Tiny = tuple[Path, Path]


def with_categories(tiny: Tiny, path: Path, categories: dict[int, str]) -> Path:
    """The tiny set with its people's categories replaced by the given ones in turn."""
    data = json.loads(tiny[0].read_text())
    ids = list(categories)
    for number, person in enumerate(data["annotations"]):
        person["category_id"] = ids[number % len(ids)]
    data["categories"] = [{"id": number, "name": name} for number, name in categories.items()]
    path.write_text(json.dumps(data))
    return path


def config(tiny: Tiny, **annotations: Path) -> CfgNode:
    cfg = get_densepose_cfg()
    cfg.DATASETS.REGISTER = [
        {"NAME": name, "ANNOTATIONS": str(path), "IMAGES": str(tiny[1]), "SURFACE": "template"}
        for name, path in annotations.items()
    ]
    cfg.DATASETS.TRAIN = tuple(annotations)
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    return cfg


def test_all_animals_count_as_a_person():
    rule = CategoryRule(keep=(1, 17, 18), counted_as={17: 1, 18: 1})
    table = class_table({"coco": ANIMALS, "people": {1: "person"}}, {"coco": rule})
    assert table.names == ("person",)
    assert table.class_of == {"coco": {1: 0, 17: 0, 18: 0}, "people": {1: 0}}


def test_class_numbers_are_ranks_of_ids_over_all_sets():
    rules = {"b": CategoryRule(keep=(5, 9), counted_as={9: 2})}
    table = class_table({"a": {1: "person", 7: "cow"}, "b": {5: "cat", 9: "lynx", 2: "big"}}, rules)
    # Ids 1, 2, 5 and 7 are left; 2 is called as in the file, although nobody of 2 itself is kept.
    assert table.names == ("person", "big", "cat", "cow")
    assert table.class_of == {"a": {1: 0, 7: 3}, "b": {5: 2, 9: 1}}


def test_a_map_without_a_whitelist_keeps_everything():
    table = class_table({"coco": ANIMALS}, {"coco": CategoryRule(counted_as={18: 17})})
    assert table.names == ("person", "cat", "chair")
    assert table.class_of["coco"] == {1: 0, 17: 1, 18: 1, 62: 2}


def test_what_is_not_there_is_named():
    with pytest.raises(InputError, match=r"WHITELISTED_CATEGORIES.coco names \[3\].* 17 \(cat\)"):
        class_table({"coco": ANIMALS}, {"coco": CategoryRule(keep=(1, 3))})
    with pytest.raises(InputError, match=r"CATEGORY_MAPS.coco counts categories as \[4\]"):
        class_table({"coco": ANIMALS}, {"coco": CategoryRule(counted_as={1: 4})})


def test_relabelling_leaves_the_records_as_they_are():
    record = {"image_id": 1, "annotations": [{"category_id": n, "id": n} for n in range(4)]}
    (new,) = relabel([record], (1, 17, 18, 62), {1: 0, 18: 0}, "coco")
    assert [(p["id"], p["category_id"]) for p in new["annotations"]] == [(0, 0), (2, 0)]
    assert [p["category_id"] for p in record["annotations"]] == [0, 1, 2, 3]
    assert relabel([], (1,), {1: 0}, "coco") == []


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"WHITELISTED_CATEGORIES": 1}, "WHITELISTED_CATEGORIES.tiny must be a list of category"),
        ({"WHITELISTED_CATEGORIES": []}, "must be a list of category ids"),
        ({"WHITELISTED_CATEGORIES": ["cat"]}, "got \\['cat'\\]"),
        ({"CATEGORY_MAPS": [1]}, "CATEGORY_MAPS.tiny must map category ids to ids"),
        ({"CATEGORY_MAPS": {"cat": 1}}, "got {'cat': 1}"),
    ],
)
def test_rules_of_a_wrong_form_are_refused(keys: dict[str, object], told: str):
    cfg = get_densepose_cfg()
    for key, value in keys.items():
        cfg.DATASETS[key].tiny = CfgNode(value) if isinstance(value, dict) else value
    with pytest.raises(InputError, match=told):
        rules_from_config(cfg)


def test_training_sees_the_mapped_classes(tiny_coco: Tiny, tmp_path: Path):
    animals = with_categories(tiny_coco, tmp_path / "animals.json", ANIMALS)
    cfg = config(tiny_coco, animals=animals, people=tiny_coco[0])
    cfg.DATASETS.WHITELISTED_CATEGORIES.animals = [1, 17, 18]
    cfg.DATASETS.CATEGORY_MAPS.animals = CfgNode({"17": 1, "18": 1})
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 1
    register_from_config(cfg)
    records = training_records(cfg)
    people = [person for record in records[:6] for person in record["annotations"]]
    written = json.loads(animals.read_text())["annotations"]
    assert [p["id"] for p in people] == [a["id"] for a in written if a["category_id"] != 62]
    assert {p["category_id"] for record in records for p in record["annotations"]} == {0}
    assert len(records) == 12


def test_images_of_other_categories_alone_are_left_out(tiny_coco: Tiny, tmp_path: Path):
    animals = with_categories(tiny_coco, tmp_path / "animals.json", ANIMALS)
    cfg = config(tiny_coco, animals=animals)
    cfg.DATASETS.WHITELISTED_CATEGORIES.animals = [62]
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    cfg.MODEL.ROI_DENSEPOSE_HEAD.COARSE_SEGM_TRAINED_BY_MASKS = True
    register_from_config(cfg)
    written = json.loads(animals.read_text())["annotations"]
    with_chairs = sorted({a["image_id"] for a in written if a["category_id"] == 62})
    assert [record["image_id"] for record in training_records(cfg)] == with_chairs


def test_more_classes_than_the_model_has_are_refused(tiny_coco: Tiny, tmp_path: Path):
    animals = with_categories(tiny_coco, tmp_path / "animals.json", ANIMALS)
    cfg = config(tiny_coco, animals=animals)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 1
    cfg.DATASETS.WHITELISTED_CATEGORIES.animals = [1, 17]
    register_from_config(cfg)
    with pytest.raises(InputError, match=r"have 2 classes \(person, cat\), but MODEL.ROI_HEADS.NU"):
        training_records(cfg)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 2
    assert len(training_records(cfg)) == 6
    del cfg.DATASETS.WHITELISTED_CATEGORIES["animals"]
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 1
    cfg.DATASETS.REGISTER[0]["CLASSES"] = ["person", "cat", "dog"]
    register_from_config(cfg)
    with pytest.raises(InputError, match="have 3 classes"):
        training_records(cfg)


@pytest.fixture
def animals(tiny_coco: Tiny, tmp_path: Path) -> str:
    """Name of a set with four categories, all of which are read."""
    path = with_categories(tiny_coco, tmp_path / "animals.json", ANIMALS)
    cfg = config(tiny_coco, animals=path)
    cfg.DATASETS.WHITELISTED_CATEGORIES.animals = [1]
    register_from_config(cfg)
    return "animals"


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (CategoryRule(keep=(17, 1, 18), counted_as={17: 1, 18: 1}), (0, (1, 17, 18))),
        (CategoryRule(keep=(18,)), (0, (18,))),
        (CategoryRule(keep=(18, 1)), (0, (1,))),
        (CategoryRule(counted_as={1: 18, 17: 18, 62: 18}), (0, (18, 1, 17, 62))),
        (CategoryRule(keep=(1, 62), counted_as={1: 17}), None),
    ],
)
def test_categories_that_count_as_the_scored_class(
    animals: str, rule: CategoryRule, wanted: tuple[int, tuple[int, ...]] | None
):
    if wanted is None:
        with pytest.raises(InputError, match="animals has the classes cat, chair, and scores are"):
            evaluated_class(animals, {animals: rule})
    else:
        assert evaluated_class(animals, {animals: rule}) == wanted


def test_a_set_without_rules_is_scored_by_its_person(animals: str):
    assert evaluated_class(animals, {}) == (0, None)
    MetadataCatalog.get("other_kind").set(thing_classes=["cat", "person"])
    assert evaluated_class("other_kind", {}) == (1, None)
    MetadataCatalog.remove("other_kind")
