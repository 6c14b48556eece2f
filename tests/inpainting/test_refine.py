from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from densepose.inpainting.cells import Guess, keep_points, parts_of_region
from densepose.inpainting.methods import Scores, network_alone, refine_in_charts
from tests.support.inpainting_scenes import scene, truth

BOX = (10.0, 20.0, 58.0, 84.0)


def scores_at(place: np.ndarray, region: np.ndarray, *, sure: float = 5.0, shift: float = 0.0):
    """A network that knows the truth, but for a shift of U and a log ratio of any size."""
    part, uv = truth(place, np.array(BOX))
    second = part == parts_of_region()[region, 1]
    both = np.repeat((uv + [shift, 0])[:, None], 2, axis=1)
    return Scores(np.where(second, sure, -sure), both, np.zeros((len(place), 2)))


def everything(**options):
    someone, cells, points = scene()
    at_cells = scores_at(cells.place_px, cells.region, **options)
    at_points = scores_at(points.place_px, points.region, **options)
    return someone, cells, points, at_cells, at_points


def test_the_networks_word_is_kept_of_the_network_alone():
    someone, cells, points, at_cells, at_points = everything(shift=0.05)
    guess = network_alone(cells, at_cells)
    part, uv = truth(cells.place_px, np.array(BOX))
    assert np.array_equal(guess.part, part)
    np.testing.assert_allclose(guess.uv, uv + [0.05, 0])


def test_a_network_that_is_right_at_the_points_is_not_changed():
    someone, cells, points, at_cells, at_points = everything()
    guess = refine_in_charts(cells, points, at_cells, at_points)
    part, uv = truth(cells.place_px, np.array(BOX))
    assert np.array_equal(guess.part, part)
    np.testing.assert_allclose(guess.uv, uv, atol=1e-6)


def test_an_error_that_is_the_same_everywhere_is_taken_off():
    someone, cells, points, at_cells, at_points = everything(shift=0.05)
    _, uv = truth(cells.place_px, np.array(BOX))
    # A reach of 1e-6 never trusts the spline, which is right here.
    for reach, most in ((1e-6, 0.03), (1e6, 1e-4)):
        guess = refine_in_charts(cells, points, at_cells, at_points, reach)
        error = np.abs(guess.uv - uv)
        assert error[:, 0].mean() < most
        assert error[:, 1].max() < 1e-4


def test_points_decide_where_the_network_is_not_sure():
    someone, cells, points, at_cells, at_points = everything(sure=-1.0)
    part, _ = truth(cells.place_px, np.array(BOX))
    torso = cells.region == 1
    alone = network_alone(cells, at_cells)
    assert not (alone.part == part)[torso].any()
    guess = refine_in_charts(cells, points, at_cells, at_points)
    assert (guess.part == part)[torso].mean() > 0.8
    sure = [replace(s, log_ratio=20 * s.log_ratio) for s in (at_cells, at_points)]
    stubborn = refine_in_charts(cells, points, *sure)
    assert np.array_equal(stubborn.part, alone.part)


def test_a_part_without_points_is_the_networks():
    someone, cells, points, at_cells, at_points = everything(shift=0.05)
    kept = np.flatnonzero(points.part != 4)
    fewer = type(points)(**{name: value[kept] for name, value in vars(points).items()})
    there = Scores(**{name: value[kept] for name, value in vars(at_points).items()})
    guess = refine_in_charts(cells, fewer, at_cells, there)
    hand = cells.region == 3
    assert (guess.part[hand] == 4).all()
    np.testing.assert_allclose(guess.uv[hand], at_cells.uv[hand, 0])


def test_confidence_by_hand():
    someone, cells, points, at_cells, at_points = everything(sure=2.0)
    spread = np.full_like(at_cells.spread, 0.1)
    guess = network_alone(cells, replace(at_cells, spread=spread))
    two_parts = cells.region == 1
    assert guess.confidence[two_parts] == pytest.approx(np.exp(-1) / (1 + np.exp(-2.0)))
    assert guess.confidence[~two_parts] == pytest.approx(np.exp(-1))


def test_annotated_points_are_reproduced_where_they_lie():
    someone, cells, points, *_ = everything()
    nothing = Guess(
        np.zeros(len(cells.person), int),
        np.zeros((len(cells.person), 2)),
        np.zeros(len(cells.person)),
    )
    kept = keep_points(cells, points, nothing)
    place = {(p, i): k for k, (p, i) in enumerate(zip(cells.person, cells.index, strict=True))}
    best: dict[int, int] = {}
    for k in range(len(points.part)):
        at = place.get((points.person[k], points.index[k]))
        if at is not None and (
            at not in best or points.off_centre[k] < points.off_centre[best[at]]
        ):
            best[at] = k
    assert np.array_equal(np.flatnonzero(kept.part), sorted(best))
    for at, k in best.items():
        assert kept.part[at] == points.part[k]
        assert np.array_equal(kept.uv[at], points.uv[k])
        assert kept.confidence[at] == 1
    assert not nothing.part.any()  # the guess itself is not changed
