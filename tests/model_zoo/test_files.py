from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from densepose.errors import InputError
from densepose.model_zoo import fetch, find, local_file, verify
from densepose.model_zoo.files import fetch_address, find_shipped_model, resolve_weights
from tests.support.range_server import RangeServer

NAME = "R_50_FPN_s1x"
WEIGHTS = pickle.dumps({"model": {"w": np.ones(9)}, "__author__": "zoo"}, protocol=2)


@pytest.fixture
def released(server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> RangeServer:
    """A mirror with one model, and an empty cache."""
    monkeypatch.setenv("DENSEPOSE_ZOO_URL", server.url)
    server.files[find(NAME).path] = WEIGHTS
    return server


def test_a_model_is_downloaded_once_and_its_licence_reported(
    released: RangeServer, cache: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    assert local_file(find(NAME)) is None
    path = fetch(f"zoo://{NAME}")
    assert path == cache / find(NAME).path and path.read_bytes() == WEIGHTS
    assert "CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/)" in caplog.text
    assert fetch(NAME) == path == local_file(find(NAME)) == resolve_weights(NAME)
    assert len(released.requests) == 1
    note = json.loads((path.parent / f"{path.name}.json").read_text())
    assert note["sha256"] == verify(path, NAME) and note["size_bytes"] == len(WEIGHTS)
    assert note["url"] == find(NAME).url and note["licence"].startswith("CC BY-SA 3.0")


def test_a_kept_file_that_changed_is_refused(released: RangeServer, cache: Path):
    path = fetch(NAME)
    path.write_bytes(WEIGHTS[:-9] + b"!" + WEIGHTS[-8:])
    fetch(NAME)  # of the same length: only verify reads it all
    with pytest.raises(InputError, match="has changed: its sha256 is .*densepose download R_50"):
        verify(path, NAME)
    path.write_bytes(WEIGHTS[:-10])
    with pytest.raises(InputError, match=f"it has {len(WEIGHTS) - 10} bytes, it had"):
        fetch(NAME)


def test_a_file_put_into_the_cache_by_hand_is_taken(released: RangeServer, cache: Path):
    path = cache / find(NAME).path
    path.parent.mkdir(parents=True)
    path.write_bytes(WEIGHTS)
    assert fetch(NAME) == path and released.requests == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>sign in</html>", "pkl: this is a web page"),
        (WEIGHTS[:-20], "pkl: the file is truncated"),
        (b"", "pkl: the file is empty"),
    ],
)
def test_what_is_no_weights_is_not_kept(
    released: RangeServer, cache: Path, content: bytes, message: str
):
    released.files[find(NAME).path] = content
    with pytest.raises(InputError, match=message):
        fetch(NAME)
    assert local_file(find(NAME)) is None


def test_without_a_connection_the_answer_names_the_folder(cache: Path, server: RangeServer):
    with pytest.raises(InputError, match="Without a connection: put the file into a folder"):
        fetch_address("http://127.0.0.1:9/detectron2/R-50.pkl")


@pytest.mark.parametrize(
    "place", [find(NAME).path, find(NAME).file_name, f"{NAME}.safetensors", f"{NAME}.pth"]
)
@pytest.mark.parametrize("by_key", [True, False])
def test_a_folder_of_released_files_is_enough(
    released: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, by_key: bool
):
    folder = tmp_path / "models"
    (folder / place).parent.mkdir(parents=True)
    in_safetensors = place.endswith(".safetensors")
    (folder / place).write_bytes(save({"w": np.ones(2)}) if in_safetensors else WEIGHTS)
    if not by_key:
        monkeypatch.setenv("DENSEPOSE_ZOO_DIR", str(folder))
    assert fetch(NAME, str(folder) if by_key else "") == folder / place
    assert released.requests == []


@pytest.mark.parametrize("in_cache", [True, False])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"<html>sign in</html>", "this is a web page"), (WEIGHTS[:-20], "the file is truncated")],
)
def test_a_damaged_file_put_there_by_hand_is_refused(
    cache: Path, tmp_path: Path, content: bytes, message: str, in_cache: bool
):
    path = cache / find(NAME).path if in_cache else tmp_path / find(NAME).file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = "" if in_cache else str(tmp_path)
    path.write_bytes(WEIGHTS)
    assert fetch(NAME, folder) == path
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        fetch(NAME, folder)


def test_with_a_folder_nothing_is_fetched(released: RangeServer, tmp_path: Path):
    with pytest.raises(InputError) as caught:
        fetch(NAME, str(tmp_path))
    message = str(caught.value)
    assert (
        f"{NAME}.safetensors" in message and "curl -L -o" in message and find(NAME).url in message
    )
    with pytest.raises(InputError, match=r"R-50.pkl: the folder of .* has none of"):
        fetch_address("detectron2://ImageNetPretrained/MSRA/R-50.pkl", str(tmp_path))
    assert released.requests == []
    with pytest.raises(InputError, match="MODEL.ZOO_DIR /nowhere: there is no such folder"):
        fetch(NAME, "/nowhere")


def test_addresses_are_kept_where_detectron2_keeps_them(
    released: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    released.files["detectron2/ImageNetPretrained/MSRA/R-50.pkl"] = WEIGHTS
    monkeypatch.setattr("densepose.model_zoo.files.CATALOG_URL", f"{released.url}detectron2/")
    kept = tmp_path / "fvcore" / "detectron2" / "ImageNetPretrained" / "MSRA" / "R-50.pkl"
    for _ in range(2):
        assert fetch_address("detectron2://ImageNetPretrained/MSRA/R-50.pkl") == kept
    assert len(released.requests) == 1
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "other.pkl").write_bytes(WEIGHTS)
    assert fetch_address("https://x.example/a/other.pkl", str(tmp_path / "own")).name == "other.pkl"


def test_the_shipped_model_is_the_one_file_and_names_its_config(tmp_path: Path):
    with pytest.raises(InputError, match="no weights come with this package"):
        find_shipped_model(tmp_path)
    path = tmp_path / "people.safetensors"
    path.write_bytes(save({"w": np.zeros(1)}, metadata={"config": "synthetic/x.yaml"}))
    assert find_shipped_model(tmp_path) == ("synthetic/x.yaml", path)
