from __future__ import annotations

import numpy as np
import pytest

from densepose.structures.body_parts import COARSE_OF_PART
from densepose.surface.charts import load_template_atlas
from densepose.surface.nearest_place import NearestPlace, closest_on_triangles


def test_closest_point_by_hand():
    triangle = np.array([[0.0, 0, 0], [2, 0, 0], [0, 2, 0]])
    points = np.array([[0.5, 0.5, 3], [-1, -1, 0], [1, -2, 0], [2, 2, 0], [5, -1, 0]])
    barycentric, squared = closest_on_triangles(triangle, points)
    nearest = barycentric @ triangle
    expected = [[0.5, 0.5, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 0, 0]]
    np.testing.assert_allclose(nearest, expected, atol=1e-12)
    np.testing.assert_allclose(squared, [9, 2, 4, 2, 10])


def test_closest_point_is_the_best_of_very_many():
    rng = np.random.default_rng(0)
    triangles, points = rng.normal(size=(30, 3, 3)), rng.normal(size=(30, 3))
    steps = 200
    i, j = np.mgrid[: steps + 1, : steps + 1].reshape(2, -1)
    shares = np.stack([i, j, steps - i - j], axis=1)[i + j <= steps] / steps
    slow = ((shares @ triangles - points[:, None]) ** 2).sum(axis=2).min(axis=1)
    barycentric, squared = closest_on_triangles(triangles, points)
    assert (barycentric >= 0).all()
    np.testing.assert_allclose(barycentric.sum(axis=1), 1)
    assert (squared <= slow + 1e-12).all()
    np.testing.assert_allclose(np.sqrt(squared), np.sqrt(slow), atol=0.05)


def test_triangles_without_area_are_their_edges():
    line = np.array([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
    barycentric, squared = closest_on_triangles(line[None], np.array([[2.0, 1, 0]]))
    np.testing.assert_allclose(barycentric @ line, [[2, 0, 0]])
    assert squared[0] == pytest.approx(1)
    spot = np.ones((1, 3, 3))
    assert closest_on_triangles(spot, np.zeros((1, 3)))[1][0] == pytest.approx(3)


@pytest.fixture(scope="module")
def atlas():
    return load_template_atlas()


def test_places_on_the_surface_come_back(atlas):
    rng = np.random.default_rng(1)
    part = rng.integers(1, 25, 500)
    uv = rng.random((500, 2))
    points = atlas.to_points(part, uv)
    again = atlas.to_points(*NearestPlace(atlas, COARSE_OF_PART)(points, COARSE_OF_PART[part]))
    np.testing.assert_allclose(again, points, atol=1e-4)


def test_equals_a_search_through_all_triangles(atlas):
    rng = np.random.default_rng(2)
    part = rng.integers(1, 25, 60)
    points = atlas.to_points(part, rng.random((60, 2))) + rng.normal(scale=0.01, size=(60, 3))
    group = COARSE_OF_PART[part]
    found = atlas.to_points(*NearestPlace(atlas, COARSE_OF_PART)(points, group))
    corners = atlas.mesh.vertices_m[atlas.mesh.faces]
    for k, point in enumerate(points):
        own = COARSE_OF_PART[atlas.face_part] == group[k]
        _, squared = closest_on_triangles(corners[own], point)
        # Samples decide which triangles are compared.
        assert np.linalg.norm(found[k] - point) <= np.sqrt(squared.min()) + 5e-4


def test_only_parts_of_the_group_are_found(atlas):
    finder = NearestPlace(atlas, COARSE_OF_PART)
    rng = np.random.default_rng(3)
    anywhere = atlas.to_points(rng.integers(1, 25, 200), rng.random((200, 2)))
    group = rng.integers(1, 15, 200)
    part, uv = finder(anywhere, group)
    assert np.array_equal(COARSE_OF_PART[part], group)
    assert ((uv >= 0) & (uv <= 1)).all()


def test_a_group_without_triangles_is_background(atlas):
    part, uv = NearestPlace(atlas, COARSE_OF_PART)(np.zeros((2, 3)), np.array([99, 1]))
    assert part[0] == 0
    assert not uv[0].any()
    assert part[1] in (1, 2)
    assert NearestPlace(atlas, COARSE_OF_PART)(np.zeros((0, 3)), np.zeros(0, int))[1].shape == (
        0,
        2,
    )


def test_wrong_input_is_refused(atlas):
    with pytest.raises(ValueError, match="one group for each"):
        NearestPlace(atlas, np.arange(3))
    with pytest.raises(ValueError, match="point 1 is not finite"):
        NearestPlace(atlas, COARSE_OF_PART)(np.array([[0, 0, 0], [np.nan, 0, 0]]), np.array([1, 1]))
