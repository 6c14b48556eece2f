from __future__ import annotations

import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog

from densepose.config import get_densepose_cfg
from densepose.engine.augmented_evaluation import augmentation_problems, merged_results

PLAIN, VIEWS = {"bbox": {"AP": 1.0}}, {"bbox": {"AP": 2.0}}


def test_results_of_one_data_set_stand_side_by_side():
    assert merged_results(PLAIN, VIEWS) == {"bbox": {"AP": 1.0}, "bbox_TTA": {"AP": 2.0}}
    assert merged_results({}, {}) == {}


def test_results_of_several_data_sets_stay_apart():
    got = merged_results({"a": PLAIN, "b": PLAIN}, {"a": VIEWS, "b": VIEWS})
    assert got["a"] == got["b"] == {"bbox": {"AP": 1.0}, "bbox_TTA": {"AP": 2.0}}


@pytest.fixture
def unplaced():
    """Name of a data set that says nothing about a surface."""
    DatasetCatalog.register("without_surface", list)
    yield "without_surface"
    DatasetCatalog.remove("without_surface")
    MetadataCatalog.pop("without_surface", None)


def test_problems_are_named(unplaced: str):
    cfg = get_densepose_cfg()
    cfg.DATASETS.TEST = (unplaced,)
    assert list(augmentation_problems(cfg)) == []
    cfg.TEST.AUG.ENABLED = True
    (problem,) = augmentation_problems(cfg)
    assert "'without_surface' nor DATASETS.TRAIN is annotated on a body surface" in problem
    cfg.TEST.AUG.FLIP = False
    assert list(augmentation_problems(cfg)) == []
    cfg.MODEL.META_ARCHITECTURE, cfg.TEST.AUG.MIN_SIZES = "RetinaNet", ()
    first, second = augmentation_problems(cfg)
    assert "got 'RetinaNet'" in first and "MIN_SIZES is empty" in second
