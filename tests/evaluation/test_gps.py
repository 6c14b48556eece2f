from __future__ import annotations

import math

import numpy as np
import pytest

from densepose.evaluation.gps import (
    GLOBAL_KAPPA_M,
    PART_KAPPA_M,
    geodesic_point_similarity,
    masked_similarity,
    mean_per_segment,
    point_similarity,
    squares_as_published,
)
from tests.evaluation import naive


def test_matches_the_definition_written_as_a_loop():
    rng = np.random.default_rng(0)
    num_points = np.array([3, 0, 40, 1, 0, 17])
    distance = rng.exponential(0.2, num_points.sum())
    distance[rng.uniform(size=len(distance)) < 0.2] = np.inf
    part = rng.integers(1, 25, len(distance))
    got = geodesic_point_similarity(distance, PART_KAPPA_M[part], num_points)
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
    at_kappa = geodesic_point_similarity(np.array([0.255]), GLOBAL_KAPPA_M, np.array([1]))
    assert at_kappa[0] == pytest.approx(math.exp(-0.5), rel=1e-15)


def test_thirty_centimetres_score_one_half_as_the_paper_says():
    assert point_similarity(np.array([0.3**2]), GLOBAL_KAPPA_M)[0] == pytest.approx(0.5, abs=2e-3)


def test_growing_one_error_lowers_the_score():
    near = np.array([0.1, 0.2])
    scores = [
        geodesic_point_similarity(near + [0, more], GLOBAL_KAPPA_M, np.array([2]))[0]
        for more in (0.0, 0.01, 0.3, np.inf)
    ]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 4


def test_a_smaller_kappa_is_stricter():
    distance = np.array([0.1, 0.2, 0.3])
    strict, lax = (geodesic_point_similarity(distance, k, np.array([3]))[0] for k in (0.1, 0.3))
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
    assert geodesic_point_similarity(nothing, nothing, np.zeros(0, int)).shape == (0,)
    assert geodesic_point_similarity(nothing, nothing, np.zeros(2, int)).tolist() == [0, 0]


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


@pytest.mark.parametrize("kappa", [0.0, -0.1, np.nan])
def test_rejects_a_kappa_that_is_not_positive(kappa):
    with pytest.raises(ValueError, match="kappa must be above 0"):
        geodesic_point_similarity(np.array([0.1]), kappa, np.array([1]))


def test_rejects_nan_and_wrong_counts():
    with pytest.raises(ValueError, match="a distance is NaN"):
        point_similarity(np.array([np.nan]), 0.255)
    with pytest.raises(ValueError, match="sums to 3, but there are 2 distances"):
        geodesic_point_similarity(np.array([0.1, 0.2]), 0.255, np.array([3]))
