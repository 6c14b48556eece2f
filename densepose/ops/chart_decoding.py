"""Part and UV of every pixel of a box from small chart maps, compiled by Numba; on CPU.

Rows of the box are shared among the threads. Parts are weighed only where the coarse segmentation
says person, U and V read only from the part that won.

Shapes: maps (S, S, channels) float32, channels-last; a box of (H, W) px; three taps per row and
column, (H, 3) and (W, 3), whose weights are those of the resizing.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from densepose.ops.tile_threads import run_in_threads

# No reassociation: sums keep the order of the taps, so that equal inputs give equal labels.
_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False, "fastmath": {"contract"}}
# Channels of the parts are padded to this many: with a length known to the compiler, those of a
# pixel are two or four vectors and the loop over them is unrolled.
PADDED = 32


@njit(**_OPTIONS)
def _add_rows(maps, rows, weights, line, stride):
    """Write the weighted sum of three rows of the maps to line, ``stride`` values a cell."""
    _, side, channels = maps.shape
    top, middle, bottom = rows
    for x in range(side):
        at = x * stride
        for c in range(channels):
            line[at + c] = (
                weights[0] * maps[top, x, c]
                + weights[1] * maps[middle, x, c]
                + weights[2] * maps[bottom, x, c]
            )


@njit(**_OPTIONS)
def _is_person(line, stride, cells, weights):
    """Whether any channel but the first is above it."""
    background = np.float32(0)
    for c in range(stride):
        value = (
            weights[0] * line[cells[0] * stride + c]
            + weights[1] * line[cells[1] * stride + c]
            + weights[2] * line[cells[2] * stride + c]
        )
        if c == 0:
            background = value
        elif value > background:
            return True
    return False


@njit(**_OPTIONS)
def _best_part(line, channels, cells, weights, values):
    """The first of the highest channels; ``values`` (PADDED,) is scratch memory."""
    left, middle, right = cells[0] * PADDED, cells[1] * PADDED, cells[2] * PADDED
    for c in range(PADDED):
        values[c] = (
            weights[0] * line[left + c]
            + weights[1] * line[middle + c]
            + weights[2] * line[right + c]
        )
    best, highest = 0, values[0]
    for c in range(1, channels):
        if values[c] > highest:
            best, highest = c, values[c]
    return best


@njit(**_OPTIONS)
def _value(maps, channel, rows, row_weights, cells, cell_weights):
    """One channel at one pixel."""
    total = np.float32(0)
    for i in range(3):
        of_row = np.float32(0)
        for j in range(3):
            of_row += cell_weights[j] * maps[rows[i], cells[j], channel]
        total += row_weights[i] * of_row
    return total


@njit(parallel=True, **_OPTIONS)
def decode_box(coarse, parts, u, v, rows, row_weights, columns, column_weights, labels, uv):
    """Write labels (H, W) uint8 and uv (2, H, W) float32; both 0 on the background.

    ``parts`` has PADDED channels at most.
    """
    height, width = labels.shape
    side, channels, num_coarse = parts.shape[1], parts.shape[2], coarse.shape[2]
    for y in prange(height):
        coarse_line = np.empty(side * num_coarse, np.float32)
        part_line = np.zeros(side * PADDED, np.float32)
        values = np.empty(PADDED, np.float32)
        _add_rows(coarse, rows[y], row_weights[y], coarse_line, num_coarse)
        seen = False  # no part is weighed in a row without a person
        for x in range(width):
            cells, weights = columns[x], column_weights[x]
            label = 0
            if _is_person(coarse_line, num_coarse, cells, weights):
                if not seen:
                    _add_rows(parts, rows[y], row_weights[y], part_line, PADDED)
                    seen = True
                label = _best_part(part_line, channels, cells, weights, values)
            labels[y, x] = label
            uv[0, y, x] = uv[1, y, x] = np.float32(0)
            if label > 0:
                at = (rows[y], row_weights[y], cells, weights)
                uv[0, y, x] = _value(u, label, *at)
                uv[1, y, x] = _value(v, label, *at)


def decode(
    coarse: Tensor,
    parts: Tensor,
    u: Tensor,
    v: Tensor,
    rows: tuple[Tensor, Tensor],
    columns: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Labels (H, W) uint8 and UV (2, H, W) float32 of one box, on CPU.

    Args:
        coarse: (D, S, S).
        parts: (C, S, S), C at most PADDED.
        u: (C, S, S).
        v: (C, S, S).
        rows: cells and weights of the taps of each row, (H, 3) both.
        columns: likewise, (W, 3).
    """
    maps = [
        values.detach().float().permute(1, 2, 0).contiguous() for values in (coarse, parts, u, v)
    ]
    size_px = (len(rows[0]), len(columns[0]))
    labels, uv = torch.empty(size_px, dtype=torch.uint8), torch.empty(2, *size_px)
    run_in_threads(decode_box, *maps, *rows, *columns, labels, uv)
    return labels, uv
