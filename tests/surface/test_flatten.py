"""Laying pieces flat: cut open to discs, flattened without folds, steps against slow twins."""

from __future__ import annotations

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.surface.mesh import SurfaceMesh, euler_characteristic, face_areas, plane_areas
from densepose.surface.own.flatten import (
    border_loops,
    disc_embedding,
    flatten_without_folds,
    open_to_disc,
    split_at,
)
from tests.support.shapes import grid_mesh, half_cylinder, sphere, torus, tube, unit_cube
from tools.assets.bake_atlas import classical_scaling, geodesic_matrix, majorise_stress


@pytest.mark.parametrize(
    ("mesh", "cut"),
    [(grid_mesh(4, 3), 0), (sphere(2), 1), (tube(), 1), (torus(), 1)],
    ids=["disc", "sphere", "tube", "torus"],
)
def test_every_shape_becomes_a_disc_of_the_same_triangles(mesh, cut):
    faces, vertex = open_to_disc(mesh.vertices_m, mesh.faces)
    assert euler_characteristic(faces) == 1 and len(border_loops(faces)) == 1
    np.testing.assert_array_equal(vertex[faces], mesh.faces)
    assert (np.diff(vertex) >= 0).all()
    assert (len(vertex) > mesh.num_vertices) == bool(cut)


def test_a_tube_is_cut_straight_from_end_to_end():
    mesh = tube(along=6)
    _, vertex = open_to_disc(mesh.vertices_m, mesh.faces)
    twice = vertex[:-1][vertex[1:] == vertex[:-1]]
    assert len(twice) == 7  # one row of vertices
    assert np.ptp(mesh.vertices_m[twice][:, [0, 2]], axis=0).max() < 1e-6


def test_two_holes_are_joined_to_the_border():
    mesh = grid_mesh(12, 5)
    centre = mesh.vertices_m[mesh.faces].mean(axis=1)
    holes = (np.abs(centre[:, 1] - 0.5) < 0.1) & (np.abs(np.abs(centre[:, 0] - 0.5) - 0.2) < 0.08)
    faces = mesh.faces[~holes]
    assert len(border_loops(faces)) == 3
    opened, vertex = open_to_disc(mesh.vertices_m, faces)
    assert euler_characteristic(opened) == 1 and len(border_loops(opened)) == 1
    np.testing.assert_array_equal(vertex[opened], faces)


def test_by_hand_two_fans_that_touch_are_split():
    faces = np.array([[0, 1, 2], [0, 3, 4]])
    opened, vertex = split_at(faces, np.zeros((0, 2), np.int64))
    assert vertex.tolist() == [0, 0, 1, 2, 3, 4]
    assert opened[0, 0] != opened[1, 0]
    square = np.array([[0, 1, 2], [0, 2, 3]])
    assert len(split_at(square, np.zeros((0, 2), np.int64))[1]) == 4
    assert len(split_at(square, np.array([[2, 0]]))[1]) == 6


def test_what_is_in_two_pieces_is_rejected():
    mesh = half_cylinder(4, 2)
    faces = np.concatenate([mesh.faces, mesh.faces + mesh.num_vertices])
    points = np.concatenate([mesh.vertices_m, mesh.vertices_m + 1])
    with pytest.raises(InputError, match="cannot be cut open to a disc"):
        open_to_disc(points, faces)


def gaps(position: np.ndarray) -> np.ndarray:
    return np.linalg.norm(position[:, None] - position, axis=2)


def dome() -> SurfaceMesh:
    """Most of a sphere, open at the bottom: as hard to flatten as a sock."""
    ball = sphere(3)
    kept = ball.faces[ball.vertices_m[ball.faces][..., 1].mean(axis=1) > -0.7]
    used, faces = np.unique(kept, return_inverse=True)
    return SurfaceMesh(ball.vertices_m[used], faces.reshape(-1, 3))


def test_a_half_cylinder_unrolls():
    mesh = half_cylinder()
    distance = geodesic_matrix(mesh.vertices_m, mesh.faces)
    position = classical_scaling(distance)
    np.testing.assert_allclose(gaps(position), distance, atol=6e-3)
    assert np.ptp(position[:, 1]) == pytest.approx(1, rel=0.01)  # the longer side comes second
    assert np.ptp(position[:, 0]) == pytest.approx(0.1 * np.pi, rel=0.01)


def test_with_a_mirror_the_first_coordinate_is_odd_and_the_second_even():
    mesh = half_cylinder(height=0.2)  # wider than high
    image = mesh.vertices_m * [-1, 1, 1]
    mirror = np.linalg.norm(image[:, None] - mesh.vertices_m, axis=2).argmin(axis=1)
    distance = geodesic_matrix(mesh.vertices_m, mesh.faces)
    position = classical_scaling(distance, mirror)
    np.testing.assert_allclose(position[mirror], position * [-1, 1], atol=1e-9)
    np.testing.assert_allclose(gaps(position), distance, atol=6e-3)


def test_majorisation_recovers_known_positions_and_lowers_the_stress():
    rng = np.random.default_rng(0)
    known = rng.random((40, 2))
    start = known + 0.05 * rng.standard_normal((40, 2))
    found = majorise_stress(gaps(known), start, max_iterations=2000, tolerance=1e-12)
    np.testing.assert_allclose(gaps(found), gaps(known), atol=1e-3)
    one_step = majorise_stress(gaps(known), start, max_iterations=1)
    assert np.sum((gaps(one_step) - gaps(known)) ** 2) < np.sum((gaps(start) - gaps(known)) ** 2)


def test_one_step_of_majorisation_equals_the_definition_written_as_a_loop():
    rng = np.random.default_rng(1)
    wanted, start = gaps(rng.random((7, 3))), rng.random((7, 2))
    want = np.zeros((7, 2))
    for i in range(7):
        for j in range(7):
            if i != j:
                apart = np.linalg.norm(start[i] - start[j])
                want[i] += wanted[i, j] / apart * (start[i] - start[j]) / 7
    np.testing.assert_allclose(majorise_stress(wanted, start, max_iterations=1), want)


def test_the_disc_has_no_folds_and_a_round_border():
    mesh = dome()
    position = disc_embedding(mesh.vertices_m, mesh.faces)
    assert (plane_areas(position, mesh.faces) > 0).all()
    assert np.linalg.norm(position, axis=1).max() == pytest.approx(1)


def test_a_flat_piece_keeps_its_areas():
    mesh = grid_mesh(6, 4, 0.3, 0.2)
    position = flatten_without_folds(mesh.vertices_m, mesh.faces, iterations=100)
    np.testing.assert_allclose(
        plane_areas(position, mesh.faces), face_areas(mesh.vertices_m, mesh.faces), rtol=1e-3
    )


def test_a_dome_is_flattened_without_folds():
    mesh = dome()
    position = flatten_without_folds(mesh.vertices_m, mesh.faces)
    drawn, area = plane_areas(position, mesh.faces), face_areas(mesh.vertices_m, mesh.faces)
    assert (drawn > 0).all()
    assert np.percentile(drawn / area, 95) / np.percentile(drawn / area, 5) < 20


def test_a_target_with_folds_is_approached_without_them():
    mesh = half_cylinder()
    flat = np.stack([0.1 * np.arccos(-mesh.vertices_m[:, 0] / 0.1), mesh.vertices_m[:, 1]], axis=1)
    folded = flat.copy()
    inside = np.flatnonzero(np.abs(flat - flat.mean(axis=0)).max(axis=1) < 0.05)[0]
    folded[inside] += [0.0, 0.15]
    assert (plane_areas(folded, mesh.faces) < 0).any()
    position = flatten_without_folds(mesh.vertices_m, mesh.faces, target=folded, pull=1e3)
    assert (plane_areas(position, mesh.faces) > 0).all()
    others = np.arange(len(flat)) != inside
    assert np.abs(position - flat)[others].max() < 0.05


@pytest.mark.parametrize("mesh", [sphere(1), unit_cube(), "ring"], ids=["ball", "cube", "ring"])
def test_what_is_not_a_disc_is_refused(mesh):
    if mesh == "ring":
        square = grid_mesh(3, 3)
        centre = square.vertices_m[square.faces].mean(axis=1)[:, :2]
        kept = np.abs(centre - 0.5).max(axis=1) > 0.17
        mesh = SurfaceMesh(square.vertices_m, square.faces[kept])
    with pytest.raises(InputError, match="is not a disc"):
        disc_embedding(mesh.vertices_m, mesh.faces)
