"""Compiled loops that carry colours between photos and textures.

Shapes: photos (H, W, 3) uint8 and IUV images (H, W, 3) uint8, textures (24, N, N, 4) uint8 RGBA as
in ``texture_layout``. Positions in a tile are in texels: x = u (N - 1), y = (1 - v) (N - 1).
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
        longest: triangles with a longer side along x or y, in texels, are left out: they span a
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
            out[n, 3] = 255
        else:
            out[n, 0] = out[n, 1] = out[n, 2] = out[n, 3] = 0


@njit(**_OPTIONS)
def _sample(tiles, part, x, y, color):
    """Bilinear colour at (x, y) of a tile, weighted by alpha; returns alpha from 0 to 1."""
    last = tiles.shape[1] - 1
    x0, y0 = min(int(x), last - 1), min(int(y), last - 1)
    fx, fy = np.float32(x - x0), np.float32(y - y0)
    color[:] = 0
    alpha = np.float32(0)
    for dy in range(2):
        for dx in range(2):
            texel = tiles[part, y0 + dy, x0 + dx]
            weight = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * texel[3]
            alpha += weight
            for k in range(3):
                color[k] += weight * texel[k]
    if alpha > 0:
        for k in range(3):
            color[k] /= alpha
    return alpha / np.float32(255)


@njit(**_OPTIONS)
def sample_tiles(tiles, part, uv, colors):
    """Bilinear RGBA of (P,) parts from 1 and (P, 2) uv in [0, 1] -> (P, 4) float32, in place."""
    last = tiles.shape[1] - 1
    color = np.empty(3, np.float32)
    for n in range(len(part)):
        alpha = _sample(tiles, part[n] - 1, uv[n, 0] * last, (1 - uv[n, 1]) * last, color)
        for k in range(3):
            colors[n, k] = color[k]
        colors[n, 3] = alpha * 255


@njit(**_OPTIONS)
def paint_bilinear(iuv, tiles, opacity, gain, light, out):
    """Lay a texture over a photo, interpolated between texels.

    Args:
        iuv: (H, W, 3) uint8.
        tiles: (24, N, N, 4) uint8.
        opacity: 0 to 1.
        gain: (256,) float32 factor of the texture's colour for each lightness of the photo.
        light: (H, W) uint8 lightness of the photo; (0, 0) when the gain is 1 throughout.
        out: (H, W, 3) uint8, the photo, in place.
    """
    last = tiles.shape[1] - 1
    color = np.empty(3, np.float32)
    lit = light.shape[0] > 0
    scale = np.float32(last) / np.float32(_STEPS)
    for row in range(iuv.shape[0]):
        for column in range(iuv.shape[1]):
            part, u, v = iuv[row, column]
            if part == 0:
                continue
            x, y = np.float32(u) * scale, np.float32(_STEPS - v) * scale
            share = _sample(tiles, part - 1, x, y, color) * np.float32(opacity)
            factor = gain[light[row, column]] if lit else np.float32(1)
            for k in range(3):
                shown = min(color[k] * factor, np.float32(255))
                mixed = out[row, column, k] * (1 - share) + shown * share
                out[row, column, k] = np.uint8(mixed + np.float32(0.5))


@njit(**_OPTIONS)
def paint_nearest(iuv, tiles, opacity, gain, light, out):
    """As ``paint_bilinear``, with the texel that detectron2's DensePose takes.

    Texel and mixed colour are cut off to whole numbers, not rounded.
    """
    last = np.float32(tiles.shape[1] - 1)
    lit = light.shape[0] > 0
    steps, one = np.float32(_STEPS), np.float32(1)
    for row in range(iuv.shape[0]):
        for column in range(iuv.shape[1]):
            part, u, v = iuv[row, column]
            if part == 0:
                continue
            x = int(np.float32(u) / steps * last)
            y = int((one - np.float32(v) / steps) * last)
            texel = tiles[part - 1, y, x]
            share = texel[3] / 255.0 * opacity
            factor = gain[light[row, column]] if lit else one
            for k in range(3):
                shown = min(texel[k] * factor, np.float32(255))
                out[row, column, k] = np.uint8(out[row, column, k] * (1 - share) + shown * share)
