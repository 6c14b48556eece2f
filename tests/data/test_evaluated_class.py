from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog

from densepose.data.categories import CategoryRule, evaluated_class
from densepose.data.registration import register_from_config
from tests.data.test_category_maps import ANIMALS, config, with_categories

Tiny = tuple[Path, Path]


@pytest.fixture(autouse=True)
def catalog_as_before() -> Iterator[None]:
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


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
        with pytest.raises(ValueError, match="animals has the classes cat, chair, and scores are"):
            evaluated_class(animals, {animals: rule})
    else:
        assert evaluated_class(animals, {animals: rule}) == wanted


def test_a_set_without_rules_is_scored_by_its_person(animals: str):
    assert evaluated_class(animals, {}) == (0, None)
    MetadataCatalog.get("other_kind").set(thing_classes=["cat", "person"])
    assert evaluated_class("other_kind", {}) == (1, None)
    MetadataCatalog.remove("other_kind")
