"""``densepose doctor``: what is missing, how to get it, and that it runs whatever is missing."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import pytest

from densepose.cli import doctor
from tests.support import ROOT


@pytest.mark.usefixtures("data_sets_back_in_place")
def test_the_doctor_says_what_is_missing_and_how_to_get_it(tmp_path, capsys):
    options = {"data_dir": str(tmp_path), "details": False}
    assert doctor.run(argparse.Namespace(**options, json=True)) == 0
    findings = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert findings["torch"]["status"] == "ok"
    synthetic = findings["densepose_synthetic_train"]
    assert synthetic["status"] == "optional"
    assert synthetic["fix"] == "densepose download densepose_synthetic_train"
    assert findings["Pdist_matrix.pkl"]["fix"] == "densepose download evaluation"
    assert doctor.run(argparse.Namespace(**options, json=False)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 8 <= len(lines) <= 15
    assert "Ready:   densepose predict photo.jpg" in lines
    needs = "densepose download densepose_coco_2014_minival evaluation flip"
    assert f"DensePose-COCO needs: {needs}" in lines


def test_the_doctor_finds_evaluation_files_that_are_there(tmp_path):
    folder = tmp_path / "densepose_smpl"
    folder.mkdir()
    for name in ("SMPL_subdiv.mat", "Pdist_matrix.float32.npy"):
        (folder / name).touch()
    status = {f.name: f.status for f in doctor.evaluation_files(str(tmp_path))}
    assert status["SMPL_subdiv.mat"] == "ok"
    assert status["Pdist_matrix.pkl"] == "ok"  # the converted file is all that is needed
    assert status["SMPL_SUBDIV_TRANSFORM.mat"] == "optional"


def test_the_doctor_survives_an_examination_that_fails(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "machine", raising(RuntimeError("driver too old")))
    monkeypatch.setattr(doctor, "weights", raising(ImportError("No module named 'torch'")))
    assert doctor.run(argparse.Namespace(data_dir=None, json=False, details=True)) == 1
    text = capsys.readouterr().out
    assert "driver too old" in text
    assert "No module named 'torch'" in text


def raising(error):
    def examine():
        raise error

    return examine


WITHOUT = """
import importlib.metadata, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == sys.argv[2]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
version = importlib.metadata.version

def without(name):
    if name == sys.argv[1]:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)

importlib.metadata.version = without
from densepose.cli.__main__ import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(
    ("package", "module"),
    [
        ("numpy", "numpy"),
        ("rich", "rich"),
        ("torch", "torch"),
        ("opencv-python-headless", "cv2"),
        ("", "detectron2"),
    ],
)
def test_the_doctor_names_a_package_that_is_missing(package, module):
    command = [sys.executable, "-c", WITHOUT, package, module, "doctor"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = [s for s in result.stdout.splitlines() if s.strip().startswith(package or module)]
    assert "not installed" in line
    assert "Not usable yet" in result.stdout
