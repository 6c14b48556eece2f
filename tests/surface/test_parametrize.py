"""Flattening: shapes whose flat form is known, steps against slow twins."""

from __future__ import annotations

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.surface.mesh import SurfaceMesh, face_areas, plane_areas
from densepose.surface.own.flatten import disc_embedding, flatten_without_folds
from tests.support.shapes import grid_mesh, half_cylinder, sphere, unit_cube
from tools.assets.bake_atlas import classical_scaling, geodesic_matrix, majorise_stress


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
