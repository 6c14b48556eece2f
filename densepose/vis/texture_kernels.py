"""Compiled loops that add the colours of a photo to the texels of a texture.

Shapes: photos (H, W, 3) uint8 and IUV images (H, W, 3) uint8, textures (24, N, N, 4) as in
``texture``. Positions in a tile are in texels: x = u (N - 1), y = (1 - v) (N - 1).
"""

from __future__ import annotations

import math

from numba import njit

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}
# u and v of an IUV image come in steps of 1 / 255.
_STEPS = 255
# A texel centre this far outside a triangle, in texels squared, still counts as inside.
_TOLERANCE = 1e-6


@njit(**_OPTIONS)
def _add_triangle(image, iuv, a, b, c, longest, total):
    """Add the colours between pixels a, b, c (row, column) to the texels whose centres they cover.

    All three show the same part.
    """
    last, part = total.shape[1] - 1, iuv[a[0], a[1], 0] - 1
    scale = last / _STEPS
    ax, ay = scale * iuv[a[0], a[1], 1], scale * (_STEPS - iuv[a[0], a[1], 2])
    bx, by = scale * iuv[b[0], b[1], 1], scale * (_STEPS - iuv[b[0], b[1], 2])
    cx, cy = scale * iuv[c[0], c[1], 1], scale * (_STEPS - iuv[c[0], c[1], 2])
    low_x, high_x, low_y, high_y = (
        min(ax, bx, cx),
        max(ax, bx, cx),
        min(ay, by, cy),
        max(ay, by, cy),
    )
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == 0 or high_x - low_x > longest or high_y - low_y > longest:
        return
    first_row, last_row = int(math.ceil(low_y)), int(math.floor(high_y))
    first_column, last_column = int(math.ceil(low_x)), int(math.floor(high_x))
    if first_row > last_row or first_column > last_column:
        return
    over_area = 1 / area
    for column in range(first_column, last_column + 1):
        for row in range(first_row, last_row + 1):
            to_b = ((column - ax) * (cy - ay) - (row - ay) * (cx - ax)) * over_area
            to_c = ((bx - ax) * (row - ay) - (by - ay) * (column - ax)) * over_area
            to_a = 1 - to_b - to_c
            if to_a < -_TOLERANCE or to_b < -_TOLERANCE or to_c < -_TOLERANCE:
                continue
            for k in range(3):
                total[part, row, column, k] += (
                    to_a * image[a[0], a[1], k]
                    + to_b * image[b[0], b[1], k]
                    + to_c * image[c[0], c[1], k]
                )
            total[part, row, column, 3] += 1


@njit(**_OPTIONS)
def _add_pixel(image, iuv, row, column, total):
    """Add the colour of a pixel to the texel nearest to its place."""
    scale = (total.shape[1] - 1) / _STEPS
    part, u, v = iuv[row, column]
    x, y = int(scale * u + 0.5), int(scale * (_STEPS - v) + 0.5)
    for k in range(3):
        total[part - 1, y, x, k] += image[row, column, k]
    total[part - 1, y, x, 3] += 1


@njit(**_OPTIONS)
def add_photo(image, iuv, longest, total):
    """Add what a photo shows of each texel.

    Pixels are joined to triangles: two where four neighbours show one part, one where three do.
    Each pixel is added to the texel nearest to it as well, which covers single pixels.

    Args:
        image: (H, W, 3) uint8.
        iuv: (H, W, 3) uint8.
        longest: triangles with a longer side along x or y, in texels, are skipped: they span a
            jump from one place of a part to another.
        total: (24, N, N, 4) float32, sums of colours and their number, in place.
    """
    height, width, _ = iuv.shape
    for row in range(height):
        for column in range(width):
            part = iuv[row, column, 0]
            if part:
                _add_pixel(image, iuv, row, column, total)
            if row + 1 == height or column + 1 == width:
                continue
            side, below = iuv[row, column + 1, 0], iuv[row + 1, column, 0]
            other = iuv[row + 1, column + 1, 0]
            # A square of pixels makes two triangles on one diagonal, whose ends agree.
            if side and side == below:
                start, end = (row, column + 1), (row + 1, column)
                first, second = (row, column), (row + 1, column + 1)
            elif part and part == other:
                start, end = (row, column), (row + 1, column + 1)
                first, second = (row, column + 1), (row + 1, column)
            else:
                continue
            for tip in (first, second):
                if iuv[tip[0], tip[1], 0] == iuv[start[0], start[1], 0]:
                    _add_triangle(image, iuv, start, end, tip, longest, total)
