"""Inpainting in three dimensions: annotated points as places on the template body.

U and V of a part know nothing of the part beside it: a spline in them stops at each border between
two parts. Places on the body go on across these borders, so all points of a region count together,
and the nearest place on the body says part, U and V at once.

Shapes as in ``cells``. Units: metres on the template body; lengths in the image in units of a
person's size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from densepose.structures.body_parts import COARSE_OF_PART
from densepose.surface.charts import ChartAtlas
from densepose.surface.nearest_place import NearestPlace

from .baselines import groups, in_sizes
from .cells import Cells, Guess, Points, parts_of_region
from .refine import SPREAD, Scores
from .scattered import cubic, exponential, interpolate, leave_one_out, nearest

# Values of ``smoothing`` that are compared; the last one leaves little but a plane.
SMOOTHINGS = (0.0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
# Distance between what points and network say that a third of confidence is left of.
DISAGREEMENT_M = 0.1


class BodyPlaces:
    """Parts with (u, v) as points of the template body, and back within a region."""

    def __init__(self, atlas: ChartAtlas) -> None:
        """Keep the charts and sample the surface."""
        self._atlas = atlas
        self._nearest = NearestPlace(atlas, COARSE_OF_PART)

    def points_m(self, part: np.ndarray, uv: np.ndarray) -> np.ndarray:
        """(Q,) parts and (Q, 2) coordinates -> (Q, 3)."""
        return self._atlas.to_points(part, uv)

    def nearest(self, points_m: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(Q, 3) points and (Q,) regions 1..14 -> (Q,) parts and (Q, 2) coordinates."""
        return self._nearest(points_m, region)


@dataclass(frozen=True)
class SurfaceSettings:
    """How network and points are weighed; lengths in units of a person's size."""

    # Distance from the nearest point of the region at which the network counts 63 %.
    reach: float = 0.2
    error_reach: float = 0.15  # how far the network's error at a point tells of those around it
    enough_points: int = 4  # with fewer points in a region the network counts more
    smoothing: float = 0.0  # of the interpolation; 0 passes through the points


def surface_interpolation(
    cells: Cells, points: Points, sizes_px: np.ndarray, body: BodyPlaces, smoothing: float = 0.0
) -> Guess:
    """A smooth function through the points' places on the body, without a network.

    Args:
        cells: Q cells.
        points: P points.
        sizes_px: (N,) of the people.
        body: whose surface is annotated.
        smoothing: 0 passes through the points.
    """
    place_m, known = _by_points(cells, points, sizes_px, body, smoothing)
    part, uv = np.zeros(len(known), np.int64), np.zeros((len(known), 2))
    part[known], uv[known] = body.nearest(place_m[known], cells.region[known])
    return Guess(part, uv, known.astype(np.float64))


def choose_smoothing(known: Iterable[tuple[Points, np.ndarray]], body: BodyPlaces) -> float:
    """The smoothing by which points are best told from the others of their region.

    Annotators are centimetres off: a function through their points follows every mistake.

    Args:
        known: points of an image, and the (N,) sizes of its people in px.
        body: whose surface is annotated.

    Returns:
        Of SMOOTHINGS the one with the smallest mean distance, points left out one by one.
    """
    total_m, count = np.zeros(len(SMOOTHINGS)), 0
    for points, sizes_px in known:
        place_m = body.points_m(points.part, points.uv)
        left_out = [
            leave_one_out(
                in_sizes(points, sizes_px),
                place_m,
                groups(points.person, points.region),
                kernel=cubic,
                linear=True,
                noise=noise,
            )
            for noise in SMOOTHINGS
        ]
        error_m = np.linalg.norm(left_out, axis=2)
        error_m = error_m[:, np.isfinite(error_m).all(axis=0)]
        total_m += error_m.sum(axis=1)
        count += error_m.shape[1]
    return SMOOTHINGS[int(total_m.argmin())] if count else 0.0


def refine_on_surface(
    cells: Cells,
    points: Points,
    sizes_px: np.ndarray,
    at_cells: Scores,
    at_points: Scores,
    settings: SurfaceSettings,
    body: BodyPlaces,
) -> Guess:
    """Part, (u, v) and confidence of every cell from a network and the points.

    Near points their interpolation counts, elsewhere the network less its interpolated errors at
    the points; where a region has no points, the network alone.

    Args:
        cells: Q cells.
        points: P points.
        sizes_px: (N,) of the people.
        at_cells: the network's scores for the regions of the cells.
        at_points: and for the regions that the points' parts lie in.
        settings: weights.
        body: whose surface is annotated.
    """
    by_points_m, known = _by_points(cells, points, sizes_px, body, settings.smoothing)
    at, asked = in_sizes(points, sizes_px), in_sizes(cells, sizes_px)
    of_point, of_cell = groups(points.person, points.region), groups(cells.person, cells.region)
    error_m = interpolate(
        at,
        body.points_m(points.part, points.uv) - _by_network(points.region, at_points, body),
        of_point,
        asked,
        of_cell,
        kernel=exponential(settings.error_reach),
        linear=False,
    )
    by_network_m = _by_network(cells.region, at_cells, body) + error_m
    distance, _ = nearest(at, of_point, asked, of_cell)
    names, counts = np.unique(of_point, return_counts=True)
    count = np.zeros(len(of_cell))
    slot = np.searchsorted(names, of_cell[known])
    count[known] = counts[slot]
    share = np.exp(-((distance / settings.reach) ** 2))
    share *= np.clip(count / settings.enough_points, 0, 1)
    mixed_m = np.where(
        known[:, None],
        share[:, None] * by_points_m + (1 - share[:, None]) * by_network_m,
        by_network_m,
    )
    part, uv = body.nearest(mixed_m, cells.region)
    # Two opinions that are far apart are both less sure; without points there is but one.
    apart_m = np.linalg.norm(by_points_m - by_network_m, axis=1)
    agreed = np.where(known, np.exp(-apart_m / DISAGREEMENT_M), 1.0)
    alone = np.exp(-at_cells.spread.min(axis=1) / SPREAD) * agreed
    return Guess(part, uv, share * np.sqrt(agreed) + (1 - share) * alone)


def _by_points(
    cells: Cells, points: Points, sizes_px: np.ndarray, body: BodyPlaces, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """(Q, 3) interpolated places, 0 where the region has no points, and (Q,) where it has."""
    of_point, of_cell = groups(points.person, points.region), groups(cells.person, cells.region)
    place_m = interpolate(
        in_sizes(points, sizes_px),
        body.points_m(points.part, points.uv),
        of_point,
        in_sizes(cells, sizes_px),
        of_cell,
        kernel=cubic,
        linear=True,
        noise=smoothing,
    )
    return place_m, np.isin(of_cell, of_point)


def _by_network(region: np.ndarray, scores: Scores, body: BodyPlaces) -> np.ndarray:
    """(Q, 3) mean of the two candidates' places by their probability: what a doubt is worth."""
    table = parts_of_region()[region]
    alone = table[:, 1] == 0
    second = np.where(alone, 0.0, 1 / (1 + np.exp(-scores.log_ratio)))[:, None]
    uv = scores.uv.clip(0, 1)
    first_m = body.points_m(table[:, 0], uv[:, 0])
    second_m = body.points_m(np.where(alone, table[:, 0], table[:, 1]), uv[:, 1])
    return (1 - second) * first_m + second * second_m
