"""Winograd F(4x4, 3x3) of many tiles, compiled by Numba; no compiler is needed.

Shapes: maps are channels-last (N, H, W, C) float32; tiles are numbered row by row through all
images, ``across`` of them in a row and ``down`` rows per image; transformed tiles are (36, T, C).
All kernels release the interpreter lock, so threads can work on different tiles.

Matrices (Lavin and Gray 2016): B^T (6x6) for the input, G (6x3) for the weight, A^T (4x6) for the
output; interpolation points 0, a, -a, b, -b, infinity with a = sqrt(1/2), b = sqrt(2), whose powers
are nearer to 1 than those of the usual 1 and 2: half their rounding error.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from densepose.ops.tile_products import ROWS, multiply, multiply_transposed

# Reassociation and fused multiply-add, but not the assumption that there is no NaN or infinity:
# a diverged training must still be seen.
_OPTIONS = {
    "nogil": True,
    "cache": True,
    "boundscheck": False,
    "fastmath": {"contract", "reassoc", "nsz"},
}
# a, its square and its cube, the same of b; a b = 1.
_A, _A2, _A3 = (np.float32(0.5 ** (k / 2)) for k in (1, 2, 3))
_B, _B2, _B3 = (np.float32(2.0 ** (k / 2)) for k in (1, 2, 3))
_SUM = np.float32(2.5)  # of the two squares


@njit(**_OPTIONS)
def _load_tile(x, image, row, column, size, work):
    """Copy a (size, size, C) window that may hang over the border; outside is zero."""
    _, height, width, channels = x.shape
    for i in range(size):
        inside_row = 0 <= row + i < height
        for j in range(size):
            if inside_row and 0 <= column + j < width:
                for c in range(channels):
                    work[i, j, c] = x[image, row + i, column + j, c]
            else:
                for c in range(channels):
                    work[i, j, c] = np.float32(0)


@njit(**_OPTIONS)
def transform_input(x, tiles, first, count, down, across):
    """B^T d B of ``count`` tiles from tile ``first`` on, d the 6x6 window of each; padding 1."""
    channels = x.shape[3]
    work = np.empty((6, 6, channels), np.float32)
    for t in range(count):
        image, rest = divmod(first + t, down * across)
        _load_tile(x, image, 4 * (rest // across) - 1, 4 * (rest % across) - 1, 6, work)
        for j in range(6):
            for c in range(channels):
                d0, d1, d2 = work[0, j, c], work[1, j, c], work[2, j, c]
                d3, d4, d5 = work[3, j, c], work[4, j, c], work[5, j, c]
                p, q = d4 - _B2 * d2, _A * (d3 - _B2 * d1)
                r, s = d4 - _A2 * d2, _B * (d3 - _A2 * d1)
                work[0, j, c] = d0 - _SUM * d2 + d4
                work[1, j, c] = p + q
                work[2, j, c] = p - q
                work[3, j, c] = r + s
                work[4, j, c] = r - s
                work[5, j, c] = d1 - _SUM * d3 + d5
        for i in range(6):
            for c in range(channels):
                d0, d1, d2 = work[i, 0, c], work[i, 1, c], work[i, 2, c]
                d3, d4, d5 = work[i, 3, c], work[i, 4, c], work[i, 5, c]
                p, q = d4 - _B2 * d2, _A * (d3 - _B2 * d1)
                r, s = d4 - _A2 * d2, _B * (d3 - _A2 * d1)
                tiles[6 * i, t, c] = d0 - _SUM * d2 + d4
                tiles[6 * i + 1, t, c] = p + q
                tiles[6 * i + 2, t, c] = p - q
                tiles[6 * i + 3, t, c] = r + s
                tiles[6 * i + 4, t, c] = r - s
                tiles[6 * i + 5, t, c] = d1 - _SUM * d3 + d5


@njit(**_OPTIONS)
def transform_output(tiles, y, bias, first, count, down, across):
    """A^T m A + bias of each transformed tile, written to its 4x4 window (cut at the border)."""
    _, height, width, channels = y.shape
    work = np.empty((4, 6, channels), np.float32)
    for t in range(count):
        image, rest = divmod(first + t, down * across)
        row, column = 4 * (rest // across), 4 * (rest % across)
        for j in range(6):
            for c in range(channels):
                m1, m2 = tiles[6 + j, t, c], tiles[12 + j, t, c]
                m3, m4 = tiles[18 + j, t, c], tiles[24 + j, t, c]
                p, q, r, s = m1 + m2, m1 - m2, m3 + m4, m3 - m4
                work[0, j, c] = tiles[j, t, c] + p + r
                work[1, j, c] = _A * q + _B * s
                work[2, j, c] = _A2 * p + _B2 * r
                work[3, j, c] = _A3 * q + _B3 * s + tiles[30 + j, t, c]
        for i in range(min(4, height - row)):
            for c in range(channels):
                m1, m2, m3, m4 = work[i, 1, c], work[i, 2, c], work[i, 3, c], work[i, 4, c]
                p, q, r, s = m1 + m2, m1 - m2, m3 + m4, m3 - m4
                work[i, 0, c] = work[i, 0, c] + p + r + bias[c]
                work[i, 1, c] = _A * q + _B * s + bias[c]
                work[i, 2, c] = _A2 * p + _B2 * r + bias[c]
                work[i, 3, c] = _A3 * q + _B3 * s + work[i, 5, c] + bias[c]
            for j in range(min(4, width - column)):
                for c in range(channels):
                    y[image, row + i, column + j, c] = work[i, j, c]


@njit(**_OPTIONS)
def transform_output_gradient(y, tiles, first, count, down, across):
    """A g A^T of each 4x4 window g of the output gradient: the adjoint of ``transform_output``."""
    channels = y.shape[3]
    window = np.empty((4, 4, channels), np.float32)
    work = np.empty((6, 4, channels), np.float32)
    for t in range(count):
        image, rest = divmod(first + t, down * across)
        _load_tile(y, image, 4 * (rest // across), 4 * (rest % across), 4, window)
        for j in range(4):
            for c in range(channels):
                g0, g1, g2, g3 = window[0, j, c], window[1, j, c], window[2, j, c], window[3, j, c]
                p, q = g0 + _A2 * g2, _A * g1 + _A3 * g3
                r, s = g0 + _B2 * g2, _B * g1 + _B3 * g3
                work[0, j, c] = g0
                work[1, j, c] = p + q
                work[2, j, c] = p - q
                work[3, j, c] = r + s
                work[4, j, c] = r - s
                work[5, j, c] = g3
        for i in range(6):
            for c in range(channels):
                g0, g1, g2, g3 = work[i, 0, c], work[i, 1, c], work[i, 2, c], work[i, 3, c]
                p, q = g0 + _A2 * g2, _A * g1 + _A3 * g3
                r, s = g0 + _B2 * g2, _B * g1 + _B3 * g3
                tiles[6 * i, t, c] = g0
                tiles[6 * i + 1, t, c] = p + q
                tiles[6 * i + 2, t, c] = p - q
                tiles[6 * i + 3, t, c] = r + s
                tiles[6 * i + 4, t, c] = r - s
                tiles[6 * i + 5, t, c] = g3


@njit(parallel=True, **_OPTIONS)
def convolve_shares(x, panels, y, bias, tiles, products, edges, down, across):
    """``convolve_tiles`` for each share of the tiles, in threads; each has scratch memory."""
    for s in prange(len(edges) - 1):
        begin, end = edges[s], edges[s + 1]
        convolve_tiles(x, panels, y, bias, tiles[s], products[s], begin, end, down, across)


@njit(parallel=True, **_OPTIONS)
def sum_weight_gradient(x, y, total, tiles, adjoint, count, shares, down, across):
    """Sum over ``count`` tiles of the transformed weight's gradient, (36, C', K') padded sizes.

    tiles (36, B, C') and adjoint (36, B, K') are scratch memory. The threads share the tiles of a
    block while these are transformed, then its 36 products, so that there is one sum for all.
    """
    block = tiles.shape[1]
    for first in range(0, count, block):
        here = min(block, count - first)
        each = -(-here // shares)
        for s in prange(shares):
            begin = s * each
            mine = min(each, here - begin)
            if mine > 0:
                end = begin + mine
                transform_input(x, tiles[:, begin:end], first + begin, mine, down, across)
                to = adjoint[:, begin:end]
                transform_output_gradient(y, to, first + begin, mine, down, across)
        for i in prange(36):
            multiply_transposed(tiles[i, :here], adjoint[i, :here], total[i], first > 0)


@njit(**_OPTIONS)
def convolve_tiles(x, panels, y, bias, tiles, products, begin, end, down, across):
    """Outputs of the tiles from ``begin`` to ``end``, as many at a time as ``tiles`` holds.

    panels (36, P, C, COLUMNS) is the transformed weight; tiles (36, B, C) and products
    (36, B, P * COLUMNS) are scratch memory, B a multiple of ROWS.
    """
    step = tiles.shape[1]
    for first in range(begin, end, step):
        count = min(step, end - first)
        padded = -(-count // ROWS) * ROWS  # what lies behind the last tile is multiplied in vain
        transform_input(x, tiles, first, count, down, across)
        for i in range(36):
            multiply(tiles[i, :padded], panels[i], products[i, :padded])
        transform_output(products, y, bias, first, count, down, across)
