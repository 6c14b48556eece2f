"""``densepose download``, ``convert`` and ``doctor`` with released models and evaluation files."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from densepose.cli import doctor
from densepose.cli.__main__ import run_verb
from densepose.data.registration import dataset_status, register_builtin
from densepose.engine.weights import read_checkpoint
from densepose.model_zoo import MODELS, catalog, find
from tests.support.range_server import RangeServer

NAME = "R_50_FPN_s1x"
WEIGHTS = pickle.dumps({"model": {"w": np.ones((2, 2))}, "__author__": "zoo"}, protocol=2)


@pytest.fixture
def released(server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> RangeServer:
    monkeypatch.setenv("DENSEPOSE_ZOO_URL", server.url)
    server.files[find(NAME).path] = WEIGHTS
    return server


def test_all_names_are_listed_with_what_they_are_and_their_licence(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run_verb("download", ["--list", "--data-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert all(model.name in text for model in MODELS)
    assert "GPS AP 63.7, GPSm AP 65.3 on densepose_coco_2014_minival" in text
    for name in ("densepose_coco_2014_minival", "evaluation", "flip", "smpl_27554", "R-50"):
        assert name in text, name
    assert "CC BY-SA 3.0" in text and "CC BY-NC 2.0" in text and "smpl.is.tue.mpg.de" in text
    assert all(model.url in text for model in MODELS) and "Pdist_matrix.pkl" in text


def test_a_model_is_downloaded_verified_and_found_by_the_doctor(
    released: RangeServer, cache: Path, capsys: pytest.CaptureFixture[str]
):
    assert run_verb("download", [NAME]) == 0
    assert "CC BY-SA 3.0" in capsys.readouterr().out
    assert run_verb("download", ["--verify"]) == 0
    assert "1 file compared" in capsys.readouterr().out
    run_verb("download", ["--list"])
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    assert f"{len(WEIGHTS):,} bytes  sha256 {digest}" in capsys.readouterr().out
    run_verb("doctor", ["--json"])
    zoo = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert zoo[NAME]["status"] == "ok" and str(cache) in zoo[NAME]["detail"]
    kept = cache / find(NAME).path
    kept.write_bytes(WEIGHTS[:-1] + b"!")
    assert run_verb("download", ["--verify", NAME]) == 1
    assert "the file has changed" in capsys.readouterr().err
    kept.write_bytes(WEIGHTS[:-3])
    run_verb("doctor", ["--json"])
    zoo = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert zoo[NAME]["status"] == "optional" and "the file has changed" in zoo[NAME]["detail"]
    assert zoo[NAME]["fix"] == f"rm {kept} && densepose download {NAME}"


def test_the_doctor_looks_into_the_folder_that_is_set(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DENSEPOSE_ZOO_DIR", str(tmp_path))
    (tmp_path / f"{NAME}.safetensors").write_bytes(save({"w": np.ones(2)}))
    status = {finding.name: finding.status for finding in doctor.released_models()}
    assert status.pop(NAME) == "ok" and set(status.values()) == {"optional"}
    monkeypatch.setenv("DENSEPOSE_ZOO_DIR", str(tmp_path / "gone"))
    (found,) = [f for f in doctor.examine() if f.area == "released models"]
    assert found.status == "optional" and "there is no such folder" in found.detail


@pytest.mark.usefixtures("data_sets_back_in_place")
def test_a_data_set_is_downloaded_and_unpacked(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    photos = io.BytesIO()
    with zipfile.ZipFile(photos, "w") as archive:
        archive.writestr("val2014/a.jpg", b"photo")
    server.files |= {"a.json": b'{"images": []}', "val2014.zip": photos.getvalue()}
    steps = [
        f"curl -L --create-dirs -o {tmp_path}/coco/annotations/a.json {server.url}a.json",
        f"curl -L --create-dirs -o {tmp_path}/coco/val2014.zip {server.url}val2014.zip",
        f"unzip -q {tmp_path}/coco/val2014.zip -d {tmp_path}/coco",
        "# images: https://example.org",
    ]
    said = [catalog._run_step(step, "CC0") for step in steps]
    assert (tmp_path / "coco" / "annotations" / "a.json").read_bytes() == b'{"images": []}'
    assert (tmp_path / "coco" / "val2014" / "a.jpg").read_bytes() == b"photo"
    assert sorted(path.name for path in (tmp_path / "coco").glob("*.zip")) == []
    assert said[-1] == "to be done by you: # images: https://example.org"
    register_builtin(tmp_path)
    for status in dataset_status():
        for step in filter(None, status.command.split(" && ")):
            known = step.startswith(("curl -L --create-dirs -o ", "unzip -q "))
            assert known or step.startswith(("densepose make-data", "# images")), step


def test_what_is_there_is_checked_and_not_downloaded(tmp_path: Path, capsys):
    folder = tmp_path / "densepose_smpl"
    folder.mkdir()
    (folder / "UV_symmetry_transforms.mat").write_bytes(b"<html>sign in</html>")
    assert run_verb("download", ["flip", "--data-dir", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "smpl.is.tue.mpg.de" in printed.out and "this is a web page" in printed.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>sign in</html>", "this is a web page"),
        (WEIGHTS[:-9], "the file is truncated at"),
        (None, "the server answers 404 Not Found"),
    ],
)
def test_what_cannot_be_downloaded_is_one_message(
    released: RangeServer,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    message: str,
):
    del released.files[find(NAME).path]
    if content is not None:
        released.files[find(NAME).path] = content
    assert run_verb("download", [NAME]) == 1
    text = capsys.readouterr().err
    assert message in text and find(NAME).url in text and "Traceback" not in text


def test_a_misspelt_model(capsys: pytest.CaptureFixture[str]):
    assert run_verb("download", ["R_50_FPN_WC1N_s1x"]) == 1
    assert "did you mean 'R_50_FPN_WC1_s1x' or 'R_50_FPN_WC1M_s1x'" in capsys.readouterr().err


def test_convert_takes_a_model_of_the_zoo(
    released: RangeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert run_verb("convert", [f"zoo://{NAME}", "--half"]) == 0
    file = read_checkpoint(tmp_path / f"{NAME}.safetensors")
    assert file["model"]["w"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert file["licence"].startswith("CC BY-SA 3.0") and file["name"] == NAME
    assert f"Weights: {NAME}.safetensors" in capsys.readouterr().out
    assert run_verb("convert", [f"zoo://{NAME}"]) == 1
    assert f"{NAME}.safetensors exists; give another name" in capsys.readouterr().err
    assert run_verb("convert", [f"zoo://{NAME}", "--overwrite"]) == 0
