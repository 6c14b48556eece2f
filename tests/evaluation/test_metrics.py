from __future__ import annotations

import math

import numpy as np
import pytest

from densepose.evaluation.metrics import (
    GLOBAL_KAPPA_M,
    KINDS,
    PART_KAPPA_M,
    RCP_THRESHOLDS_M,
    PointTotals,
    area_under_rcp,
    masked_similarity,
    mean_per_segment,
    point_similarity,
    squares_as_published,
)
from densepose.structures.body_parts import PART_NAMES
from tests.support import naive_evaluation as naive


def gps(distance_m: np.ndarray, kappa_m: np.ndarray | float, num_points: np.ndarray) -> np.ndarray:
    return mean_per_segment(point_similarity(np.square(distance_m), kappa_m), num_points)


def test_matches_the_definition_written_as_a_loop():
    rng = np.random.default_rng(0)
    num_points = np.array([3, 0, 40, 1, 0, 17])
    distance = rng.exponential(0.2, num_points.sum())
    distance[rng.uniform(size=len(distance)) < 0.2] = np.inf
    part = rng.integers(1, 25, len(distance))
    got = gps(distance, PART_KAPPA_M[part], num_points)
    ends = np.cumsum(num_points)
    want = [
        naive.gps(
            distance[end - count : end].tolist(),
            [naive.kappa_of_part(p) for p in part[end - count : end].tolist()],
        )
        for end, count in zip(ends, num_points, strict=True)
    ]
    np.testing.assert_allclose(got, want, rtol=1e-13)


def test_one_kappa_away_scores_exp_of_minus_half():
    at_kappa = gps(np.array([0.255]), GLOBAL_KAPPA_M, np.array([1]))
    assert at_kappa[0] == pytest.approx(math.exp(-0.5), rel=1e-15)


def test_thirty_centimetres_score_one_half_as_the_paper_says():
    assert point_similarity(np.array([0.3**2]), GLOBAL_KAPPA_M)[0] == pytest.approx(0.5, abs=2e-3)


def test_growing_one_error_lowers_the_score():
    near = np.array([0.1, 0.2])
    scores = [
        gps(near + [0, more], GLOBAL_KAPPA_M, np.array([2]))[0] for more in (0.0, 0.01, 0.3, np.inf)
    ]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 4


def test_a_smaller_kappa_is_stricter():
    distance = np.array([0.1, 0.2, 0.3])
    strict, lax = (gps(distance, k, np.array([3]))[0] for k in (0.1, 0.3))
    assert strict < lax


def test_every_part_has_the_kappa_of_its_region():
    want = [naive.kappa_of_part(part) for part in range(1, 25)]
    np.testing.assert_array_equal(PART_KAPPA_M[1:], want)
    assert np.isnan(PART_KAPPA_M[0])


def test_segments_are_summed_exactly_as_numpy_sums_them_alone():
    rng = np.random.default_rng(1)
    num_points = rng.integers(0, 200, 300)
    values = np.exp(-rng.exponential(1, num_points.sum()))
    parts = np.split(values, np.cumsum(num_points)[:-1])
    want = np.array([part.mean() if len(part) else 0.0 for part in parts])
    np.testing.assert_array_equal(mean_per_segment(values, num_points), want)


def test_no_pairs_give_no_scores():
    nothing = np.zeros(0)
    assert gps(nothing, nothing, np.zeros(0, int)).shape == (0,)
    assert gps(nothing, nothing, np.zeros(2, int)).tolist() == [0, 0]


def test_published_squares_are_float32_only_where_all_distances_come_from_the_table():
    distance = np.array([0.1, 0.2, 0.1, 0.0, 0.3], np.float32).astype(np.float64)
    from_table = np.array([True, True, True, False, True])
    got = squares_as_published(distance, from_table, np.array([2, 0, 2, 1]))
    in_float32 = np.square(distance.astype(np.float32)).astype(np.float64)
    want = np.where([True, True, False, False, True], in_float32, np.square(distance))
    np.testing.assert_array_equal(got, want)
    assert (in_float32 != np.square(distance)).any()


def test_masked_similarity_is_the_geometric_mean():
    assert masked_similarity(np.array([0.25]), np.array([1.0]))[0] == 0.5
    assert masked_similarity(np.array([0.9]), np.array([0.0]))[0] == 0.0


def test_rejects_nan():
    with pytest.raises(ValueError, match="a distance is NaN"):
        point_similarity(np.array([np.nan]), 0.255)


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


def test_means_by_hand():
    means = totals_of(
        [0.0, 0.05, np.inf, np.inf], [1, 2, 2, 3], [1, 9, 0, 0], [True, True, True, False]
    ).means()
    assert means["points"] == 4
    assert means["part_accuracy"] == 0.25
    assert means["points_on_foreground"] == 0.5
    assert means["points_of_found_people"] == 0.75
    assert means["auc10"] == pytest.approx((1 + 0.5) / 4)


def test_parts_are_kept_apart_and_sum_to_the_whole():
    rng = np.random.default_rng(1)
    part, predicted = rng.integers(1, 25, 500), rng.integers(0, 25, 500)
    totals = totals_of(rng.exponential(0.1, 500), part, predicted)
    rows = totals.by_part()
    assert [row["part"] for row in rows] == list(range(1, 25))
    assert sum(row["points"] for row in rows) == 500
    of_three = part == 3
    assert rows[2]["part_accuracy"] == pytest.approx((predicted[of_three] == 3).mean())


def test_points_may_come_in_pieces_and_in_any_order():
    rng = np.random.default_rng(2)
    distance, part = rng.exponential(0.1, 90), rng.integers(1, 25, 90)
    pieces = PointTotals()
    for piece in np.array_split(rng.permutation(90), 7):
        pieces.merge(totals_of(distance[piece], part[piece], part[piece]))
    whole = totals_of(distance, part, part)
    np.testing.assert_array_equal(pieces.rcp(), whole.rcp())
    # To the last digit, whatever the order: processes add up to the scores of one.
    assert pieces.by_part() == whole.by_part() and pieces.kinds() == whole.kinds()
    assert whole.means()["point_similarity"] == pytest.approx(np.exp(-distance).mean(), abs=1e-9)


def test_the_curve_rises_and_counts_errors_below_each_threshold():
    distance = np.array([0.0, 0.015, 0.2, np.inf])
    curve = totals_of(distance, [1, 1, 1, 1], [1, 1, 1, 0]).rcp()
    assert (np.diff(curve) >= 0).all() and curve[-1] == 0.75
    want = [(distance < t).mean() for t in RCP_THRESHOLDS_M]
    np.testing.assert_allclose(curve, want)


def test_without_points_nothing_is_known():
    totals = PointTotals()
    assert np.isnan(totals.means()["auc10"]) and totals.means()["points"] == 0
    assert np.isnan(totals.rcp()).all()


def kind_of(part: int, predicted: int, found: bool) -> str:
    kinds = totals_of([np.inf], [part], [predicted], [found]).kinds()
    assert list(kinds) == list(KINDS)
    return next(name for name, fraction in kinds.items() if fraction == 1)


def slow_kind(part: int, predicted: int, found: bool) -> str:
    """From the names of the parts."""
    if not found:
        return "points_not_found"
    if predicted == 0:
        return "points_as_background"
    if part == predicted:
        return "points_right_part"
    own, other = (set(PART_NAMES[p].split()) for p in (part, predicted))
    side, face = {"left", "right"}, {"front", "back"}
    if own - side - face != other - side - face:
        return "points_other_limb"
    swapped_side, swapped_face = own & side != other & side, own & face != other & face
    if swapped_side and swapped_face:
        return "points_other_side_and_face"
    return "points_other_side" if swapped_side else "points_other_face"


def test_every_pair_of_parts_is_what_the_names_say():
    part, predicted = (a.ravel() for a in np.mgrid[1:25, 0:25])
    for found in (True, False):
        for p, q in zip(part.tolist(), predicted.tolist(), strict=True):
            assert kind_of(p, q, found) == slow_kind(p, q, found)


def test_mistakes_by_hand():
    def kind(part: str, predicted: str) -> str:
        return kind_of(PART_NAMES.index(part), PART_NAMES.index(predicted), True)

    assert kind("torso back", "torso front") == "points_other_face"
    assert kind("left head", "right head") == "points_other_side"
    assert kind("left hand", "right hand") == "points_other_side"
    assert kind("left hand", "right foot") == "points_other_limb"
    assert kind("left upper arm back", "right upper arm front") == "points_other_side_and_face"


def test_kinds_sum_to_one_and_agree_with_the_other_scores():
    rng = np.random.default_rng(0)
    part, predicted = rng.integers(1, 25, 300), rng.integers(0, 25, 300)
    predicted[:100] = part[:100]
    found = rng.random(300) < 0.9
    predicted[~found] = 0
    totals = PointTotals()
    totals.add(np.full(300, np.inf), np.zeros(300), part, predicted, found)
    kinds, means = totals.kinds(), totals.means()
    assert sum(kinds.values()) == pytest.approx(1)
    assert kinds["points_right_part"] == pytest.approx(means["part_accuracy"])
    assert kinds["points_not_found"] == pytest.approx(1 - means["points_of_found_people"])
    nothing = kinds["points_not_found"] + kinds["points_as_background"]
    assert nothing == pytest.approx(1 - means["points_on_foreground"])
    assert np.isnan(PointTotals().kinds()["points_right_part"])
