from __future__ import annotations

import json
import shutil
import time
from collections import namedtuple
from pathlib import Path

import pytest
from torch import nn

from detectron2.config import CfgNode

from densepose.config import get_densepose_cfg
from densepose.data.registration import register_builtin, register_from_config
from densepose.engine import preflight_checks
from densepose.engine.preflight_checks import (
    check_disk,
    checkpoint_bytes,
    preflight,
)
from densepose.errors import InputError
from tests.support.tiny_dataset import write_tiny_densepose_coco


@pytest.fixture
def surfaces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Surfaces that were asked for; none is computed."""
    asked: list[str] = []

    def load(name: str, folder: Path) -> None:
        asked.append(name)
        if name != "template":
            raise InputError(f"{folder}/SMPL_subdiv.mat is missing")

    monkeypatch.setattr(preflight_checks, "load_evaluation_surface", load)
    return asked


@pytest.fixture
def cfg(tmp_path: Path) -> CfgNode:
    """A config with a sound data set ``tiny``; nothing is wrong with it."""
    annotations, images = write_tiny_densepose_coco(tmp_path / "tiny", num_images=3)
    cfg = get_densepose_cfg()
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("tiny",), ("tiny",)
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    register_builtin(tmp_path / "datasets")
    register(cfg, annotations, images)
    return cfg


def register(cfg: CfgNode, annotations: Path, images: Path, surface: str = "template") -> None:
    entry = {
        "NAME": "tiny",
        "ANNOTATIONS": str(annotations),
        "IMAGES": str(images),
        "SURFACE": surface,
    }
    cfg.DATASETS.REGISTER = [entry]
    register_from_config(cfg)


def problems(cfg: CfgNode, mode: str = "train") -> str:
    with pytest.raises(ValueError) as caught:
        preflight(cfg, mode)
    return str(caught.value)


def test_a_sound_run_passes_quickly(cfg: CfgNode, surfaces: list[str]):
    start = time.process_time()
    preflight(cfg, "train")
    preflight(cfg, "eval")
    assert surfaces == ["template", "template"]
    assert time.process_time() - start < 5


def test_all_problems_are_told_at_once(cfg: CfgNode, surfaces: list[str], tmp_path: Path):
    cfg.DATASETS.TRAIN = ("tinny",)
    cfg.DATASETS.TEST = ("densepose_synthetic_val",)
    cfg.MODEL.WEIGHTS = str(tmp_path / "missing.pth")
    text = problems(cfg)
    assert text.startswith("3 problems found before the run started:\n  1. ")
    assert "no data set is called 'tinny', did you mean 'tiny'?" in text
    assert "data set 'densepose_synthetic_val' lacks its annotations and images: " in text
    assert "get it by: " in text
    assert "missing.pth does not exist" in text


def test_broken_annotations_and_images(cfg: CfgNode, surfaces: list[str], tmp_path: Path):
    annotations = tmp_path / "tiny" / "annotations.json"
    image = tmp_path / "tiny" / "images" / "000000000002.jpg"
    image.write_bytes(image.read_bytes()[:300])
    text = problems(cfg)
    assert "000000000002.jpg cannot be read" in text and "damaged or cut short" in text
    image.unlink()  # skipped with a warning, as DATASETS.ON_BAD_RECORD says
    preflight(cfg, "train")
    annotations.write_text(annotations.read_text()[:-30])
    assert "annotations.json" in problems(cfg) and problems(cfg).count("it is cut off") == 1
    annotations.write_text(json.dumps({"images": []}))
    assert "expected a DensePose-COCO file with the lists" in problems(cfg)


def test_annotations_that_the_evaluation_would_refuse(
    cfg: CfgNode, surfaces: list[str], tmp_path: Path
):
    path = tmp_path / "tiny" / "annotations.json"
    content = json.loads(path.read_text())
    first, second = content["annotations"][:2]
    first["dp_U"] = [200 * u for u in first["dp_U"]]
    second["dp_masks"][0] = {"size": [256, 256], "counts": "b'PP1'"}
    path.write_text(json.dumps(content))
    text = problems(cfg)
    assert f"annotation {first['id']} of image {first['image_id']}: dp_U is" in text
    assert f"annotation {second['id']} of image {second['image_id']}: the runs are damaged" in text
    cfg.DATASETS.TEST = ()
    preflight(cfg, "train")


def test_missing_evaluation_and_symmetry_files(cfg: CfgNode, surfaces: list[str], tmp_path: Path):
    tiny = tmp_path / "tiny"
    register(cfg, tiny / "annotations.json", tiny / "images", surface="smpl_27554")
    text = problems(cfg)
    assert "SMPL_subdiv.mat is missing" in text
    assert "INPUT.RANDOM_FLIP horizontal" in text and "UV_symmetry_transforms.mat" in text
    cfg.INPUT.RANDOM_FLIP = "none"
    assert "UV_symmetry" not in problems(cfg)


def test_weights_that_are_no_weights(cfg: CfgNode, surfaces: list[str], tmp_path: Path):
    cfg.MODEL.WEIGHTS = str(tmp_path / "model_final.pth")
    (tmp_path / "model_final.pth").write_bytes(b"<html>not found</html>")
    assert "this is a web page" in problems(cfg)
    cfg.MODEL.WEIGHTS = str(tmp_path / "model_finale.pth")
    assert "did you mean 'model_final.pth'?" in problems(cfg)


def test_empty_lists_of_data_sets(cfg: CfgNode, surfaces: list[str]):
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    assert "DATASETS.TRAIN is empty" in problems(cfg)
    assert "DATASETS.TEST is empty" in problems(cfg, "eval")


def test_a_full_disk(cfg: CfgNode, surfaces: list[str], monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**30))
    check_disk(cfg, nn.Linear(30, 30))
    with pytest.raises(ValueError, match="has 1.0 GB free, the checkpoints of the run need"):
        check_disk(cfg, nn.Linear(10_000, 10_000, device="meta"))


def test_size_of_checkpoints_by_hand():
    cfg = get_densepose_cfg()
    solver = cfg.SOLVER
    solver.MAX_ITER, solver.CHECKPOINT_PERIOD, solver.CHECKPOINTS_TO_KEEP = 100, 10, 3
    # Weights and momentum, 4 bytes each, in 3 + 2 files; the best one has the weights alone.
    assert checkpoint_bytes(cfg, 10) == 2 * 40 * 5 + 40
    solver.OPTIMIZER, solver.EMA.ENABLED, solver.CHECKPOINTS_TO_KEEP = "ADAMW", True, 0
    assert checkpoint_bytes(cfg, 10) == 4 * 40 * 12 + 40


def test_an_address_that_cannot_be_fetched(
    cfg: CfgNode, surfaces: list[str], monkeypatch: pytest.MonkeyPatch
):
    def no_network(name: str, zoo_dir: str) -> Path:
        raise InputError("no route to host")

    monkeypatch.setattr(preflight_checks, "resolve_weights", no_network)
    cfg.MODEL.WEIGHTS = "https://example.org/R-50.pkl"
    assert "MODEL.WEIGHTS: no route to host" in problems(cfg)
