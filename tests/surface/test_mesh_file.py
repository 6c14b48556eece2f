"""Reading meshes and labels of the user's own: the order is kept, mistakes are named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.surface.mesh import SurfaceMesh
from densepose.surface.own.mesh_file import read_mesh
from densepose.surface.own.parts import labels_of_faces, read_part_labels
from tests.support.shapes import unit_cube, write_obj


@pytest.mark.parametrize("texture", [False, True])
def test_vertices_and_triangles_keep_their_order(tmp_path, texture):
    cube = unit_cube()
    write_obj(tmp_path / "cube.obj", cube, texture=texture)
    mesh = read_mesh(tmp_path / "cube.obj", scale=0.01)
    np.testing.assert_allclose(mesh.vertices_m, cube.vertices_m * 0.01)
    np.testing.assert_array_equal(mesh.faces, cube.faces)


def test_squares_become_triangles_and_other_formats_are_read(tmp_path):
    (tmp_path / "square.off").write_text("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n")
    mesh = read_mesh(tmp_path / "square.off")
    assert (mesh.num_vertices, mesh.num_faces) == (4, 2)


def test_merging_makes_one_vertex_of_those_at_one_place(tmp_path):
    cube = unit_cube()
    soup = SurfaceMesh(
        cube.vertices_m[cube.faces.ravel()], np.arange(36, dtype=np.int32).reshape(-1, 3)
    )
    write_obj(tmp_path / "soup.obj", soup)
    assert read_mesh(tmp_path / "soup.obj").num_vertices == 36
    merged = read_mesh(tmp_path / "soup.obj", merge=True)
    assert merged.num_vertices == 8
    np.testing.assert_array_equal(merged.vertices_m[merged.faces], cube.vertices_m[cube.faces])
    np.testing.assert_array_equal(merged.vertices_m[0], soup.vertices_m[0])  # first come, first


def test_meshes_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match="absent.obj: no such file"):
        read_mesh(tmp_path / "absent.obj")
    with pytest.raises(InputError, match=r"a.fbx: a mesh must be one of .obj"):
        read_mesh(tmp_path / "a.fbx")
    (tmp_path / "points.obj").write_text("v 0 0 0\nv 1 0 0\n")
    with pytest.raises(InputError, match=r"points.obj: (holds no triangles|not a readable mesh)"):
        read_mesh(tmp_path / "points.obj")
    # The reader drops vertices that no triangle uses where there are texture vertices.
    write_obj(tmp_path / "loose.obj", unit_cube(), extra="v 5 5 5\n", texture=True)
    with pytest.raises(InputError, match="loose.obj: 1 of 9 vertices belong to no triangle"):
        read_mesh(tmp_path / "loose.obj")
    with pytest.raises(InputError, match="scale must be a positive number, got 0"):
        read_mesh(tmp_path / "loose.obj", scale=0)


def test_labels_of_vertices_go_to_triangles_by_majority():
    faces = np.array([[0, 1, 2], [1, 2, 3], [0, 2, 4]])
    label = np.array([5, 3, 3, 4, 1])
    assert labels_of_faces(label, faces).tolist() == [3, 3, 1]


@pytest.mark.parametrize("ending", ["txt", "npy", "json"])
def test_labels_in_every_form(tmp_path, ending):
    cube, path = unit_cube(), tmp_path / f"labels.{ending}"
    label = np.arange(12) // 2 + 1
    if ending == "txt":
        np.savetxt(path, label, fmt="%d")
    elif ending == "npy":
        np.save(path, label)
    else:
        path.write_text(json.dumps(label.tolist()))
    np.testing.assert_array_equal(read_part_labels(path, cube).face_part, label)


def test_named_parts_are_lists_of_vertices(tmp_path):
    path = tmp_path / "parts.json"
    path.write_text(json.dumps({"low": [0, 1, 2, 3], "high": [4, 5, 6, 7]}))
    labels = read_part_labels(path, unit_cube())
    assert labels.names[:4] == ("", "low", "high", "") and len(labels.names) == 25
    height = unit_cube().vertices_m[unit_cube().faces][..., 2].mean(axis=1)
    np.testing.assert_array_equal(labels.face_part, np.where(height < 0.5, 1, 2))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("1 2 3", r"3 labels in shape \(3,\); the mesh has 12 triangles and 8 vertices"),
        ("1 " * 11 + "25", "label 25 in place 11; parts are whole numbers from 1 to 24"),
        ("1 " * 11 + "1.5", "label 1.5 in place 11"),
        ("a b", "not a list of labels"),
    ],
)
def test_wrong_labels_are_named(tmp_path, content, complaint):
    path = tmp_path / "labels.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=complaint):
        read_part_labels(path, unit_cube())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"a": [0, 1]}, "6 vertices are in no part, the first is 2"),
        ({"a": [0, 8]}, "part 'a' must be a list of vertices from 0 to 7"),
        ({"a": "x"}, "part 'a' is not a list of vertices"),
        ({}, "names 0 parts; 1 to 24 are possible"),
    ],
)
def test_wrong_named_parts_are_named(tmp_path, content, complaint):
    path = tmp_path / "parts.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=complaint):
        read_part_labels(path, unit_cube())


def test_labels_that_fit_triangles_and_vertices_need_a_word(tmp_path):
    # A ring of squares, open at both ends, has as many triangles as vertices.
    angle = np.arange(6) * np.pi / 3
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    vertices = np.concatenate([ring, ring + [0, 0, 1]]).astype(np.float32)
    a, b = np.arange(6), (np.arange(6) + 1) % 6
    faces = np.concatenate([np.stack([a, b, b + 6], axis=1), np.stack([a, b + 6, a + 6], axis=1)])
    mesh = SurfaceMesh(vertices, faces.astype(np.int32))
    labels = np.repeat([1, 2], 6)
    np.savetxt(tmp_path / "labels.txt", labels, fmt="%d")
    with pytest.raises(InputError, match="labels.txt: 12 labels .* 12 triangles .* 12 vertices"):
        read_part_labels(tmp_path / "labels.txt", mesh)
    read = read_part_labels(tmp_path / "labels.txt", mesh, of="triangles")
    assert read.face_part.tolist() == labels.tolist()
    read = read_part_labels(tmp_path / "labels.txt", mesh, of="vertices")
    assert read.face_part.tolist() == labels_of_faces(labels, mesh.faces).tolist()
    named = {"low": list(range(6)), "high": list(range(6, 12))}
    (tmp_path / "labels.json").write_text(json.dumps(named))
    read = read_part_labels(tmp_path / "labels.json", mesh)
    assert read.face_part.tolist() == labels_of_faces(labels, mesh.faces).tolist()
    with pytest.raises(InputError, match="labels of 'faces'"):
        read_part_labels(tmp_path / "labels.txt", mesh, of="faces")
