"""The mesh files of embedding models: small ones of the same form."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from densepose.surface.official.cse import (
    MESH_NAMES,
    load_cse_mesh,
    mesh_paths,
    num_vertices_in,
)
from tests.support.shapes import unit_cube

NAME = "cube_8"
MIRROR = np.array([1, 0, 3, 2, 5, 4, 7, 6])


def contents() -> dict:
    cube = unit_cube()
    place = cube.vertices_m.astype(np.float64)
    return {
        "geometry": {"vertices": cube.vertices_m, "faces": cube.faces.astype(np.int64)},
        "geodists": np.linalg.norm(place[:, None] - place[None], axis=2).astype(np.float32),
        "symmetry": {"vertex_transforms": MIRROR},
        "texcoords": place[:, :2].astype(np.float32),
    }


def write(folder: Path, **changes) -> None:
    for kind, path in mesh_paths(folder, NAME).items():
        content = changes.get(kind, contents()[kind])
        if content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(content))


def test_all_files_are_read(tmp_path):
    write(tmp_path)
    mesh = load_cse_mesh(tmp_path, NAME)
    assert (mesh.name, mesh.num_vertices, mesh.mesh.num_faces) == (NAME, 8, 12)
    assert mesh.distances.lookup([0, 0], [7, 1]) == pytest.approx([3**0.5, 1])
    np.testing.assert_array_equal(mesh.mirror_vertex, MIRROR)
    assert mesh.texcoords.dtype == np.float32 and mesh.texcoords[3].tolist() == [1, 1]


def test_what_is_not_there_is_none(tmp_path):
    write(tmp_path, geodists=None, texcoords=None)
    mesh = load_cse_mesh(tmp_path, NAME)
    assert mesh.distances is None and mesh.texcoords is None and mesh.mesh is not None
    with pytest.raises(ValueError, match="other files of mesh 'dog_5002'"):
        load_cse_mesh(tmp_path, "dog_5002")


def test_a_geometry_of_zeros_is_no_geometry(tmp_path, caplog):
    nothing = {"vertices": np.zeros((8, 3), np.float32), "faces": np.zeros((12, 3), np.int64)}
    write(tmp_path, geometry=nothing)
    with caplog.at_level("INFO"):
        assert load_cse_mesh(tmp_path, NAME).mesh is None
    assert "the geometry is not part of the release" in caplog.text


def test_distances_are_converted_once_and_again_when_the_pickle_is_newer(tmp_path):
    write(tmp_path)
    load_cse_mesh(tmp_path, NAME)
    paths = mesh_paths(tmp_path, NAME)
    converted = paths["geodists"].with_suffix(".float32.npy")
    stamp = converted.stat().st_mtime_ns
    load_cse_mesh(tmp_path, NAME)
    assert converted.stat().st_mtime_ns == stamp
    paths["geodists"].write_bytes(pickle.dumps(2 * contents()["geodists"]))
    os.utime(paths["geodists"], ns=(stamp + 10**9, stamp + 10**9))
    assert load_cse_mesh(tmp_path, NAME).distances.lookup(0, 1) == 2
    paths["geodists"].unlink()
    assert load_cse_mesh(tmp_path, NAME).distances.lookup(0, 1) == 2


@pytest.mark.parametrize(
    ("kind", "content", "told"),
    [
        ("geometry", {"vertices": np.ones((8, 3))}, r"cube_8.pkl: expected a dict with 'faces'"),
        ("geometry", {"vertices": np.ones((7, 3))}, r"vertices must be \(8, 3\) numbers, got shap"),
        (
            "geometry",
            {"vertices": np.ones((8, 3)), "faces": np.full((2, 3), 8)},
            "faces must be whole numbers from 0 to 7, got 8",
        ),
        ("geometry", {"vertices": [[1.0], [1.0, 2.0]], "faces": []}, "got shape .* of object"),
        ("symmetry", MIRROR, "symmetry_cube_8.pkl: expected a dict with 'vertex_transforms'"),
        ("symmetry", {"vertex_transforms": MIRROR[1:]}, r"must be \(8,\) numbers, got shape \(7,"),
        ("symmetry", {"vertex_transforms": MIRROR + 0.5}, "whole numbers from 0 to 7, got 1.5"),
        ("texcoords", np.full((8, 2), 1.5), "texture coordinates must be from 0 to 1, got 1.5"),
        ("texcoords", np.zeros((8, 2), int), "texture coordinates must be .* of int64"),
        ("geodists", np.zeros((8, 9), np.float32), r"must be \(8, 8\) numbers, got shape \(8, 9\)"),
        ("geodists", np.zeros((8, 8), int), "got shape .* of int64"),
        ("geodists", np.full((8, 8), -1.0), "distances must be from 0 to .*, got -1"),
        ("geodists", np.full((8, 8), np.inf), "distances must be from 0 to .*, got inf"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, kind, content, told):
    write(tmp_path, **{kind: content})
    with pytest.raises(ValueError, match=told):
        load_cse_mesh(tmp_path, NAME)


@pytest.mark.parametrize("order", ["C", "F"])
def test_distances_may_differ_there_and_back(tmp_path, order):
    matrix = np.arange(64, dtype=np.float64).reshape(8, 8)
    write(tmp_path, geodists=np.asarray(matrix, order=order))
    distances = load_cse_mesh(tmp_path, NAME).distances
    found = distances.lookup(*np.indices((8, 8)))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, matrix)
    with pytest.raises(ValueError, match="vertex 8 is out of range for distances of 8 vertices"):
        distances.lookup([0], [8])


def test_damaged_converted_distances_are_named(tmp_path):
    write(tmp_path)
    load_cse_mesh(tmp_path, NAME)
    converted = mesh_paths(tmp_path, NAME)["geodists"].with_suffix(".float32.npy")
    for content in (b"\x93NUMPY", converted.read_bytes()[:-200]):
        converted.write_bytes(content)
        with pytest.raises(ValueError, match=r"not a complete .npy file .*delete it"):
            load_cse_mesh(tmp_path, NAME)
    np.save(converted, np.zeros(28, np.float32))
    with pytest.raises(ValueError, match=r"expected \(8, 8\) float32, got \(28,\)"):
        load_cse_mesh(tmp_path, NAME)


def test_a_mirror_that_does_not_lead_back_is_told(tmp_path, caplog):
    write(tmp_path, symmetry={"vertex_transforms": np.roll(np.arange(8), 1)})
    load_cse_mesh(tmp_path, NAME)
    assert "mirrored twice, 8 vertices do not come back" in caplog.text


def test_names_end_in_the_number_of_vertices():
    assert [num_vertices_in(name) for name in MESH_NAMES[:2]] == [27554, 5029]
    with pytest.raises(ValueError, match="mesh 'horse': its name must end in its number"):
        num_vertices_in("horse")
