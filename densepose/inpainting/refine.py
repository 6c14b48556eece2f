"""From a network's scores to inpainted cells: held to the masks, and joined with the known points.

Near annotated points a smooth function through them is hardly to be improved on; far from them, and
on the border between two parts, the network knows more. So both are asked and weighed.

What the network gets wrong at a point it gets wrong in much the same way around it: before it is
asked, a smooth function through its errors at the points is taken off (regression kriging).

Shapes as in ``cells``; a region has two candidate parts at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .baselines import groups, in_sizes, side_of_border, smooth_uv
from .cells import Cells, Guess, Points, parts_of_region
from .scattered import exponential, interpolate, nearest

# Disagreement of the averaged predictions, in units of a chart, that a third of confidence is left
# of.
SPREAD = 0.1


@dataclass(frozen=True)
class Scores:
    """What a network says at Q places about the two candidate parts of their regions."""

    log_ratio: np.ndarray  # (Q,) log of p(second part) / p(first part)
    uv: np.ndarray  # (Q, 2, 2) candidate, U or V
    spread: np.ndarray  # (Q, 2) standard deviation of the averaged predictions of each candidate

    def __getitem__(self, chosen: slice) -> Scores:
        """Some of the places."""
        return Scores(self.log_ratio[chosen], self.uv[chosen], self.spread[chosen])


@dataclass(frozen=True)
class RefineSettings:
    """How network and points are weighed; lengths in units of a person's size."""

    # A cell that lies as surely in a part as its points adds this to the log ratio of the network.
    part_points: float = 6.0
    # Distance from the nearest point of the part at which the network counts 63 % for U and V.
    uv_reach: float = 0.3
    error_reach: float = 0.3  # how far the network's error at a point tells of those around it
    enough_points: int = 4  # with fewer points in a part the network counts more
    smoothing: float = 0.0  # of the splines; 0 passes through the points
    spline_share: float = 1.0  # of U and V at the points themselves; the rest is the network's
    error_noise: float = 0.0  # of the network's errors at points; 0 believes the points


def refine(
    cells: Cells,
    points: Points,
    sizes_px: np.ndarray,
    at_cells: Scores,
    at_points: Scores,
    settings: RefineSettings | None,
) -> Guess:
    """Part, (u, v) and confidence of every cell.

    Args:
        cells: Q cells.
        points: P points.
        sizes_px: (N,) of the people.
        at_cells: the network's scores for the regions of the cells.
        at_points: and for the regions that the points' parts lie in.
        settings: None keeps the network's word.
    """
    table = parts_of_region()
    log_ratio = at_cells.log_ratio
    if settings is not None:
        # Splines overshoot where they leave the points behind.
        side = side_of_border(cells, points, sizes_px, settings.smoothing).clip(-1, 1)
        log_ratio = log_ratio + settings.part_points * side
    alone = table[cells.region, 1] == 0
    second = ((log_ratio > 0) & ~alone).astype(np.int64)
    part = table[cells.region, second]
    number = np.arange(len(part))
    uv = at_cells.uv[number, second]
    if settings is not None:
        uv = _joined_uv(cells, points, sizes_px, part, uv, at_points, settings)
    sure = np.where(alone, 1.0, 1 / (1 + np.exp(-np.abs(log_ratio))))
    spread = at_cells.spread[number, second]
    return Guess(part, uv.clip(0, 1), sure * np.exp(-spread / SPREAD))


def _joined_uv(
    cells: Cells,
    points: Points,
    sizes_px: np.ndarray,
    part: np.ndarray,
    uv: np.ndarray,
    at_points: Scores,
    settings: RefineSettings,
) -> np.ndarray:
    """(Q, 2) splines through the points near them, the network less its errors elsewhere."""
    known, asked = in_sizes(points, sizes_px), in_sizes(cells, sizes_px)
    of_point, of_cell = groups(points.person, points.part), groups(cells.person, part)
    is_second = points.part == parts_of_region()[points.region, 1]
    said = at_points.uv[np.arange(len(points.part)), is_second.astype(np.int64)]
    kernel = exponential(settings.error_reach)
    error = interpolate(
        known,
        points.uv - said,
        of_point,
        asked,
        of_cell,
        kernel=kernel,
        linear=False,
        noise=settings.error_noise,
    )
    distance, _ = nearest(known, of_point, asked, of_cell)
    by_distance = np.exp(-((distance / settings.uv_reach) ** 2))
    most = int(of_cell.max(initial=0)) + 1
    count = np.bincount(of_point[of_point < most], minlength=most)[of_cell]
    share = (
        settings.spline_share
        * by_distance
        * np.clip((count - 1) / (settings.enough_points - 1), 0, 1)
    )
    smooth = smooth_uv(cells, points, sizes_px, part, settings.smoothing)
    return share[:, None] * smooth + (1 - share[:, None]) * (uv + error)


def keep_points(cells: Cells, points: Points, guess: Guess) -> Guess:
    """The guess with the annotation itself at the cells that annotated points lie in.

    Of several points in a cell, the one nearest to its centre counts. A point in a cell that no
    region covers changes nothing.
    """
    most = int(cells.map_sizes.prod(axis=1).max(initial=1))
    of_cell = cells.person * most + cells.index  # ascending
    of_point = points.person * most + points.index
    place = np.searchsorted(of_cell, of_point).clip(max=max(len(of_cell) - 1, 0))
    inside = of_cell[place] == of_point if len(of_cell) else np.zeros(len(of_point), bool)
    # Written from the farthest to the nearest, so the nearest stays.
    order = np.argsort(-points.off_centre, kind="stable")
    order = order[inside[order]]
    at = place[order]
    part, uv, confidence = guess.part.copy(), guess.uv.copy(), guess.confidence.copy()
    part[at], uv[at], confidence[at] = points.part[order], points.uv[order], 1.0
    return Guess(part, uv, confidence)
