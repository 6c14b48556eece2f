"""Fixtures for the tests of every package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from densepose.cli.__main__ import run_verb
from densepose.model_zoo import download
from tests.support.range_server import RangeServer, range_server
from tests.support.tiny_dataset import write_tiny_densepose_coco


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


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the config synthetic_cpu, which the file does not carry."""
    import torch

    from tests.support.models import quick_model

    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save({"model": quick_model("synthetic_cpu", "MODEL.DEVICE", "cpu").state_dict()}, path)
    return path


@pytest.fixture
def catalog_as_before() -> Iterator[None]:
    """Forgets the data sets that a test registers."""
    # Not at the top: most tests need no detectron2.
    from detectron2.data import DatasetCatalog, MetadataCatalog

    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def data_sets_back_in_place() -> Iterator[None]:
    """Puts the registered data sets back to where they were expected before."""
    yield
    from densepose.data.registration import register_builtin

    register_builtin()


@pytest.fixture(scope="module")
def upstreams_module() -> Iterator[None]:
    """Lets torch.save find the classes of detectron2's project under their names."""
    from tests.support import upstream_dumps

    with upstream_dumps.upstreams_module():
        yield


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    """A server of files on this machine, for downloads."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSES_SECONDS", (0.0, 0.0, 0.0))
    with range_server() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, of this package and of detectron2."""
    monkeypatch.setenv("DENSEPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "fvcore"))
    monkeypatch.delenv("DENSEPOSE_ZOO_DIR", raising=False)
    return tmp_path / "cache" / "models"
