"""Two ways to inpaint without a network, which a teacher has to beat.

Both know the annotated masks: a pixel of the left hand can only be part 4. Shapes as in ``cells``.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from .cells import Cells, Guess, Points, parts_of_region
from .scattered import interpolate, thin_plate

# Larger than any distance in units of a person's size.
_FAR = 1e3


def nearest_point(cells: Cells, points: Points, sizes_px: np.ndarray) -> Guess:
    """Part and (u, v) of the nearest annotated point in the same region of the same person.

    Args:
        cells: Q cells.
        points: P points.
        sizes_px: (N,) of the people.
    """
    part = np.zeros(len(cells.person), np.int64)
    uv = np.zeros((len(part), 2))
    if len(points.part) and len(part):
        known = _with_group(points.place_px, points.person, points.region, sizes_px)
        asked = _with_group(cells.place_px, cells.person, cells.region, sizes_px)
        distance, nearest = cKDTree(known).query(asked)
        found = distance < _FAR / 2
        part[found] = points.part[nearest[found]]
        uv[found] = points.uv[nearest[found]]
    return Guess(part, uv, (part > 0).astype(float))


def smooth_in_part(cells: Cells, points: Points, sizes_px: np.ndarray) -> Guess:
    """Thin-plate splines through the annotated points of each part of each person.

    Where a region has two parts, the border between them is where a spline through -1 (the first
    part's points) and 1 (the second's) is 0.

    Args:
        cells: Q cells.
        points: P points.
        sizes_px: (N,) of the people.
    """
    known = points.place_px / sizes_px[points.person, None]
    asked = cells.place_px / sizes_px[cells.person, None]
    table = parts_of_region()
    is_second = points.part == table[points.region, 1]
    side = interpolate(
        known,
        np.where(is_second, 1.0, -1.0)[:, None],
        _group(points.person, points.region),
        asked,
        _group(cells.person, cells.region),
        kernel=thin_plate,
        linear=True,
    )[:, 0]
    part = table[cells.region, (side > 0).astype(np.int64)]
    of_cell = _group(cells.person, part)
    of_point = _group(points.person, points.part)
    part = np.where(np.isin(of_cell, of_point), part, 0)
    uv = interpolate(known, points.uv, of_point, asked, of_cell, kernel=thin_plate, linear=True)
    # A spline may leave the range of a chart.
    return Guess(part, uv.clip(0, 1), (part > 0).astype(float))


def _group(person: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """One number for each pair of a person and a part or region."""
    return person * 100 + kind


def _with_group(
    place_px: np.ndarray, person: np.ndarray, region: np.ndarray, sizes_px: np.ndarray
) -> np.ndarray:
    """(Q, 3) place and group, groups far apart: the nearest neighbour is one of the same group."""
    group = _group(person, region)[:, None] * _FAR
    return np.concatenate([place_px / sizes_px[person, None], group], axis=1)
