from __future__ import annotations

import numpy as np
import pytest

from densepose.evaluation.correct_points import (
    RCP_THRESHOLDS_M,
    PointTotals,
    area_under_rcp,
)


def totals_of(distance, part, predicted, found=None) -> PointTotals:
    totals = PointTotals()
    distance, part, predicted = np.array(distance), np.array(part), np.array(predicted)
    found = np.ones(len(part), bool) if found is None else np.array(found)
    totals.add(distance, np.exp(-distance), part, predicted, found)
    return totals


def test_area_is_the_integral_of_the_curve():
    rng = np.random.default_rng(0)
    distance = rng.exponential(0.1, 400)
    distance[:50] = np.inf
    for limit in (0.1, 0.3):
        steps = (np.arange(20000) + 0.5) * limit / 20000
        curve = np.array([(distance < t).mean() for t in steps])
        assert area_under_rcp(distance, limit).mean() == pytest.approx(curve.mean(), abs=1e-4)


def test_an_error_of_half_the_limit_adds_one_half():
    assert area_under_rcp(np.array([0.05]), 0.1)[0] == pytest.approx(0.5)
    assert area_under_rcp(np.array([0.0, 0.1, np.inf]), 0.1).tolist() == [1.0, 0.0, 0.0]


def test_shares_by_hand():
    shares = totals_of(
        [0.0, 0.05, np.inf, np.inf], [1, 2, 2, 3], [1, 9, 0, 0], [True, True, True, False]
    ).shares()
    assert shares["points"] == 4
    assert shares["part_accuracy"] == 0.25
    assert shares["points_on_foreground"] == 0.5
    assert shares["points_of_found_people"] == 0.75
    assert shares["auc10"] == pytest.approx((1 + 0.5) / 4)


def test_parts_are_kept_apart_and_sum_to_the_whole():
    rng = np.random.default_rng(1)
    part, predicted = rng.integers(1, 25, 500), rng.integers(0, 25, 500)
    totals = totals_of(rng.exponential(0.1, 500), part, predicted)
    rows = totals.by_part()
    assert [row["part"] for row in rows] == list(range(1, 25))
    assert sum(row["points"] for row in rows) == 500
    of_three = part == 3
    assert rows[2]["part_accuracy"] == pytest.approx((predicted[of_three] == 3).mean())


def test_points_may_come_in_pieces():
    rng = np.random.default_rng(2)
    distance, part = rng.exponential(0.1, 90), rng.integers(1, 25, 90)
    pieces = PointTotals()
    for piece in np.array_split(np.arange(90), 7):
        found = np.ones(len(piece), bool)
        pieces.add(distance[piece], np.exp(-distance[piece]), part[piece], part[piece], found)
    whole = totals_of(distance, part, part)
    np.testing.assert_array_equal(pieces.rcp(), whole.rcp())
    assert pieces.shares() == pytest.approx(whole.shares())


def test_the_curve_rises_and_counts_errors_below_each_threshold():
    distance = np.array([0.0, 0.015, 0.2, np.inf])
    curve = totals_of(distance, [1, 1, 1, 1], [1, 1, 1, 0]).rcp()
    assert (np.diff(curve) >= 0).all() and curve[-1] == 0.75
    want = [(distance < t).mean() for t in RCP_THRESHOLDS_M]
    np.testing.assert_allclose(curve, want)


def test_without_points_nothing_is_known():
    totals = PointTotals()
    assert np.isnan(totals.shares()["auc10"]) and totals.shares()["points"] == 0
    assert np.isnan(totals.rcp()).all()


def test_rejects_a_limit_of_zero():
    with pytest.raises(ValueError, match="must be above 0 m, got 0"):
        area_under_rcp(np.array([0.1]), 0)
