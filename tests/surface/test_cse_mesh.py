"""The mesh files of embedding models: small ones of the same form."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.surface.official.cse import (
    MESH_NAMES,
    mesh_paths,
    num_vertices_in,
    read_distances,
    read_geometry,
    read_mirror,
    read_texcoords,
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


def read(folder: Path, kind: str):
    readers = (read_geometry, read_distances, read_mirror, read_texcoords)
    return dict(zip(contents(), readers, strict=True))[kind](mesh_paths(folder, NAME)[kind], 8)


def test_all_files_are_read(tmp_path):
    write(tmp_path)
    assert read(tmp_path, "geometry").num_faces == 12
    assert read(tmp_path, "geodists")[0, [7, 1]] == pytest.approx([3**0.5, 1])
    np.testing.assert_array_equal(read(tmp_path, "symmetry"), MIRROR)
    texcoords = read(tmp_path, "texcoords")
    assert texcoords.dtype == np.float32 and texcoords[3].tolist() == [1, 1]


@pytest.mark.parametrize("kind", ["geometry", "geodists", "symmetry", "texcoords"])
def test_a_file_that_is_not_there_is_named(tmp_path, kind):
    write(tmp_path, **{kind: None})
    with pytest.raises(InputError, match=r"cube_8.pkl: missing"):
        read(tmp_path, kind)


def test_a_geometry_of_zeros_is_no_geometry(tmp_path, caplog):
    nothing = {"vertices": np.zeros((8, 3), np.float32), "faces": np.zeros((12, 3), np.int64)}
    write(tmp_path, geometry=nothing)
    with caplog.at_level("INFO"):
        assert read(tmp_path, "geometry") is None
    assert "the geometry is not part of the release" in caplog.text


@pytest.mark.parametrize(
    ("kind", "content", "message"),
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
        ("geodists", np.full((8, 8), -1.0), "the distances must be from 0 to .*, got -1"),
        ("geodists", np.full((8, 8), np.inf), "the distances must be from 0 to .*, got inf"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, kind, content, message):
    write(tmp_path, **{kind: content})
    with pytest.raises(InputError, match=message):
        read(tmp_path, kind)


def test_a_mirror_that_does_not_lead_back_is_told(tmp_path, caplog):
    write(tmp_path, symmetry={"vertex_transforms": np.roll(np.arange(8), 1)})
    read(tmp_path, "symmetry")
    assert "mirrored twice, 8 vertices do not come back" in caplog.text


def test_names_end_in_the_number_of_vertices():
    assert [num_vertices_in(name) for name in MESH_NAMES[:2]] == [27554, 5029]
    with pytest.raises(InputError, match="mesh 'horse': its name must end in its number"):
        num_vertices_in("horse")
