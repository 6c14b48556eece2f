"""Points in regions: how many, and how they spread."""

from __future__ import annotations

import numpy as np

from densepose.structures.annotated_regions import (
    MAX_POINTS_PER_REGION,
    num_points_of_region,
    spread_points,
)


def test_the_number_of_points_grows_with_the_region_up_to_fourteen():
    counts = [num_points_of_region(area) for area in range(0, 5000, 7)]
    assert counts == sorted(counts)
    assert counts[0] == 0 and num_points_of_region(1) == 1
    assert num_points_of_region(64) == 6  # 0.75 * 8
    assert max(counts) == MAX_POINTS_PER_REGION == 14
    assert [num_points_of_region(area, most=5) for area in (0, 1, 10**6)] == [0, 1, 5]


def test_points_spread_further_apart_than_random_ones():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:30, :50]
    pixels = np.stack([columns.reshape(-1), rows.reshape(-1)], axis=1)

    def closest(points: np.ndarray) -> float:
        distance = np.linalg.norm(points[:, None] - points[None], axis=2)
        return float((distance + np.eye(len(points)) * 1e9).min())

    chosen = spread_points(pixels, 14, rng)
    assert len(chosen) == len(set(chosen.tolist())) == 14
    drawn = [closest(pixels[rng.permutation(len(pixels))[:14]]) for _ in range(50)]
    assert closest(pixels[chosen]) > max(drawn)


def test_a_region_of_one_pixel_gets_that_pixel():
    assert spread_points(np.array([[7, 9]]), 1, np.random.default_rng(0)).tolist() == [0]
