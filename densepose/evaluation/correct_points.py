"""Scores over annotated points: ratio of correct points (RCP), its areas, and parts.

Every annotated point of the data set counts. It is looked up in the detection that its person was
matched to by box (``matching.match_by_box``: IoU >= 0.5, one to one; by score for the predictions
of a whole system, by overlap for those that were made for the annotated boxes). A point of a person
without detection, outside the detection's box, or where background was predicted has an infinite
error and a wrong part.

Shapes: P points. Units: metres along the template surface.
"""

from __future__ import annotations

import numpy as np

from densepose.structures.body_parts import NUM_PARTS

from .mistakes import KINDS, kinds_of

# Limits of the two areas of the paper, and the errors at which the curve is kept.
AUC_LIMITS_M = {"auc10": 0.10, "auc30": 0.30}
RCP_THRESHOLDS_M = np.linspace(0.0, 0.5, 51)
_COLUMNS = ("points", "found", "foreground", "right_part", "similarity")


def area_under_rcp(distance_m: np.ndarray, limit_m: float) -> np.ndarray:
    """Share of each point in AUC_a = 1/a * integral from 0 to a of RCP(t) dt; their mean is AUC_a.

    RCP(t) is the share of points with an error below t: one with error d adds max(0, 1 - d/a).

    Args:
        distance_m: (P,) errors, ``inf`` allowed.
        limit_m: a, above 0.

    Raises:
        ValueError: the limit is not above 0.
    """
    if limit_m <= 0:
        raise ValueError(f"the limit of the area must be above 0 m, got {limit_m}")
    return np.clip(1 - distance_m / limit_m, 0.0, 1.0)


class PointTotals:
    """Running sums over points, by annotated part; their size does not depend on the data set."""

    def __init__(self) -> None:
        self._sums = {name: np.zeros(NUM_PARTS + 1) for name in (*_COLUMNS, *AUC_LIMITS_M)}
        self._below = np.zeros(len(RCP_THRESHOLDS_M), np.int64)
        self._kinds = np.zeros(len(KINDS), np.int64)

    def add(
        self,
        distance_m: np.ndarray,
        similarity: np.ndarray,
        part: np.ndarray,
        predicted_part: np.ndarray,
        found: np.ndarray,
    ) -> None:
        """Count points.

        Args:
            distance_m: (P,) errors, ``inf`` where there is no prediction.
            similarity: (P,) GPS of each point.
            part: (P,) annotated part, 1 to 24.
            predicted_part: (P,) 0 where background or nothing was predicted.
            found: (P,) bool: the point's person has a detection.
        """
        columns = {
            "points": np.ones(len(part)),
            "found": found,
            "foreground": predicted_part > 0,
            "right_part": predicted_part == part,
            "similarity": similarity,
        }
        columns |= {n: area_under_rcp(distance_m, limit) for n, limit in AUC_LIMITS_M.items()}
        for name, values in columns.items():
            self._sums[name] += np.bincount(part, weights=values, minlength=NUM_PARTS + 1)
        self._kinds += np.bincount(kinds_of(part, predicted_part, found), minlength=len(KINDS))
        nearest_bin = np.searchsorted(RCP_THRESHOLDS_M, distance_m, side="right")
        counts = np.bincount(nearest_bin, minlength=len(RCP_THRESHOLDS_M) + 1)
        self._below += np.cumsum(counts)[: len(RCP_THRESHOLDS_M)]

    def shares(self) -> dict[str, float]:
        """Means over all points: auc10, auc30, part_accuracy, points_on_foreground, ... in [0, 1].

        NaN without points.
        """
        return _shares({name: float(values.sum()) for name, values in self._sums.items()})

    def by_part(self) -> list[dict[str, float]]:
        """The same for the points annotated on each of the parts 1 to 24, with their number."""
        return [
            {"part": part}
            | _shares({name: float(values[part]) for name, values in self._sums.items()})
            for part in range(1, NUM_PARTS + 1)
        ]

    def kinds(self) -> dict[str, float]:
        """Share of points of each of KINDS; they sum to 1. NaN without points."""
        total = self._kinds.sum()
        shares = self._kinds / total if total else np.full(len(KINDS), np.nan)
        return dict(zip(KINDS, shares.tolist(), strict=True))

    def rcp(self) -> np.ndarray:
        """Share of points with an error below each of RCP_THRESHOLDS_M."""
        total = self._sums["points"].sum()
        return self._below / total if total else np.full(len(self._below), np.nan)


def _shares(sums: dict[str, float]) -> dict[str, float]:
    points = sums["points"]

    def mean(name: str) -> float:
        return sums[name] / points if points else float("nan")

    return {
        "points": int(points),
        "part_accuracy": mean("right_part"),
        "points_on_foreground": mean("foreground"),
        "points_of_found_people": mean("found"),
        "point_similarity": mean("similarity"),
    } | {name: mean(name) for name in AUC_LIMITS_M}
