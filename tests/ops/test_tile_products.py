"""The compiled products against NumPy's, with strides, padding and sums that go on."""

from __future__ import annotations

import numpy as np
import pytest

from densepose.ops.tile_products import COLUMNS, ROWS, multiply, multiply_transposed


@pytest.mark.parametrize("depth", [1, 2, 37])
@pytest.mark.parametrize("panels", [1, 3])
def test_products_are_those_of_numpy(depth, panels):
    g = np.random.default_rng(depth)
    left = g.standard_normal((2 * ROWS, depth), np.float32)
    right = g.standard_normal((depth, panels * COLUMNS), np.float32)
    packed = np.ascontiguousarray(right.reshape(depth, panels, COLUMNS).transpose(1, 0, 2))
    out = np.full((2 * ROWS, panels * COLUMNS), np.nan, np.float32)
    multiply(left, packed, out)
    np.testing.assert_allclose(out, left @ right, rtol=1e-5, atol=1e-5)


def test_a_product_by_hand():
    left, panel = np.zeros((ROWS, 2), np.float32), np.zeros((1, 2, COLUMNS), np.float32)
    left[1], panel[0, :, 3] = (2, 5), (10, 1)
    out = np.empty((ROWS, COLUMNS), np.float32)
    multiply(left, panel, out)
    assert out[1, 3] == 25 and np.count_nonzero(out) == 1


def test_rows_may_lie_apart_and_their_neighbours_stay():
    g = np.random.default_rng(0)
    left = g.standard_normal((3 * ROWS, 11), np.float32)[:ROWS]
    packed = g.standard_normal((1, 11, COLUMNS), np.float32)
    wide = np.full((ROWS, 3 * COLUMNS), 7, np.float32)
    middle = wide[:, COLUMNS : 2 * COLUMNS]
    multiply(left, packed, middle)
    np.testing.assert_allclose(middle, left @ packed[0], rtol=1e-5, atol=1e-5)
    assert (wide[:, :COLUMNS] == 7).all() and (wide[:, 2 * COLUMNS :] == 7).all()


@pytest.mark.parametrize("depth", [1, 29])
def test_transposed_products_replace_or_add(depth):
    g = np.random.default_rng(1)
    left = g.standard_normal((depth, 2 * ROWS), np.float32)
    right = g.standard_normal((depth, 2 * COLUMNS), np.float32)
    out = np.full((2 * ROWS, 2 * COLUMNS), np.nan, np.float32)
    multiply_transposed(left, right, out, False)
    np.testing.assert_allclose(out, left.T @ right, rtol=1e-5, atol=1e-5)
    multiply_transposed(left, right, out, True)
    np.testing.assert_allclose(out, 2 * (left.T @ right), rtol=1e-5, atol=1e-5)
