"""Compiled loops that carry colours between photos and textures.

Shapes: photos (H, W, 3) uint8 and IUV images (H, W, 3) uint8, textures (24, N, N, 4) as in
``texture``. Positions in a tile are in texels: x = u (N - 1), y = (1 - v) (N - 1).
"""

from __future__ import annotations

import math

import numpy as np
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


@njit(**_OPTIONS)
def mean_colors(total, tiles):
    """Sums and numbers (24, N, N, 4) float32 -> RGBA, opaque where there is a colour, in place."""
    flat, out = total.reshape(-1, 4), tiles.reshape(-1, 4)
    for n in range(len(flat)):
        if flat[n, 3] > 0:
            for k in range(3):
                out[n, k] = np.uint8(flat[n, k] / flat[n, 3] + np.float32(0.5))
        out[n, 3] = 255 * (flat[n, 3] > 0)


@njit(**_OPTIONS)
def _sample(tiles, part, x, y):
    """Bilinear red, green, blue at (x, y) of a tile, weighted by alpha, and alpha, 0 to 255.

    cv2.remap gives the same colours but needs all tiles in float32, which takes longer than the
    sampling itself.
    """
    last = tiles.shape[1] - 1
    x0, y0 = min(int(x), last - 1), min(int(y), last - 1)
    fx, fy = np.float32(x - x0), np.float32(y - y0)
    red = green = blue = alpha = np.float32(0)
    for dy in range(2):
        for dx in range(2):
            texel = tiles[part - 1, y0 + dy, x0 + dx]
            weight = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * texel[3]
            alpha += weight
            red += weight * texel[0]
            green += weight * texel[1]
            blue += weight * texel[2]
    if alpha > 0:
        return red / alpha, green / alpha, blue / alpha, alpha
    return red, green, blue, alpha


@njit(**_OPTIONS)
def sample_tiles(tiles, part, uv, colors):
    """RGBA of (P,) parts from 1 and (P, 2) uv in [0, 1] -> (P, 4) float32, in place."""
    last = tiles.shape[1] - 1
    for n in range(len(part)):
        color = _sample(tiles, part[n], uv[n, 0] * last, (1 - uv[n, 1]) * last)
        for k in range(4):
            colors[n, k] = color[k]


@njit(**_OPTIONS)
def paint(iuv, tiles, bilinear, opacity, gain, light, out):
    """Lay a texture over a photo.

    Args:
        iuv: (H, W, 3) uint8.
        tiles: (24, N, N, 4) uint8.
        bilinear: interpolate between texels, else take the one that detectron2 takes: texel and
            mixed colour are cut off to whole numbers.
        opacity: float32, 0 to 1.
        gain: (256,) float32 factor of the texture's colour for each lightness of the photo.
        light: (H, W) uint8 lightness of the photo.
        out: (H, W, 3) uint8, the photo, in place.
    """
    last, steps, one = np.float32(tiles.shape[1] - 1), np.float32(_STEPS), np.float32(1)
    rounded = np.float32(0.5) if bilinear else np.float32(0)
    for row in range(iuv.shape[0]):
        for column in range(iuv.shape[1]):
            part, u, v = iuv[row, column]
            if part == 0:
                continue
            if bilinear:
                x, y = np.float32(u) * (last / steps), np.float32(_STEPS - v) * (last / steps)
                red, green, blue, alpha = _sample(tiles, part, x, y)
            else:
                x = np.float32(u) / steps * last
                y = (one - np.float32(v) / steps) * last
                texel = tiles[part - 1, int(y), int(x)]
                red, green, blue, alpha = (
                    np.float32(texel[0]),
                    np.float32(texel[1]),
                    np.float32(texel[2]),
                    np.float32(texel[3]),
                )
            share, factor = alpha / 255.0 * opacity, gain[light[row, column]]
            for k, color in enumerate((red, green, blue)):
                shown = min(color * factor, np.float32(255))
                out[row, column, k] = np.uint8(
                    out[row, column, k] * (1 - share) + shown * share + rounded
                )
