"""Step 2: which points of the regions are asked for, in which view, and which answers look wrong.

Shapes: P points of one instance. Positions in image px.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from densepose.structures.annotated_regions import num_points_of_region, spread_points

from .body import Body
from .events import Box
from .regions import canvas_positions, region_at

# A point is suspicious if its neighbours in the image are further away on the surface than this
# many times what is usual for their distance in the image, and than this many metres.
SUSPICIOUS_RATIO, SUSPICIOUS_M = 3.0, 0.08
_NEIGHBOURS = 3
# Answers this near in the image, as a fraction of the box, say most about the side that is seen.
_REACH = 0.1
_OTHER_REGION = 0.2  # weight of answers in other regions


def sample_points(
    canvas: NDArray[np.uint8],
    box: Box,
    most: int,
    kept: Sequence[tuple[int, int, float, float]],
    number: int,
    seed: int,
) -> list[tuple[int, int, float, float]]:
    """Roughly equidistant points of every region, by k-means; at most ``most`` a region.

    Args:
        canvas: regions over the box.
        box: of the instance.
        most: points of a large region.
        kept: answered points (number, region, x, y); those that still lie in their region stay, and
            the new points nearest to them are not needed.
        number: of the first new point.
        seed: of the k-means.

    Returns:
        Number, region, x, y of each point, in the order in which they are asked for: along a short
        path through each region. Numbers of kept points do not change.
    """
    rng = np.random.default_rng(seed)
    positions = np.array([point[2:] for point in kept]).reshape(-1, 2)
    stays = region_at(canvas, positions, box) == [point[1] for point in kept]
    found = []
    for region in np.unique(canvas[canvas > 0]).tolist():
        cells, area_px = canvas_positions(canvas, region, box)
        here = [p for p, stay in zip(kept, stays, strict=True) if stay and p[1] == region]
        count = min(num_points_of_region(round(area_px), most), len(cells))
        new = cells[spread_points(cells, max(count, 1), rng)]
        for point in here:
            if len(new):
                nearest = np.linalg.norm(new - point[2:], axis=1).argmin()
                new = np.delete(new, nearest, axis=0)
        new = new[_short_path(new)]
        found += here
        places = new.round(3).tolist()
        found += [(number + k, region, x, y) for k, (x, y) in enumerate(places)]
        number += len(new)
    return found


def _short_path(points: NDArray[np.float64]) -> list[int]:
    """Order of (P, 2) points from the topmost, always to the nearest that is left."""
    left = sorted(range(len(points)), key=lambda k: points[k, 1])
    path = left[:1]
    left = left[1:]
    while left:
        nearest = min(left, key=lambda k: float(np.hypot(*(points[k] - points[path[-1]]))))
        left.remove(nearest)
        path.append(nearest)
    return path


def expected_normals(
    asked: tuple[NDArray, NDArray],
    answered: tuple[NDArray, NDArray],
    normals: NDArray[np.floating],
    size_px: float,
) -> NDArray[np.float64]:
    """Which side of the resting body points are likely to lie on, from the answers near them.

    Args:
        asked: positions (P, 2) and regions (P,) of the points.
        answered: the same of A answered ones.
        normals: (A, 3) of the resting body where they were placed.
        size_px: longer side of the box.

    Returns:
        (P, 3) directions, not of unit length; zeros without answers.
    """
    if not len(normals):
        return np.zeros((len(asked[0]), 3))
    weight = np.exp(-cdist(asked[0], answered[0]) / (_REACH * size_px))
    weight *= np.where(asked[1][:, None] == answered[1], 1.0, _OTHER_REGION)
    return weight @ normals


def suspicious(
    points_px: NDArray[np.floating],
    region: NDArray[np.integer],
    part: NDArray[np.integer],
    uv: NDArray[np.floating],
    body: Body,
) -> NDArray[np.bool_]:
    """(P,) points that lie far from their neighbours on the surface.

    Of each point and its nearest neighbours of the same region in the image, the distance along the
    surface is compared with that in the image. What is usual is the median of the instance.
    """
    first, second = _neighbours(points_px, region)
    if not len(first):
        return np.zeros(len(points_px), bool)
    distance_m = body.distance_m((part[first], uv[first]), (part[second], uv[second]))
    apart_px = np.linalg.norm(points_px[first] - points_px[second], axis=1)
    usual = np.median(distance_m / apart_px) * apart_px
    is_far = (distance_m > SUSPICIOUS_RATIO * usual) & (distance_m > SUSPICIOUS_M)
    far = np.bincount(first, is_far, len(points_px))
    return far > 0.5 * np.bincount(first, minlength=len(points_px))


def _neighbours(
    points_px: NDArray[np.floating], region: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of a point and one of its nearest in the same region."""
    pairs = []
    for number in np.unique(region):
        members = np.flatnonzero(region == number)
        count = min(_NEIGHBOURS, len(members) - 1)
        if count > 0:
            near = cKDTree(points_px[members]).query(points_px[members], count + 1)[1]
            pairs.append(np.stack([np.repeat(members, count), members[near[:, 1:]].ravel()]))
    first, second = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), np.int64)
    return first, second
