"""Checking and converting the official files that are at hand."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.model_zoo import catalog
from densepose.surface.geodesics import GeodesicDistances, packed_size
from densepose.surface.official.export import export_surface
from densepose.surface.official.prepare import official_files
from densepose.surface.symmetry import derive_symmetry
from tests.support.shapes import patchwork_atlas


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    atlas, mirror = patchwork_atlas()
    count = atlas.mesh.num_vertices
    triangle = np.linspace(0.1, 2, packed_size(count)).astype(np.float32)
    distances = GeodesicDistances(triangle, count)
    export_surface(
        folder, atlas, derive_symmetry(atlas, mirror), mirror, distances, name="patchwork_216"
    )
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / catalog.EVALUATION_FOLDER)


def run(folder: Path) -> list[str]:
    """What ``densepose download evaluation`` reports."""
    lines: list[str] = []
    catalog.get("evaluation", str(folder.parent), say=lines.append)
    return lines


def test_every_file_is_checked_and_distances_are_converted_once(folder):
    licence, *files = run(folder)
    assert "smpl.is.tue.mpg.de" in licence and len(files) == 9
    holds = dict(line.removeprefix(f"{folder}/").split(": ", 1) for line in files)
    assert holds["Pdist_matrix.pkl"] == (
        "23,220 distances of 216 vertices (another mesh than the official 27554:"
        " evaluate with --surface smpl_216 --surface-dir DIR)"
    )
    assert holds["UV_Processed.mat"].endswith("(another sha256 than the known copy)")
    assert holds["meshes/geodists/geodists_patchwork_216.pkl"] == "distances of 216 vertices"
    # A pickle that was converted is not needed any more, and not downloaded again.
    (folder / "Pdist_matrix.pkl").unlink()
    assert run(folder)[3] == files[2]


def test_what_cannot_be_used_is_reported_after_the_other_files(folder):
    (folder / "SMPL_subdiv.mat").write_bytes(b"<!DOCTYPE html>")
    whole = (folder / "Pdist_matrix.pkl").read_bytes()
    (folder / "Pdist_matrix.pkl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="this is a web page") as caught:
        run(folder)
    problems = str(caught.value).splitlines()
    assert len(problems) == 3
    assert "Pdist_matrix.pkl: not a complete pickle" in problems[2]


def test_damaged_distances_are_named(folder):
    content = {"Pdist_matrix": np.ones((5, 1), np.float32)}
    (folder / "Pdist_matrix.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"got shape \(5, 1\) of float32, which no mesh has"):
        run(folder)
    (folder / "Pdist_matrix.float32.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="float32.npy: damaged; delete it, it is made again"):
        run(folder)


def test_a_home_folder_in_the_environment_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DETECTRON2_DATASETS", "~/data")
    places = [entry.files[0] for entry in catalog.entries() if entry.name == "evaluation"]
    assert places == [tmp_path / "data/densepose_smpl/SMPL_subdiv.mat"]


def test_the_hash_of_a_measured_file_is_known():
    measured = [f for f in official_files() if f.sha256]
    assert [f.path for f in measured] == ["UV_Processed.mat"]
    assert all(len(f.sha256) == 64 for f in measured)
