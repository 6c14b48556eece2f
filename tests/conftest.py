"""Fixtures for every room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_dataset import write_tiny_densepose_coco


@pytest.fixture(scope="session")
def tiny_coco(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """JSON path and image folder of six tiny DensePose-COCO images; shared, so read only."""
    return write_tiny_densepose_coco(tmp_path_factory.mktemp("tiny_coco"), num_images=6, seed=0)
