"""Data sets that other code registered, as detectron2's documentation teaches."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.data.datasets import load_coco_json, register_coco_instances
from detectron2.data.datasets.builtin_meta import (
    COCO_PERSON_KEYPOINT_FLIP_MAP,
    COCO_PERSON_KEYPOINT_NAMES,
)
from detectron2.structures import BoxMode
from detectron2.utils.events import EventStorage

from densepose.cli.__main__ import run_verb
from densepose.config import check_config, load_config
from densepose.engine.model import build_run_model
from tests.support.tiny_dataset import write_tiny_densepose_coco
from tests.support.training import QUICK, options

MULTITASK = QUICK.replace("synthetic_cpu", "multitask_cpu")
POINTS = ["dp_x", "dp_y", "dp_I", "dp_U", "dp_V", "dp_masks"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tiny_densepose_coco(tmp_path_factory.mktemp("data"), num_images=4)


@pytest.fixture
def names() -> Iterator[list[str]]:
    names: list[str] = []
    yield names
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def results(data: tuple[Path, Path], output: Path, name: str, **changes: object) -> dict[str, Any]:
    """Scores of a run that trains on a data set and evaluates on it."""
    sets = {"DATASETS.REGISTER": [], "DATASETS.TRAIN": (name,), "DATASETS.TEST": (name,)}
    changes = {**sets, "SOLVER.MAX_ITER": 2, "TEST.EVAL_PERIOD": 0, **changes}
    words = options(data, output, **changes)
    assert run_verb("train", ["--config-file", QUICK, *words]) == 0
    return json.loads((output / "inference" / "metrics.json").read_text())["results"][name]


@pytest.fixture
def coco_instances(data: tuple[Path, Path], names: list[str]) -> str:
    names.append("foreign_coco")
    register_coco_instances("foreign_coco", {}, str(data[0]), str(data[1]))
    return "foreign_coco"


@pytest.mark.parametrize("mask_format", ["bitmask", "polygon"])
def test_coco_instances_train_boxes_and_masks(
    data, tmp_path: Path, coco_instances: str, mask_format: str
):
    branches = {"MODEL.MASK_ON": True, "MODEL.DENSEPOSE_ON": False}
    changes = {**branches, "INPUT.MASK_FORMAT": mask_format}
    found = results(data, tmp_path, coco_instances, **changes)
    assert {"bbox", "segm"} <= found.keys()


def test_coco_instances_are_a_test_set_of_a_densepose_model(
    data, tmp_path: Path, coco_instances: str
):
    changes = {"MODEL.MASK_ON": True, "DATASETS.TEST": (coco_instances,), "SOLVER.MAX_ITER": 2}
    words = options(data, tmp_path, **changes)
    assert run_verb("train", ["--config-file", QUICK, *words]) == 0
    content = json.loads((tmp_path / "inference" / "metrics.json").read_text())
    assert {"bbox", "mask_branch"} <= content["results"][coco_instances].keys()


def test_a_densepose_branch_without_points_is_refused(
    data, tmp_path: Path, coco_instances: str, capsys: pytest.CaptureFixture[str]
):
    words = options(data, tmp_path, **{"DATASETS.TRAIN": (coco_instances,), "MODEL.MASK_ON": True})
    assert run_verb("train", ["--config-file", QUICK, *words]) == 1
    assert "set MODEL.DENSEPOSE_ON False" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Creating a tensor from a list:UserWarning")  # detectron2's
def test_a_batch_of_detectron2s_mapper_trains_boxes_masks_and_keypoints(data, names):
    names.append("foreign_mapper")
    register_coco_instances("foreign_mapper", {}, str(data[0]), str(data[1]))
    MetadataCatalog.get("foreign_mapper").set(
        keypoint_names=COCO_PERSON_KEYPOINT_NAMES, keypoint_flip_map=COCO_PERSON_KEYPOINT_FLIP_MAP
    )
    words = ["MODEL.DEVICE", "cpu", "DATASETS.TRAIN", "('foreign_mapper',)"]
    for mask_format in ("polygon", "bitmask"):
        cfg = load_config(MULTITASK, [*words, "INPUT.MASK_FORMAT", mask_format])
        check_config(cfg)
        mapper = DatasetMapper(cfg, is_train=True)
        batch = [mapper(record) for record in DatasetCatalog.get("foreign_mapper")]
        with EventStorage():
            losses = build_run_model(cfg)(batch)
        learned = {name for name, value in losses.items() if value > 0}
        assert {"loss_box_reg", "loss_mask", "loss_keypoint"} <= learned
        assert all(value.isfinite() for value in losses.values())
        assert losses["loss_densepose_I"] == 0


def test_a_function_of_dicts_trains_and_scores_points(data, tmp_path: Path, names):
    """Without an annotation file, with boxes in the other form."""

    def records() -> list[dict[str, Any]]:
        loaded = load_coco_json(str(data[0]), str(data[1]), "foreign_dicts", POINTS)
        for person in itertools.chain.from_iterable(r["annotations"] for r in loaded):
            box = BoxMode.convert(person["bbox"], BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
            person |= {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS}
        return loaded

    names.append("foreign_dicts")
    DatasetCatalog.register("foreign_dicts", records)
    MetadataCatalog.get("foreign_dicts").surface = "template"
    found = results(data, tmp_path / "dicts", "foreign_dicts")
    ours = {"NAME": "tiny", "ANNOTATIONS": str(data[0]), "IMAGES": str(data[1])}
    register = {"DATASETS.REGISTER": [{**ours, "SURFACE": "template"}]}
    same = results(data, tmp_path / "ours", "tiny", **register)
    assert found["bbox"] == same["bbox"]
    assert found["densepose_points"] == same["densepose_points"]
