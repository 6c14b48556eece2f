"""Compiled loops that write masks in the compressed form of COCO; ``mask_kernels`` reads it.

Runs go down the columns of a mask, background first. A run is written in digits of five bits, the
lowest first, from the fourth run on as the difference to the last but one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"nogil": True, "cache": True}
# Five bits each, more than any number of pixels has.
_MOST_DIGITS = 8


@njit(**_OPTIONS)
def _compress(runs, count):
    """Run lengths as the characters of COCO's compressed form."""
    text = np.empty(count * (_MOST_DIGITS + 1), np.uint8)
    length = 0
    for k in range(count):
        value = runs[k] - (runs[k - 2] if k > 2 else 0)
        more = True
        while more:
            digit = value & 31
            value >>= 5
            more = value != -1 if digit & 16 else value != 0
            text[length] = 48 + (digit | 32 if more else digit)
            length += 1
    return text[:length]


@njit(**_OPTIONS)
def encode_runs(labels, crop, height, width):
    """Where a label map is above 0, as a mask of the whole image in COCO's compressed form.

    Args:
        labels: (h, w) uint8.
        crop: (6,) int64 where it lies.
        height: of the image.
        width: of the image.

    Returns:
        Characters (L,) uint8, and the number of pixels in the mask.
    """
    rows, columns = crop[2], crop[3]
    # Each column of the crop adds at most one run a pixel, and one before and after.
    runs = np.zeros(columns * (rows + 1) + 2, np.int64)
    drawn, number, end, area = False, 0, 0, 0
    for c in range(columns):
        place = (crop[1] + c) * height + crop[0]
        for r in range(rows):
            above = labels[crop[4] + r, crop[5] + c] > 0
            area += above
            # Between two columns lie pixels outside of the crop, unless it is as high as the image.
            if drawn and (not above or (r == 0 and rows < height)):
                stop = place + r if r > 0 or rows == height else place - height + rows
                runs[number], end, drawn = stop - end, stop, False
                number += 1
            if above and not drawn:
                runs[number], end, drawn = place + r - end, place + r, True
                number += 1
    if drawn:
        stop = (crop[1] + columns - 1) * height + crop[0] + rows
        runs[number], end = stop - end, stop
        number += 1
    if end < height * width or number == 0:
        runs[number] = height * width - end
        number += 1
    return _compress(runs, number), area
