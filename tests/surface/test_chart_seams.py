"""Seams between charts: on a flat body whose two charts are drawn turned against each other."""

from __future__ import annotations

import numpy as np
import pytest

from densepose.surface.charts import ChartAtlas, load_template_atlas
from densepose.surface.seams import find_seams, points_beyond_seams
from tests.support.shapes import seam_points, two_part_atlas


@pytest.fixture(scope="module")
def flat() -> ChartAtlas:
    return two_part_atlas()


def flat_xy(part: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Where the flat body has (u, v), also outside of the charts."""
    a, b = np.moveaxis((uv - 0.1) / 0.8, -1, 0)
    return np.where((part == 1)[:, None], np.stack([a, b], 1), np.stack([1 + b, 1 - a], 1))


def test_the_two_squares_meet_in_four_sides(flat):
    seams = find_seams(flat)
    assert len(seams.face) == 8  # four sides, from both sides
    faces = flat.mesh.faces
    start, end = faces[seams.face, seams.corner], faces[seams.face, (seams.corner + 1) % 3]
    np.testing.assert_allclose(flat.mesh.vertices_m[np.stack([start, end])][..., 0], 1)
    np.testing.assert_array_equal(start, faces[seams.other_face, (seams.other_corner + 1) % 3])
    assert (flat.face_part[seams.face] != flat.face_part[seams.other_face]).all()


def test_seams_of_the_template_are_one_place_in_both_charts():
    atlas = load_template_atlas()
    here, there = (atlas.to_points(*side) for side in seam_points(atlas, 2))
    assert len(here) > 500
    np.testing.assert_allclose(here, there, atol=1e-4)


def test_beyond_the_seam_the_surface_goes_on(flat):
    points, step = points_beyond_seams(flat, 40, reach=0.06)
    # The seam is at u = 0.9 of part 1 and at v = 0.1 of part 2; other borders have nothing behind.
    straight = np.where(points.part == 1, points.uv[:, 1], points.uv[:, 0])
    beside = (straight > 0.1) & (straight < 0.9)
    assert set(points.part) == {1, 2} and beside.sum() > 60
    np.testing.assert_allclose(points.uv * 40, step)
    distance = np.where(points.part == 1, points.uv[:, 0] - 0.9, 0.1 - points.uv[:, 1])
    assert (distance > -1e-6).all() and (distance < 0.06 + 1e-6).all()
    here = flat_xy(points.part, points.uv)[beside]
    there = flat_xy(points.other_part, points.other_uv)[beside]
    np.testing.assert_allclose(here, there, atol=1e-5)


def test_by_hand_one_point_beyond(flat):
    # Part 1 at (0.95, 0.5) is 0.0625 m behind the seam, half way up: x = 1.0625, y = 0.5.
    points, step = points_beyond_seams(flat, 20, reach=0.06)
    (row,) = np.flatnonzero((points.part == 1) & (step == [19, 10]).all(axis=1))
    assert points.other_part[row] == 2
    np.testing.assert_allclose(points.other_uv[row], [0.5, 0.15], atol=1e-6)


def test_a_fold_of_the_body_is_walked_around(flat):
    """The right square bent up by a right angle: the charts, and so the answer, stay the same."""
    bent = flat.mesh.vertices_m.copy()
    right = bent[:, 0] > 1
    bent[right, 2], bent[right, 0] = bent[right, 0] - 1, 1
    folded = ChartAtlas(
        flat.mesh.with_vertices(bent),
        flat.face_part,
        flat.uv,
        flat.uv_part,
        flat.uv_vertex_mesh,
        flat.uv_faces,
    )
    straight, _ = points_beyond_seams(flat, 30, reach=0.06)
    around, _ = points_beyond_seams(folded, 30, reach=0.06)
    np.testing.assert_allclose(around.other_uv, straight.other_uv, atol=1e-6)
