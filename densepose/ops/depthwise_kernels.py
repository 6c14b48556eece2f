"""Depthwise convolution and its two gradients, compiled by Numba; no compiler is needed.

Every channel has a filter of its own, so there is nothing to multiply as matrices: each output is a
sum over a few shifted rows of channels, which lie side by side in memory.

Shapes: maps are channels-last, x (N, H, W, C) and y (N, H', W', C); the weight is (k, k, C). Output
(i, j) starts at input (i * stride - top, j * stride - left); what lies outside is zero.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

_OPTIONS = {
    "nogil": True,
    "cache": True,
    "boundscheck": False,
    "fastmath": {"contract", "reassoc", "nsz"},
}


@njit(parallel=True, **_OPTIONS)
def convolve(x, weight, bias, y, stride, top, left):
    """Write the convolution plus bias (C,) to y."""
    _, height, width, channels = x.shape
    size = len(weight)
    batch, down, across, _ = y.shape
    for line in prange(batch * down):
        image, row = divmod(np.int64(line), down)  # the counter of prange has no sign
        for column in range(across):
            out = y[image, row, column]
            for c in range(channels):
                out[c] = bias[c]
            for i in range(size):
                source_row = row * stride - top + i
                if 0 <= source_row < height:
                    for j in range(size):
                        source_column = column * stride - left + j
                        if 0 <= source_column < width:
                            for c in range(channels):
                                value = x[image, source_row, source_column, c]
                                out[c] += value * weight[i, j, c]


@njit(parallel=True, **_OPTIONS)
def input_gradient(y, weight, x, stride, top, left):
    """Write the gradient of the input to x, given that of the output, y."""
    batch, height, width, channels = x.shape
    size = len(weight)
    _, down, across, _ = y.shape
    for line in prange(batch * height):
        image, row = divmod(np.int64(line), height)
        for column in range(width):
            out = x[image, row, column]
            for c in range(channels):
                out[c] = np.float32(0)
            for i in range(size):
                source_row, rest = divmod(row + top - i, stride)
                if rest == 0 and 0 <= source_row < down:
                    for j in range(size):
                        source_column, rest = divmod(column + left - j, stride)
                        if rest == 0 and 0 <= source_column < across:
                            for c in range(channels):
                                value = y[image, source_row, source_column, c]
                                out[c] += value * weight[i, j, c]


@njit(parallel=True, **_OPTIONS)
def weight_gradient(x, y, totals, stride, top, left):
    """Write the gradient of the weight to totals (shares, k, k, C): each share sums some rows."""
    _, height, width, channels = x.shape
    shares, size = totals.shape[:2]
    batch, down, across, _ = y.shape
    lines = batch * down
    for share in prange(shares):
        number = np.int64(share)
        totals[number] = np.float32(0)
        for line in range(lines * number // shares, lines * (number + 1) // shares):
            image, row = divmod(line, down)
            for i in range(size):
                source_row = row * stride - top + i
                if 0 <= source_row < height:
                    for column in range(across):
                        gradient = y[image, row, column]
                        for j in range(size):
                            source_column = column * stride - left + j
                            if 0 <= source_column < width:
                                value = x[image, source_row, source_column]
                                total = totals[number, i, j]
                                for c in range(channels):
                                    total[c] += value[c] * gradient[c]
