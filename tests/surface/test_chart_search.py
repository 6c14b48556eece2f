from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from densepose.surface.official.surface import OfficialCharts


def charts(rng: np.random.Generator, count: int, parts: int = 3) -> OfficialCharts:
    uv = rng.uniform(0, 1, (count, 2))
    return OfficialCharts(uv, rng.integers(1, parts + 1, count), rng.permutation(count))


def exhaustive(surface: OfficialCharts, part: np.ndarray, uv: np.ndarray) -> np.ndarray:
    vertex = np.full(len(part), -1)
    for number in np.unique(part[part > 0]):
        rows = np.flatnonzero(surface.part == number)
        nearest = cdist(uv[part == number], surface.uv[rows]).argmin(axis=1)
        vertex[part == number] = surface.mesh_vertex[rows[nearest]]
    return vertex


@pytest.mark.parametrize("count", [4, 30, 900, 6000])
def test_the_nearest_vertex_is_that_of_an_exhaustive_search(count):
    rng = np.random.default_rng(count)
    surface = charts(rng, count, parts=1 if count == 4 else 3)
    part = rng.integers(0, int(surface.part.max()) + 1, 3000)
    # Most positions are in the chart; some lie outside or on the edges of squares.
    uv = rng.uniform(-0.3, 1.3, (3000, 2))
    uv[:1000] = rng.integers(0, 29, (1000, 2)) / 28
    np.testing.assert_array_equal(surface.nearest_vertex(part, uv), exhaustive(surface, part, uv))


def test_vertices_crowded_in_a_corner_are_found_from_afar():
    rng = np.random.default_rng(0)
    uv = rng.uniform(0.96, 1.0, (50, 2))
    surface = OfficialCharts(uv, np.ones(50, np.int64), np.arange(50))
    asked = rng.uniform(0, 1, (400, 2))
    part = np.ones(400, np.int64)
    np.testing.assert_array_equal(
        surface.nearest_vertex(part, asked), exhaustive(surface, part, asked)
    )


def test_nothing_is_asked_of_the_background():
    surface = charts(np.random.default_rng(1), 20)
    assert surface.nearest_vertex([0, 0], [[0.1, 0.2], [0.3, 0.4]]).tolist() == [-1, -1]
    assert surface.nearest_vertex([], np.zeros((0, 2))).shape == (0,)
