from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from densepose.model_zoo import download
from tests.model_zoo.range_server import RangeServer, range_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0.0)
    with range_server() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, of this package and of detectron2."""
    monkeypatch.setenv("DENSEPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "fvcore"))
    monkeypatch.delenv("DENSEPOSE_ZOO_DIR", raising=False)
    return tmp_path / "cache" / "models"
