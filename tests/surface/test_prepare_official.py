"""Checking, converting and noting the official files that are at hand."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.model_zoo import catalog
from densepose.surface.geodesics import GeodesicDistances, packed_size
from densepose.surface.official.export import export_surface
from densepose.surface.official.prepare import (
    already_prepared,
    files_in,
    official_files,
    prepare_file,
)
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


def test_every_file_is_checked_converted_and_noted(folder):
    licence, *files = run(folder)
    assert "smpl.is.tue.mpg.de" in licence and len(files) == 9
    text = "\n".join(files)
    assert (
        "23,220 distances of 216 vertices (another mesh than the official 27554:"
        " evaluate with --surface smpl_216 --surface-dir DIR)" in text
    )
    assert (folder / "Pdist_matrix.float32.npy").is_file()
    assert (folder / "meshes/geodists/geodists_patchwork_216.float32.npy").is_file()
    noted = json.loads((folder / "prepared.json").read_text())
    entry = next(e for e in noted["files"] if e["path"] == "UV_Processed.mat")
    content = (folder / "UV_Processed.mat").read_bytes()
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert entry["size_bytes"] == len(content)
    assert "instead of the known 287,942" in entry["note"]


def test_a_second_run_looks_only_at_what_has_changed(folder):
    run(folder)
    (folder / "UV_Processed.mat").touch()
    (folder / "meshes/geodists/geodists_patchwork_216.float32.npy").unlink()
    again = [line.split(":")[0] for line in run(folder)[1:] if "as before" not in line]
    names = ["UV_Processed.mat", "meshes/geodists/geodists_patchwork_216.pkl"]
    assert again == [str(folder / name) for name in names]
    # A pickle that was converted is not needed any more.
    (folder / "Pdist_matrix.pkl").unlink()
    assert sum("as before" in line for line in run(folder)) == 9


def test_an_interrupted_run_resumes_with_the_remaining_files(folder):
    files = [file for file in files_in(folder) if (folder / file.path).is_file()]
    prepare_file(folder, files[0])

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_file(folder, files[2], on_progress=interrupt)
    assert already_prepared(folder, files[0]) is not None
    assert already_prepared(folder, files[2]) is None
    assert not [p for p in folder.rglob("*") if p.name.endswith((".tmp", ".matrix"))]
    assert sum("as before" in line for line in run(folder)) == 1


def test_progress_counts_the_bytes_of_a_file(folder):
    for file in files_in(folder):
        if (folder / file.path).is_file():
            steps = []
            prepare_file(folder, file, on_progress=steps.append)
            assert sum(steps) == (folder / file.path).stat().st_size


def test_what_cannot_be_used_is_reported_after_the_other_files(folder):
    (folder / "SMPL_subdiv.mat").write_bytes(b"<!DOCTYPE html>")
    whole = (folder / "Pdist_matrix.pkl").read_bytes()
    (folder / "Pdist_matrix.pkl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="this is a web page") as caught:
        run(folder)
    problems = str(caught.value).splitlines()
    assert len(problems) == 3
    assert "Pdist_matrix.pkl: not a complete pickle" in problems[2]
    assert len(json.loads((folder / "prepared.json").read_text())["files"]) == 6
    (folder / "prepared.json").write_text("{")
    with pytest.raises(InputError, match="prepared.json: damaged .*delete it"):
        run(folder)


def test_a_number_of_distances_that_no_mesh_has_is_refused(folder):
    content = {"Pdist_matrix": np.ones((5, 1), np.float32)}
    (folder / "Pdist_matrix.pkl").write_bytes(pickle.dumps(content))
    file = next(f for f in official_files() if f.path == "Pdist_matrix.pkl")
    with pytest.raises(ValueError, match=r"got shape \(5, 1\) of float32, which no mesh has"):
        prepare_file(folder, file)


def test_a_home_folder_in_the_environment_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DETECTRON2_DATASETS", "~/data")
    places = [entry.files[0] for entry in catalog.entries() if entry.name == "evaluation"]
    assert places == [tmp_path / "data/densepose_smpl/SMPL_subdiv.mat"]


def test_known_sizes_are_those_of_a_measured_file():
    measured = [f for f in official_files() if f.sha256]
    assert [f.path for f in measured] == ["UV_Processed.mat"]
    assert all(len(f.sha256) == 64 and f.size_bytes for f in measured)
