"""Smooth random fields: in space for materials, in the plane for pictures.

A field in space is read from small periodic tables, shifted, turned and scaled per use, so a look-up costs the same
however fine the detail is.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

TABLE_SIDE = 256
# The blur leaves features of about four pixels of the tables: one unit of noise space is one feature.
PIXELS_PER_UNIT = 4.0
_TABLE_SEED = 20180201
_NUM_TABLES = 3
# OpenCV takes maps of at most 32,767 columns.
_ROW = 1024


@lru_cache(maxsize=1)
def _tables() -> tuple[list[np.ndarray], np.ndarray]:
    """Periodic smooth fields in the plane, and the two directions in space that each is read along."""
    rng = np.random.default_rng(_TABLE_SEED)
    fields = []
    for _ in range(_NUM_TABLES):
        white = rng.standard_normal((TABLE_SIDE, TABLE_SIDE)).astype(np.float32)
        smooth = gaussian_filter(white, 1.4, mode="wrap")
        fields.append(smooth / smooth.std() / np.sqrt(_NUM_TABLES))
    turns = [np.linalg.qr(rng.standard_normal((3, 3)))[0][:2] for _ in range(_NUM_TABLES)]
    return fields, (np.concatenate(turns) * PIXELS_PER_UNIT).astype(np.float32)


def smooth_noise(points: np.ndarray) -> np.ndarray:
    """(P, 3) points in noise units -> (P,) float32, mean 0, standard deviation about 1.

    The sum of three fields in planes that lie askew: as smooth and as fast as a picture look-up, and without
    visible direction.
    """
    count = len(points)
    if count == 0:
        return np.zeros(0, np.float32)
    fields, directions = _tables()
    rows = -(-count // _ROW)
    at = np.zeros((2 * _NUM_TABLES, rows * _ROW), np.float32)
    np.matmul(directions, np.asarray(points, np.float32).T, out=at[:, :count])
    at -= np.floor(at * np.float32(1 / TABLE_SIDE)) * np.float32(TABLE_SIDE)
    maps = at.reshape(2 * _NUM_TABLES, rows, _ROW)
    total = np.zeros((rows, _ROW), np.float32)
    for table, field in enumerate(fields):
        x, y = maps[2 * table], maps[2 * table + 1]
        total += cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return total.reshape(-1)[:count]


def fractal_noise(points: np.ndarray, octaves: int = 2) -> np.ndarray:
    """Sum of ``octaves`` noises of doubling frequency and halving height; (P, 3) -> (P,), deviation about 1."""
    total = np.zeros(len(points), np.float32)
    points = np.asarray(points, np.float32)
    power = 0.0
    for octave in range(octaves):
        height = 0.5**octave
        total += height * smooth_noise(points * 2.0**octave + 5.3 * octave)
        power += height * height
    return total / np.float32(np.sqrt(power))


def cloud_image(
    rng: np.random.Generator, height: int, width: int, *, cells: float = 4.0, octaves: int = 4
) -> np.ndarray:
    """(height, width) float32 fractal clouds in [0, 1]; ``cells`` features across in the coarsest octave."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        rows = max(2, round(cells * 2**octave * height / max(height, width)) + 1)
        columns = max(2, round(cells * 2**octave * width / max(height, width)) + 1)
        coarse = rng.random((rows, columns), dtype=np.float32)
        total += 0.5**octave * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)
