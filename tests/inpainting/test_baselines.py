from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from densepose.inpainting.cells import cells_and_points
from densepose.inpainting.methods import nearest_point, smooth_in_part
from densepose.structures.body_parts import COARSE_OF_PART
from tests.support.inpainting_scenes import people, scene, truth

BOXES = ((10.0, 20.0, 58.0, 84.0), (60.0, 5.0, 120.0, 45.0))


def test_nearest_equals_the_definition_written_as_a_loop():
    someone, cells, points = scene(boxes=BOXES, points=12)
    guess = nearest_point(cells, points)
    for k in range(0, len(cells.person), 97):
        own = np.flatnonzero(
            (points.person == cells.person[k]) & (points.region == cells.region[k])
        )
        distance = np.linalg.norm(points.place_px[own] - cells.place_px[k], axis=1)
        best = own[distance.argmin()]
        assert guess.part[k] == points.part[best]
        assert np.array_equal(guess.uv[k], points.uv[best])


@pytest.mark.parametrize("method", [nearest_point, smooth_in_part])
def test_a_pixel_can_only_be_a_part_of_its_region(method):
    someone, cells, points = scene(boxes=BOXES)
    guess = method(cells, points)
    assert (guess.part > 0).all()
    assert np.array_equal(COARSE_OF_PART[guess.part], cells.region)
    assert guess.uv.min() >= 0
    assert guess.uv.max() <= 1


@pytest.mark.parametrize("method", [nearest_point, smooth_in_part])
def test_a_region_without_points_stays_unknown(method):
    someone = people()
    hands = someone.part == 4
    without = replace(
        someone,
        points_grid=someone.points_grid[~hands],
        part=someone.part[~hands],
        uv=someone.uv[~hands],
        owner=someone.owner[~hands],
    )
    cells, points = cells_and_points(without)
    guess = method(cells, points)
    assert np.array_equal(guess.part > 0, cells.region == 1)
    assert np.array_equal(guess.confidence > 0, guess.part > 0)


def test_splines_find_linear_charts_and_nearly_the_border_between_parts():
    someone, cells, points = scene(boxes=BOXES, points=60)
    guess = smooth_in_part(cells, points)
    for person, box in enumerate(BOXES):
        own = cells.person == person
        part, uv = truth(cells.place_px[own], np.array(box))
        right = guess.part[own] == part
        assert right.mean() > 0.97
        np.testing.assert_allclose(guess.uv[own][right], uv[right], atol=1e-4)


@pytest.mark.parametrize("method", [nearest_point, smooth_in_part])
def test_nobody(method):
    someone, cells, points = scene(boxes=())
    assert len(method(cells, points).part) == 0
