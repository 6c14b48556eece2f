"""What parts, U and V are between annotated points: by the points alone, or with a network.

Near annotated points a smooth function through them is hardly to be improved on. Far from them, and
on the border between two parts, the network knows more. So both are asked and weighed. What the
network gets wrong at a point, it gets wrong in much the same way around it: a smooth function
through its errors at the points is taken off (regression kriging).

Points and network meet on the surface of the body, in three dimensions. U and V of a part know
nothing of the part beside it: a spline in them stops at each border between two parts. Places on
the body continue across these borders. So all points of a region count together, and the nearest
place on the body says part, U and V at once. Where the body has no shape (the official charts of
SMPL), they meet in U and V, part by part.

Shapes as in ``cells``; a region has two candidate parts at most. Lengths in the image are in units
of a person's size, lengths on the body in metres.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from densepose.structures.body_parts import COARSE_OF_PART
from densepose.surface.charts import ChartAtlas
from densepose.surface.nearest_place import NearestPlace

from .cells import Cells, Guess, Points, parts_of_region
from .scattered import cubic, exponential, interpolate, leave_one_out, nearest, thin_plate

# Distance from the nearest point at which the network counts 63 %, on the body and in charts, and
# how far the network's error at a point tells of those around it.
REACH, ERROR_REACH = 0.2, 0.15
UV_REACH, UV_ERROR_REACH = 0.3, 0.3
# With fewer points in a region or part the network counts more.
ENOUGH_POINTS = 4
# A cell that lies as surely in a part as its points adds this to the log ratio of the network.
PART_POINTS = 6.0
# A third of confidence is left when averaged predictions disagree by this, in units of a chart.
SPREAD = 0.1
# A third of confidence is left when points and network disagree by this.
DISAGREEMENT_M = 0.1
# Values of ``smoothing`` that are compared; the last one leaves little but a plane.
SMOOTHINGS = (0.0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


class BodyPlaces:
    """Parts with (u, v) as points of the body, and back within a region."""

    def __init__(self, atlas: ChartAtlas) -> None:
        self.points_m = atlas.to_points  # (Q,) parts, (Q, 2) coordinates -> (Q, 3)
        # (Q, 3) points, (Q,) regions 1..14 -> (Q,) parts, (Q, 2) coordinates
        self.nearest = NearestPlace(atlas, COARSE_OF_PART)


@dataclass(frozen=True)
class Scores:
    """What a network says at Q places about the two candidate parts of their regions."""

    log_ratio: np.ndarray  # (Q,) log of p(second part) / p(first part)
    uv: np.ndarray  # (Q, 2, 2) candidate, U or V
    spread: np.ndarray  # (Q, 2) standard deviation of the averaged predictions of each candidate

    def __getitem__(self, chosen: slice) -> Scores:
        """Some of the places."""
        return Scores(self.log_ratio[chosen], self.uv[chosen], self.spread[chosen])


def nearest_point(cells: Cells, points: Points) -> Guess:
    """Part and (u, v) of the nearest annotated point in the same region of the same person."""
    distance, index = nearest(
        points.place, points.group(points.region), cells.place, cells.group(cells.region)
    )
    found = np.isfinite(distance)
    part = np.zeros(len(found), np.int64)
    uv = np.zeros((len(found), 2))
    part[found], uv[found] = points.part[index[found]], points.uv[index[found]]
    return Guess(part, uv, found.astype(float))


def smooth_in_part(cells: Cells, points: Points) -> Guess:
    """Thin-plate splines through U and V of the annotated points of each part of each person.

    Where a region has two parts, the border between them is where a spline through -1 (the first
    part's points) and 1 (the second's) is 0.
    """
    second = (_side_of_border(cells, points) > 0).astype(np.int64)
    part = parts_of_region()[cells.region, second]
    known = np.isin(cells.group(part), points.group(points.part))
    part = np.where(known, part, 0)
    # A spline may leave the range of a chart.
    return Guess(part, _uv_of_points(cells, points, part).clip(0, 1), known.astype(float))


def _side_of_border(cells: Cells, points: Points) -> np.ndarray:
    """(Q,) spline through -1 at points of a region's first part, 1 of its second; 0 without any."""
    is_second = points.part == parts_of_region()[points.region, 1]
    side = np.where(is_second, 1.0, -1.0)[:, None]
    groups = points.group(points.region), cells.group(cells.region)
    return interpolate(points.place, side, groups[0], cells.place, groups[1], kernel=thin_plate)[
        :, 0
    ]


def _uv_of_points(cells: Cells, points: Points, part: np.ndarray) -> np.ndarray:
    """(Q, 2) splines through the U and V of the points of each cell's (Q,) part."""
    groups = points.group(points.part), cells.group(part)
    return interpolate(
        points.place, points.uv, groups[0], cells.place, groups[1], kernel=thin_plate
    )


def on_surface(cells: Cells, points: Points, body: BodyPlaces, smoothing: float = 0.0) -> Guess:
    """A smooth function through the points' places on the body, without a network.

    Args:
        cells: Q cells.
        points: P points.
        body: whose surface is annotated.
        smoothing: 0 passes through the points.
    """
    place_m, known = _places_of_points(cells, points, body, smoothing)
    part, uv = np.zeros(len(known), np.int64), np.zeros((len(known), 2))
    part[known], uv[known] = body.nearest(place_m[known], cells.region[known])
    return Guess(part, uv, known.astype(np.float64))


def _places_of_points(
    cells: Cells, points: Points, body: BodyPlaces, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """(Q, 3) interpolated places, 0 where the region has no points, and (Q,) where it has."""
    of_point, of_cell = points.group(points.region), cells.group(cells.region)
    known_m = body.points_m(points.part, points.uv)
    place_m = interpolate(
        points.place, known_m, of_point, cells.place, of_cell, kernel=cubic, noise=smoothing
    )
    return place_m, np.isin(of_cell, of_point)


def choose_smoothing(known: Iterable[Points], body: BodyPlaces) -> float:
    """The smoothing by which points are best told from the others of their region.

    Annotators are centimetres off: a function through their points follows every mistake.

    Args:
        known: points of each image.
        body: whose surface is annotated.

    Returns:
        Of SMOOTHINGS the one with the smallest mean distance, points left out one by one.
    """
    total_m, count = np.zeros(len(SMOOTHINGS)), 0
    for points in known:
        place_m = body.points_m(points.part, points.uv)
        at, group = points.place, points.group(points.region)
        left_out = [
            leave_one_out(at, place_m, group, kernel=cubic, noise=noise) for noise in SMOOTHINGS
        ]
        error_m = np.linalg.norm(left_out, axis=2)
        error_m = error_m[:, np.isfinite(error_m).all(axis=0)]
        total_m += error_m.sum(axis=1)
        count += error_m.shape[1]
    return SMOOTHINGS[int(total_m.argmin())] if count else 0.0


def network_alone(cells: Cells, at_cells: Scores) -> Guess:
    """The more probable candidate part and its (u, v)."""
    return _choose(cells, at_cells, at_cells.log_ratio)


def _choose(cells: Cells, at_cells: Scores, log_ratio: np.ndarray) -> Guess:
    table = parts_of_region()[cells.region]
    alone = table[:, 1] == 0
    second = ((log_ratio > 0) & ~alone).astype(np.int64)
    row = np.arange(len(second))
    sure = np.where(alone, 1.0, 1 / (1 + np.exp(-np.abs(log_ratio))))
    confidence = sure * np.exp(-at_cells.spread[row, second] / SPREAD)
    return Guess(table[row, second], at_cells.uv[row, second].clip(0, 1), confidence)


def refine_in_charts(
    cells: Cells, points: Points, at_cells: Scores, at_points: Scores, reach: float = UV_REACH
) -> Guess:
    """Part, (u, v) and confidence of every cell from a network and the points, in U and V.

    Args:
        cells: Q cells.
        points: P points.
        at_cells: the network's scores for the regions of the cells.
        at_points: and for the regions that the points' parts lie in.
        reach: see UV_REACH.
    """
    # Splines overshoot where they leave the points behind.
    side = _side_of_border(cells, points).clip(-1, 1)
    guess = _choose(cells, at_cells, at_cells.log_ratio + PART_POINTS * side)
    is_second = points.part == parts_of_region()[points.region, 1]
    said = at_points.uv[np.arange(len(points.part)), is_second.astype(np.int64)]
    groups = points.group(points.part), cells.group(guess.part)
    error = _error(cells, points, groups, points.uv - said, UV_ERROR_REACH)
    # One point says where its part is, but not how U and V change.
    fraction = _fraction_of_points(cells, points, groups, reach, free=1)[:, None]
    second = guess.part == parts_of_region()[cells.region, 1]
    network = at_cells.uv[np.arange(len(second)), second.astype(np.int64)] + error
    uv = fraction * _uv_of_points(cells, points, guess.part) + (1 - fraction) * network
    return Guess(guess.part, uv.clip(0, 1), guess.confidence)


def refine_on_surface(
    cells: Cells,
    points: Points,
    at_cells: Scores,
    at_points: Scores,
    body: BodyPlaces,
    smoothing: float = 0.0,
    reach: float = REACH,
) -> Guess:
    """Part, (u, v) and confidence of every cell from a network and the points, on the body.

    Where a region has no points, the network alone counts.

    Args:
        cells: Q cells.
        points: P points.
        at_cells: the network's scores for the regions of the cells.
        at_points: and for the regions that the points' parts lie in.
        body: whose surface is annotated.
        smoothing: of the function through the points; 0 passes through them.
        reach: see REACH.
    """
    by_points_m, known = _places_of_points(cells, points, body, smoothing)
    groups = points.group(points.region), cells.group(cells.region)
    error_m = body.points_m(points.part, points.uv) - _mean_place(points.region, at_points, body)
    by_network_m = _mean_place(cells.region, at_cells, body)
    by_network_m += _error(cells, points, groups, error_m, ERROR_REACH)
    fraction = _fraction_of_points(cells, points, groups, reach, free=0)
    mixed_m = fraction[:, None] * by_points_m + (1 - fraction[:, None]) * by_network_m
    part, uv = body.nearest(mixed_m, cells.region)
    # Two opinions that are far apart are both less sure; without points there is but one.
    apart_m = np.linalg.norm(by_points_m - by_network_m, axis=1)
    agreed = np.where(known, np.exp(-apart_m / DISAGREEMENT_M), 1.0)
    alone = np.exp(-at_cells.spread.min(axis=1) / SPREAD) * agreed
    return Guess(part, uv, fraction * np.sqrt(agreed) + (1 - fraction) * alone)


Groups = tuple[np.ndarray, np.ndarray]  # of points and of cells


def _error(
    cells: Cells, points: Points, groups: Groups, error: np.ndarray, reach: float
) -> np.ndarray:
    """(Q, D) the network's (P, D) errors at the points, less and less far from them."""
    return interpolate(
        points.place,
        error,
        groups[0],
        cells.place,
        groups[1],
        kernel=exponential(reach),
        linear=False,
    )


def _fraction_of_points(
    cells: Cells, points: Points, groups: Groups, reach: float, free: int
) -> np.ndarray:
    """(Q,) how much the points count, 0 to 1: near them, and where there are more than ``free``."""
    distance, _ = nearest(points.place, groups[0], cells.place, groups[1])
    names, counts = np.unique(groups[0], return_counts=True)
    found = np.isfinite(distance)
    count = np.zeros(len(distance))
    count[found] = counts[np.searchsorted(names, groups[1][found])]
    enough = np.clip((count - free) / (ENOUGH_POINTS - free), 0, 1)
    return np.exp(-((distance / reach) ** 2)) * enough


def _mean_place(region: np.ndarray, scores: Scores, body: BodyPlaces) -> np.ndarray:
    """(Q, 3) mean of the two candidates' places by their probability: what a doubt is worth."""
    table = parts_of_region()[region]
    alone = table[:, 1] == 0
    second = np.where(alone, 0.0, 1 / (1 + np.exp(-scores.log_ratio)))[:, None]
    uv = scores.uv.clip(0, 1)
    first_m = body.points_m(table[:, 0], uv[:, 0])
    second_m = body.points_m(np.where(alone, table[:, 0], table[:, 1]), uv[:, 1])
    return (1 - second) * first_m + second * second_m
