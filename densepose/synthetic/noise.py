"""Smooth random fields: in space for materials, in the plane for pictures.

A field in space is read from small periodic tables, shifted, turned and scaled per use, so a
look-up costs the same however fine the detail is.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

TABLE_SIDE = 256
# The blur leaves features of about four pixels of the tables; a unit of noise space is a feature.
PIXELS_PER_UNIT = 4.0
_TABLE_SEED = 20180201
_NUM_TABLES = 2
# Tables are laid out this often each way, so most look-ups need no wrapping round.
_TILES = 4
# OpenCV takes maps of at most 32,767 columns.
_ROW = 1024


@lru_cache(maxsize=1)
def _tables() -> tuple[list[np.ndarray], np.ndarray]:
    """Periodic fields in the plane, tiled, and the two directions each is read along."""
    rng = np.random.default_rng(_TABLE_SEED)
    fields = []
    for _ in range(_NUM_TABLES):
        white = rng.standard_normal((TABLE_SIDE, TABLE_SIDE)).astype(np.float32)
        smooth = gaussian_filter(white, 1.4, mode="wrap")
        fields.append(np.tile(smooth / smooth.std() / np.sqrt(_NUM_TABLES), (_TILES, _TILES)))
    # Planes across (1, 1, 1) and (1, 1, -1): equally steep to floors and walls, so none shows
    # streaks.
    first = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
    directions = np.concatenate([first, first * [1, 1, -1]])
    return fields, (directions * PIXELS_PER_UNIT).astype(np.float32)


def smooth_noise(points: np.ndarray) -> np.ndarray:
    """(P, 3) points in noise units -> (P,) float32, mean 0, standard deviation about 1.

    The sum of two fields in planes that lie askew: as smooth and as fast as a picture look-up, and
    without visible direction.
    """
    count = len(points)
    if count == 0:
        return np.zeros(0, np.float32)
    fields, directions = _tables()
    rows = -(-count // _ROW)
    at = np.empty((2 * _NUM_TABLES, rows * _ROW), np.float32)
    at[:, count:] = 0
    np.matmul(directions, np.asarray(points, np.float32).T, out=at[:, :count])
    at += np.float32(_TILES // 2 * TABLE_SIDE)
    if at.min() < 0 or at.max() >= _TILES * TABLE_SIDE - 1:
        np.mod(at, np.float32(TABLE_SIDE), out=at)
    maps = at.reshape(2 * _NUM_TABLES, rows, _ROW)
    total = cv2.remap(fields[0], maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    for table in range(1, _NUM_TABLES):
        x, y = maps[2 * table], maps[2 * table + 1]
        total += cv2.remap(fields[table], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return total.reshape(-1)[:count]


def fractal_noise(points: np.ndarray, octaves: int = 2) -> np.ndarray:
    """(P, 3) -> (P,): sum of noises of doubling frequency and halving height, deviation 1."""
    total = np.zeros(len(points), np.float32)
    points = np.asarray(points, np.float32)
    power = 0.0
    for octave in range(octaves):
        height = 0.5**octave
        at = points if octave == 0 else points * np.float32(2.0**octave) + np.float32(5.3 * octave)
        total += np.float32(height) * smooth_noise(at)
        power += height * height
    return total / np.float32(np.sqrt(power))


def cloud_image(
    rng: np.random.Generator, height: int, width: int, *, cells: float = 4.0, octaves: int = 4
) -> np.ndarray:
    """(height, width) float32 fractal clouds in [0, 1], the coarsest ``cells`` across."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        rows = max(2, round(cells * 2**octave * height / max(height, width)) + 1)
        columns = max(2, round(cells * 2**octave * width / max(height, width)) + 1)
        coarse = rng.random((rows, columns), dtype=np.float32)
        total += 0.5**octave * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)
