"""Compiled search for the nearest chart vertex, through a grid of small squares of each chart.

Shapes: M chart vertices, P positions, S squares along each side of a chart.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# No fast maths: the search has to agree with one over all vertices.
_OPTIONS = {"nogil": True, "cache": True}


@njit(**_OPTIONS)
def square_of(value, squares):
    """Square of a coordinate; those outside of [0, 1] belong to the outermost."""
    return min(max(int(value * squares), 0), squares - 1)


@njit(**_OPTIONS)
def nearest_in_charts(part, uv, squares, first, member_uv, nearest, gap):
    """Find the nearest vertex of each position's part.

    Args:
        part: (P,) int64, 0 to the highest part; 0 is left alone.
        uv: (P, 2).
        squares: S.
        first: (parts * S * S + 1,) where the vertices of each square start; square (i, j) of a part
            is its number i * S + j, parts count from 1.
        member_uv: (M, 2) vertices, sorted by square.
        nearest: (P,) int64, is filled with places in ``member_uv``; -1 for a part without vertices.
        gap: (P,) is filled with how much farther the second nearest is; 0 if equally far.
    """
    size = 1.0 / squares
    for p in range(len(part)):
        nearest[p], gap[p] = -1, np.inf
        if part[p] == 0:
            continue
        u, v = uv[p]
        column, row = square_of(u, squares), square_of(v, squares)
        start = (part[p] - 1) * squares * squares
        best, second = np.inf, np.inf
        for ring in range(squares):
            for i in range(max(column - ring, 0), min(column + ring, squares - 1) + 1):
                # Inside the ring only its two ends are new.
                step = 1 if abs(i - column) == ring else 2 * ring
                for j in range(row - ring, row + ring + 1, max(step, 1)):
                    if j < 0 or j >= squares:
                        continue
                    square = start + i * squares + j
                    for k in range(first[square], first[square + 1]):
                        du, dv = member_uv[k, 0] - u, member_uv[k, 1] - v
                        distance = np.sqrt(du * du + dv * dv)
                        if distance < best:
                            best, second, nearest[p] = distance, best, k
                        elif distance < second:
                            second = distance
            # Nothing beyond the squares seen so far is nearer than their border.
            border = np.inf
            if column - ring > 0:
                border = min(border, u - (column - ring) * size)
            if column + ring < squares - 1:
                border = min(border, (column + ring + 1) * size - u)
            if row - ring > 0:
                border = min(border, v - (row - ring) * size)
            if row + ring < squares - 1:
                border = min(border, (row + ring + 1) * size - v)
            if second < border:
                break
        gap[p] = second - best
