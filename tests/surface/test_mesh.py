"""Triangle meshes: checks, measures, edges, topology."""

from __future__ import annotations

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.surface.mesh import (
    SurfaceMesh,
    adjacent_triangles,
    border_sides,
    boundary_edges,
    check_mesh,
    edge_lengths,
    edges,
    euler_characteristic,
    face_areas,
    face_neighbors,
    face_normals,
    half_edges,
    vertex_normals,
)

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], dtype=np.int32)
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
SQUARE = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
SQUARE_CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float32)


def naive_edges(faces: np.ndarray) -> list[list[int]]:
    found = set()
    for a, b, c in faces.tolist():
        found |= {(min(p, q), max(p, q)) for p, q in ((a, b), (b, c), (c, a))}
    return [list(edge) for edge in sorted(found)]


def naive_neighbors(faces: np.ndarray) -> set[tuple[int, int]]:
    return {
        (f, g)
        for f in range(len(faces))
        for g in range(f + 1, len(faces))
        if len(set(faces[f].tolist()) & set(faces[g].tolist())) == 2
    }


def test_areas_and_normals_of_a_tetrahedron_by_hand():
    np.testing.assert_allclose(face_areas(CORNERS, TETRAHEDRON), [0.5, 0.5, 3**0.5 / 2, 0.5])
    expected = np.array([[0, 0, -1], [0, -1, 0], [3**-0.5] * 3, [-1, 0, 0]])
    np.testing.assert_allclose(face_normals(CORNERS, TETRAHEDRON), expected, atol=1e-6)


def test_area_vectors_of_a_closed_surface_cancel():
    rng = np.random.default_rng(0)
    moved = CORNERS + rng.normal(scale=0.1, size=CORNERS.shape).astype(np.float32)
    total = face_areas(moved, TETRAHEDRON) @ face_normals(moved, TETRAHEDRON)
    np.testing.assert_allclose(total, 0, atol=1e-6)


def test_vertex_normals_weigh_by_area():
    # Vertex 0 touches the three right-angled triangles, all of area 1/2.
    np.testing.assert_allclose(vertex_normals(CORNERS, TETRAHEDRON)[0], [-(3**-0.5)] * 3, atol=1e-6)


def test_triangles_without_area_and_vertices_without_triangles_get_zero_normals():
    line = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]], dtype=np.float32)
    faces = np.array([[0, 1, 2]])
    assert face_areas(line, faces).tolist() == [0]
    assert face_normals(line, faces).tolist() == [[0, 0, 0]]
    assert vertex_normals(line, faces)[3].tolist() == [0, 0, 0]


def test_edges_and_neighbours_match_loops():
    rng = np.random.default_rng(1)
    grid = np.arange(20).reshape(4, 5)
    quads = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], -1).reshape(
        -1, 4
    )
    faces = rng.permutation(np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]))
    assert edges(faces).tolist() == naive_edges(faces)
    assert set(map(tuple, face_neighbors(faces).tolist())) == naive_neighbors(faces)
    assert euler_characteristic(faces) == 1


def test_edge_lengths_by_hand():
    lengths = edge_lengths(SQUARE_CORNERS, edges(SQUARE))
    np.testing.assert_allclose(lengths, [1, 2**0.5, 1, 1, 1], rtol=1e-6)


def test_half_edges_keep_the_orientation():
    assert half_edges(np.array([[4, 5, 6]])).tolist() == [[4, 5], [5, 6], [6, 4]]


def test_topology_of_open_and_closed_surfaces():
    assert euler_characteristic(TETRAHEDRON) == 2
    assert len(boundary_edges(TETRAHEDRON)) == 0
    assert sorted(boundary_edges(SQUARE).tolist()) == [[0, 1], [1, 2], [2, 3], [3, 0]]


def test_what_lies_behind_each_side():
    other, side = adjacent_triangles(SQUARE)
    assert other.tolist() == [[-1, -1, 1], [0, -1, -1]]
    assert side.tolist() == [[-1, -1, 0], [2, -1, -1]]
    assert [rows.tolist() for rows in border_sides(SQUARE)] == [[0, 0, 1, 1], [0, 1, 1, 2]]
    assert adjacent_triangles(SQUARE[:0])[0].shape == (0, 3)


def test_with_vertices_keeps_the_faces_and_checks_the_shape():
    mesh = SurfaceMesh(CORNERS, TETRAHEDRON)
    moved = mesh.with_vertices(CORNERS * 2.0)
    assert moved.faces is mesh.faces
    assert (moved.num_vertices, moved.num_faces) == (4, 4)
    with pytest.raises(ValueError, match=r"must have shape \(4, 3\) .* got \(3, 3\)"):
        mesh.with_vertices(CORNERS[:3])


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (CORNERS[:, :2], TETRAHEDRON, r"a.npz: vertices must have shape \(V, 3\), got \(4, 2\)"),
        (CORNERS, TETRAHEDRON[:, :2], r"a.npz: faces must have shape \(F, 3\), got \(4, 2\)"),
        (CORNERS, TETRAHEDRON.astype(float), "a.npz: faces must be integers, got float64"),
        (CORNERS * [1, np.nan, 1], TETRAHEDRON, "a.npz: vertex 0 is not finite"),
        (CORNERS[:3], TETRAHEDRON, r"face 1 names vertices \[0, 1, 3\], expected 0 to 2"),
        (CORNERS, np.array([[0, 1, 1]]), r"face 0 names a vertex twice: \[0, 1, 1\]"),
    ],
)
def test_rejects_broken_meshes(vertices: np.ndarray, faces: np.ndarray, message: str):
    with pytest.raises(InputError, match=message):
        check_mesh(vertices, faces, "a.npz")


def test_check_mesh_converts_to_the_stored_types():
    mesh = check_mesh(CORNERS.astype(np.float64), TETRAHEDRON.astype(np.int64), "a.npz")
    assert (mesh.vertices_m.dtype, mesh.faces.dtype) == (np.float32, np.int32)
