"""Part and UV of every pixel of a box from small chart maps, compiled by Numba; on CPU.

Rows of the box are shared among the threads. Parts are weighed only where the coarse segmentation
says person, U and V read only from the part that won.

Shapes: maps (S, S, channels) float32, channels-last; a box of (H, W) px; K taps per row and column,
(H, K) and (W, K), whose weights are those of the resizing.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

# No reassociation: sums keep the order of the taps, so that equal inputs give equal labels.
_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False, "fastmath": {"contract"}}


@njit(**_OPTIONS)
def _add_rows(maps, rows, weights, line):
    """Write the weighted sum of some rows of the maps to line (S, channels)."""
    _, side, channels = maps.shape
    line[:] = np.float32(0)
    for k in range(len(rows)):
        row, weight = rows[k], weights[k]
        if weight != 0:
            for x in range(side):
                for c in range(channels):
                    line[x, c] += weight * maps[row, x, c]


@njit(**_OPTIONS)
def _sample(line, cells, weights, values):
    """Write the weighted sum of some cells of a line to values (channels,)."""
    values[:] = np.float32(0)
    for k in range(len(cells)):
        for c in range(len(values)):
            values[c] += weights[k] * line[cells[k], c]


@njit(**_OPTIONS)
def _value(maps, channel, rows, row_weights, cells, cell_weights):
    """One channel at one pixel."""
    total = np.float32(0)
    for i in range(len(rows)):
        for j in range(len(cells)):
            weight = row_weights[i] * cell_weights[j]
            total += weight * maps[rows[i], cells[j], channel]
    return total


@njit(parallel=True, **_OPTIONS)
def decode_box(coarse, parts, u, v, rows, row_weights, columns, column_weights, labels, uv):
    """Write labels (H, W) uint8 and uv (2, H, W) float32; both 0 on the background."""
    height, width = labels.shape
    side = parts.shape[1]
    for y in prange(height):
        coarse_line = np.empty((side, coarse.shape[2]), np.float32)
        part_line = np.empty((side, parts.shape[2]), np.float32)
        coarse_at = np.empty(coarse.shape[2], np.float32)
        part_at = np.empty(parts.shape[2], np.float32)
        _add_rows(coarse, rows[y], row_weights[y], coarse_line)
        seen = False  # no part is weighed in a row without a person
        for x in range(width):
            _sample(coarse_line, columns[x], column_weights[x], coarse_at)
            label = 0
            if coarse_at[1:].max() > coarse_at[0]:
                if not seen:
                    _add_rows(parts, rows[y], row_weights[y], part_line)
                    seen = True
                _sample(part_line, columns[x], column_weights[x], part_at)
                label = part_at.argmax()
            labels[y, x] = label
            uv[0, y, x] = uv[1, y, x] = np.float32(0)
            if label > 0:
                at = (rows[y], row_weights[y], columns[x], column_weights[x])
                uv[0, y, x] = _value(u, label, *at)
                uv[1, y, x] = _value(v, label, *at)
