"""Fixtures for every room."""

from __future__ import annotations

from pathlib import Path

import pytest

from densepose.cli.__main__ import run_verb
from tests.tiny_dataset import write_tiny_densepose_coco


@pytest.fixture(scope="session")
def tiny_coco(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """JSON path and image folder of six tiny DensePose-COCO images; shared, so read only."""
    return write_tiny_densepose_coco(tmp_path_factory.mktemp("tiny_coco"), num_images=6, seed=0)


@pytest.fixture(scope="session")
def tiny_inpainted(tiny_coco: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of dense annotations of the tiny set; shared, so read only."""
    annotations, images = map(str, tiny_coco)
    entry = {"NAME": "tiny", "ANNOTATIONS": annotations, "IMAGES": images, "SURFACE": "template"}
    out = tmp_path_factory.mktemp("inpainted") / "tiny"
    words = ["DATASETS.REGISTER", str([entry]), "DATASETS.TRAIN", "('tiny',)"]
    assert run_verb("inpaint", ["--method", "nearest", "--out", str(out), *words]) == 0
    return out
