"""``densepose fetch``, ``convert`` and ``doctor`` with released models."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from densepose.cli import doctor
from densepose.cli.__main__ import run_verb
from densepose.engine.weights import read_checkpoint
from densepose.model_zoo import MODELS, find
from tests.support.range_server import RangeServer

NAME = "R_50_FPN_s1x"
WEIGHTS = pickle.dumps({"model": {"w": np.ones((2, 2))}, "__author__": "zoo"}, protocol=2)


@pytest.fixture
def released(server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> RangeServer:
    monkeypatch.setenv("DENSEPOSE_ZOO_URL", server.url)
    server.files[find(NAME).path] = WEIGHTS
    return server


def test_fetch_lists_all_models_with_scores_and_licence(
    cache: Path, capsys: pytest.CaptureFixture[str]
):
    assert run_verb("fetch", []) == 0
    text = capsys.readouterr().out
    assert all(model.name in text for model in MODELS)
    assert "CC BY-SA 3.0" in text and "DensePose-COCO minival" in text


def test_fetch_verify_and_the_doctor(
    released: RangeServer, cache: Path, capsys: pytest.CaptureFixture[str]
):
    assert run_verb("fetch", [NAME]) == 0
    assert "CC BY-SA 3.0" in capsys.readouterr().out
    assert run_verb("fetch", ["--verify"]) == 0
    assert "1 files compared" in capsys.readouterr().out
    run_verb("doctor", ["--json"])
    findings = json.loads(capsys.readouterr().out)
    zoo = {f["name"]: f for f in findings if f["area"] == "released models"}
    assert zoo[NAME]["status"] == "ok" and str(cache) in zoo[NAME]["detail"]
    assert zoo["26 of 27"]["mend"].startswith("densepose fetch NAME")
    kept = cache / find(NAME).path
    kept.write_bytes(WEIGHTS[:-1] + b"!")
    assert run_verb("fetch", ["--verify", NAME]) == 1
    assert "the kept file has changed" in capsys.readouterr().err


def test_the_doctor_tells_damaged_and_unfinished_files(
    released: RangeServer, cache: Path, capsys: pytest.CaptureFixture[str]
):
    stopped = "R_101_FPN_s1x"
    released.files[find(stopped).path] = bytes(3 * 2**20)
    released.stop_after = [2**21, 0, 0, 0]
    assert run_verb("fetch", [stopped]) == 1
    assert run_verb("fetch", [NAME]) == 0
    kept = cache / find(NAME).path
    kept.write_bytes(WEIGHTS[:-3])
    capsys.readouterr()
    run_verb("doctor", ["--json"])
    zoo = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert zoo[NAME]["status"] == "optional" and "the kept file has changed" in zoo[NAME]["detail"]
    assert zoo[NAME]["mend"] == f"rm {kept} && densepose fetch {NAME}"
    assert zoo[stopped]["detail"].startswith("2 MB fetched so far")
    assert zoo[stopped]["mend"] == f"densepose fetch {stopped}"


def test_the_doctor_names_the_folder_that_is_set(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("DENSEPOSE_ZOO_DIR", str(tmp_path))
    (tmp_path / f"{NAME}.safetensors").write_bytes(save({"w": np.ones(2)}))
    run_verb("doctor", ["--json"])
    findings = json.loads(capsys.readouterr().out)
    zoo = {f["name"]: f for f in findings if f["area"] == "released models"}
    assert zoo[NAME]["status"] == "ok"
    assert zoo["26 of 27"]["mend"].startswith(f"put the files into {tmp_path}")


def test_the_doctor_survives_a_folder_that_is_not_there(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DENSEPOSE_ZOO_DIR", str(tmp_path / "gone"))
    (found,) = doctor.released_models()
    assert found.status == doctor.OPTIONAL and "there is no such folder" in found.detail
    assert found.mend.startswith(f"mkdir -p {tmp_path / 'gone'}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>sign in</html>", "this is a web page"),
        (WEIGHTS[:-9], "the file is truncated at"),
        (None, "the server answers 404 Not Found"),
    ],
)
def test_what_cannot_be_fetched_is_one_message(
    released: RangeServer,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    message: str,
):
    del released.files[find(NAME).path]
    if content is not None:
        released.files[find(NAME).path] = content
    assert run_verb("fetch", [NAME]) == 1
    text = capsys.readouterr().err
    assert message in text and find(NAME).url in text and "Traceback" not in text


def test_a_misspelt_model(capsys: pytest.CaptureFixture[str]):
    assert run_verb("fetch", ["R_50_FPN_WC1N_s1x"]) == 1
    assert "did you mean R_50_FPN_WC1_s1x or R_50_FPN_WC1M_s1x" in capsys.readouterr().err


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
    assert file["licence"] == "CC BY-SA 3.0" and file["name"] == NAME
    assert f"Weights: {NAME}.safetensors" in capsys.readouterr().out
    assert run_verb("convert", [f"zoo://{NAME}"]) == 1
    assert f"{NAME}.safetensors exists; give another name" in capsys.readouterr().err
    assert run_verb("convert", [f"zoo://{NAME}", "--overwrite"]) == 0
