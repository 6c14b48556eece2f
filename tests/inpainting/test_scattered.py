from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from densepose.inpainting.scattered import (
    cubic,
    exponential,
    interpolate,
    leave_one_out,
    nearest,
    thin_plate,
)


def random_groups(sizes=(12, 5, 30), seed: int = 0):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)) * 7, sizes)
    known = rng.uniform(0, 1, (len(group), 2))
    values = rng.normal(size=(len(group), 2))
    place_group = rng.choice(np.arange(len(sizes)) * 7, 80)
    return known, values, group, rng.uniform(0, 1, (80, 2)), place_group


def test_equals_scipys_thin_plate_spline_of_each_group():
    known, values, group, places, place_group = random_groups()
    got = interpolate(known, values, group, places, place_group, kernel=thin_plate, linear=True)
    for number in np.unique(group):
        own, asked = group == number, place_group == number
        twin = RBFInterpolator(known[own], values[own], kernel="thin_plate_spline")
        np.testing.assert_allclose(got[asked], twin(places[asked]), atol=1e-7)


@pytest.mark.parametrize("kernel", [exponential(0.05), exponential(0.2)])
def test_equals_kriging_written_from_its_definition(kernel):
    known, values, group, places, place_group = random_groups()
    got = interpolate(
        known, values, group, places, place_group, kernel=kernel, linear=False, noise=0.1
    )
    for k in range(len(places)):
        own = group == place_group[k]
        matrix = [[float(kernel(np.linalg.norm(a - b))) for b in known[own]] for a in known[own]]
        matrix = np.array(matrix) + 0.1 * np.eye(own.sum())
        near = np.array([float(kernel(np.linalg.norm(places[k] - a))) for a in known[own]])
        np.testing.assert_allclose(got[k], near @ np.linalg.solve(matrix, values[own]), atol=1e-7)


def test_kernels_by_hand():
    assert thin_plate(np.array([0.0, 1.0, math.e])).tolist() == pytest.approx([0, 0, math.e**2])
    assert cubic(np.array([2.0]))[0] == 8
    assert exponential(2.0)(np.array([2.0]))[0] == pytest.approx(math.exp(-1))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_points_or_points_on_a_line_are_enough(count: int):
    known = np.stack([np.arange(count), np.arange(count)], axis=1) / 10
    values = np.arange(count)[:, None] + 5.0
    group = np.zeros(count, int)
    got = interpolate(known, values, group, known, group, kernel=thin_plate, linear=True)
    np.testing.assert_allclose(got, values, atol=1e-6)
    aside = interpolate(
        known, values, group, known + [0.05, -0.05], group, kernel=thin_plate, linear=True
    )
    assert np.abs(aside - values).max() < 0.5


def test_far_from_all_points_nothing_is_left_without_a_linear_part():
    known, values, group, _, _ = random_groups()
    far = interpolate(
        known, values, group, known + 100, group, kernel=exponential(0.1), linear=False
    )
    assert np.abs(far).max() < 1e-9


def test_groups_without_points_and_nothing_asked():
    known, values, group, places, _ = random_groups()
    strange = np.full(len(places), 3)
    got = interpolate(known, values, group, places, strange, kernel=thin_plate, linear=True)
    assert not got.any()
    none = np.zeros((0, 2))
    assert interpolate(
        known, values, group, none, np.zeros(0, int), kernel=thin_plate, linear=True
    ).shape == (0, 2)
    assert not interpolate(
        none, none, np.zeros(0, int), places, strange, kernel=thin_plate, linear=True
    ).any()


def test_nearest_equals_a_loop():
    known, _, group, places, place_group = random_groups()
    place_group[:3] = 99  # nobody is there
    distance, index = nearest(known, group, places, place_group)
    for k in range(3, len(places)):
        own = np.flatnonzero(group == place_group[k])
        away = np.linalg.norm(known[own] - places[k], axis=1)
        assert index[k] == own[away.argmin()]
        assert distance[k] == pytest.approx(away.min(), abs=1e-9)
    assert np.isinf(distance[:3]).all()
    assert nearest(known[:0], group[:0], places, place_group)[0].min() == np.inf


@pytest.mark.parametrize(
    ("kernel", "linear", "noise"),
    [
        (cubic, True, 0.0),
        (cubic, True, 1e-3),
        (thin_plate, True, 0.1),
        (exponential(0.2), False, 0),
    ],
)
def test_leaving_out_equals_doing_so_one_by_one(kernel, linear, noise):
    known, values, group, *_ = random_groups()
    options = {"kernel": kernel, "linear": linear, "noise": noise}
    got = leave_one_out(known, values, group, **options)
    for k in range(len(known)):
        others = np.arange(len(known)) != k
        place = known[k : k + 1], group[k : k + 1]
        said = interpolate(known[others], values[others], group[others], *place, **options)
        np.testing.assert_allclose(got[k], values[k] - said[0], atol=1e-6)


def test_what_others_do_not_determine_is_not_a_number():
    known, values, group, *_ = random_groups(sizes=(1, 3, 9))
    got = leave_one_out(known, values, group, kernel=cubic, linear=True)
    assert np.isnan(got[:4]).all()
    assert np.isfinite(got[4:]).all()
    none = np.zeros((0, 2))
    assert leave_one_out(none, none, np.zeros(0, int), kernel=cubic, linear=True).shape == (0, 2)
