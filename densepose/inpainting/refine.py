"""From a network's scores to inpainted cells: held to the masks, and pulled to the known points.

What the network gets wrong at an annotated point it gets wrong in much the same way around it. Its
error is known at every point, so a smooth function through the errors is taken off its prediction
(regression kriging): near points the annotation decides, between them the network does.

Shapes as in ``cells``; a region has two candidate parts at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cells import Cells, Guess, Points, parts_of_region
from .scattered import exponential, interpolate

# How sure a part is at least where it was annotated: log of the ratio of its probability.
SURE = 2.0
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
    """How far the word of an annotated point reaches, in units of a person's size."""

    uv_reach: float = 0.08
    part_reach: float = 0.05


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
    log_ratio, uv = at_cells.log_ratio, at_cells.uv
    known = points.place_px / sizes_px[points.person, None]
    asked = cells.place_px / sizes_px[cells.person, None]
    is_second = points.part == table[points.region, 1]
    if settings is not None:
        wanted = np.where(is_second, 1.0, -1.0)
        short = np.maximum(SURE - wanted * at_points.log_ratio, 0.0) * wanted
        log_ratio = (
            log_ratio
            + interpolate(
                known,
                short[:, None],
                100 * points.person + points.region,
                asked,
                100 * cells.person + cells.region,
                kernel=exponential(settings.part_reach),
                linear=False,
            )[:, 0]
        )
    alone = table[cells.region, 1] == 0
    second = (log_ratio > 0) & ~alone
    part = table[cells.region, second.astype(np.int64)]
    number = np.arange(len(part))
    chosen = uv[number, second.astype(np.int64)]
    if settings is not None:
        error = points.uv - at_points.uv[np.arange(len(points.part)), is_second.astype(np.int64)]
        chosen = chosen + interpolate(
            known,
            error,
            100 * points.person + points.part,
            asked,
            100 * cells.person + part,
            kernel=exponential(settings.uv_reach),
            linear=False,
        )
    sure = np.where(alone, 1.0, 1 / (1 + np.exp(-np.abs(log_ratio))))
    spread = at_cells.spread[number, second.astype(np.int64)]
    return Guess(part, chosen.clip(0, 1), sure * np.exp(-spread / SPREAD))


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
