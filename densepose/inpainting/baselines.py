"""Two ways to inpaint without a network, which a teacher has to beat.

Both know the annotated masks: a pixel of the left hand can only be part 4. Shapes as in ``cells``.
"""

from __future__ import annotations

import numpy as np

from .cells import Cells, Guess, Points, parts_of_region
from .scattered import interpolate, nearest, thin_plate


def nearest_point(cells: Cells, points: Points, sizes_px: np.ndarray) -> Guess:
    """Part and (u, v) of the nearest annotated point in the same region of the same person.

    Args:
        cells: Q cells.
        points: P points.
        sizes_px: (N,) of the people.
    """
    known, asked = in_sizes(points, sizes_px), in_sizes(cells, sizes_px)
    distance, index = nearest(
        known, groups(points.person, points.region), asked, groups(cells.person, cells.region)
    )
    found = np.isfinite(distance)
    part = np.zeros(len(found), np.int64)
    uv = np.zeros((len(found), 2))
    part[found], uv[found] = points.part[index[found]], points.uv[index[found]]
    return Guess(part, uv, found.astype(float))


def smooth_in_part(
    cells: Cells, points: Points, sizes_px: np.ndarray, smoothing: float = 0.0
) -> Guess:
    """Thin-plate splines through the annotated points of each part of each person.

    Where a region has two parts, the border between them is where a spline through -1 (the first
    part's points) and 1 (the second's) is 0.

    Args:
        cells: Q cells.
        points: P points.
        sizes_px: (N,) of the people.
        smoothing: 0 passes through the points; more, for points that are not exact, is flatter.
    """
    side = side_of_border(cells, points, sizes_px, smoothing)
    part = parts_of_region()[cells.region, (side > 0).astype(np.int64)]
    part = np.where(
        np.isin(groups(cells.person, part), groups(points.person, points.part)), part, 0
    )
    # A spline may leave the range of a chart.
    uv = smooth_uv(cells, points, sizes_px, part, smoothing).clip(0, 1)
    return Guess(part, uv, (part > 0).astype(float))


def side_of_border(
    cells: Cells, points: Points, sizes_px: np.ndarray, smoothing: float = 0.0
) -> np.ndarray:
    """(Q,) thin-plate spline through -1 at points of a region's first part, 1 of its second.

    0 where the region has no points.
    """
    is_second = points.part == parts_of_region()[points.region, 1]
    return interpolate(
        in_sizes(points, sizes_px),
        np.where(is_second, 1.0, -1.0)[:, None],
        groups(points.person, points.region),
        in_sizes(cells, sizes_px),
        groups(cells.person, cells.region),
        kernel=thin_plate,
        linear=True,
        noise=smoothing,
    )[:, 0]


def smooth_uv(
    cells: Cells, points: Points, sizes_px: np.ndarray, part: np.ndarray, smoothing: float = 0.0
) -> np.ndarray:
    """(Q, 2) thin-plate splines through the U and V of the points of each cell's (Q,) part."""
    return interpolate(
        in_sizes(points, sizes_px),
        points.uv,
        groups(points.person, points.part),
        in_sizes(cells, sizes_px),
        groups(cells.person, part),
        kernel=thin_plate,
        linear=True,
        noise=smoothing,
    )


def in_sizes(at: Cells | Points, sizes_px: np.ndarray) -> np.ndarray:
    """(Q, 2) places in units of the size of their person."""
    return at.place_px / sizes_px[at.person, None]


def groups(person: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """One number for each pair of a person and a part or region."""
    return person * 100 + kind
