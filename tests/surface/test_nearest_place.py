from __future__ import annotations

import numpy as np
import pytest

from densepose.structures.body_parts import COARSE_OF_PART
from densepose.surface.charts import load_template_atlas
from densepose.surface.nearest_place import NearestPlace


def distance_to_triangles(triangles: np.ndarray, point: np.ndarray) -> float:
    """To the nearest of (F, 3, 3) triangles: their planes where the foot is inside, else sides."""
    a, b, c = triangles.swapaxes(0, 1).astype(np.float64)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    height = ((point - a) * normal).sum(axis=1)
    foot = point - height[:, None] * normal
    inside, sides = np.ones(len(a), bool), []
    for start, end in ((a, b), (b, c), (c, a)):
        step = end - start
        inside &= (np.cross(step, foot - start) * normal).sum(axis=1) >= 0
        along = ((point - start) * step).sum(axis=1) / (step**2).sum(axis=1)
        sides.append(np.linalg.norm(start + along.clip(0, 1)[:, None] * step - point, axis=1))
    return min(np.abs(height[inside]).min(initial=np.inf), np.min(sides))


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
        nearest = distance_to_triangles(corners[own], point)
        assert np.linalg.norm(found[k] - point) == pytest.approx(nearest, abs=1e-6)


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
