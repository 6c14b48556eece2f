"""The measures: geodesic point similarity, average precision, ratio of correct points, mistakes.

Shapes: P annotated points; S segments: the points of one (detection, person) pair, one after
another; D detections of all images; T thresholds, R recalls.
Units: metres along the template surface; similarities in [0, 1].

Two normalisers of GPS are in use and their numbers must not be compared: one kappa for the whole
body (Gueler, Neverova, Kokkinos, CVPR 2018) and one per body part (the DensePose challenges of 2018
and 2019, detectron2's model zoo).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from densepose.structures.body_parts import COARSE_OF_PART, NUM_PARTS, flipped_coarse, flipped_parts

# Section 5 of the paper: a point 30 cm off scores 0.5.
GLOBAL_KAPPA_M = 0.255

# Mean geodesic distance between the points of a part, in metres, from the DensePose challenge of
# 2018; the official evaluators call it Mean_Distances. Index: the part number, 0 is background.
_REGION_KAPPA_M = {
    "torso": (0.351, (1, 2)),
    "hands": (0.107, (3, 4)),
    "feet": (0.126, (5, 6)),
    "upper legs": (0.237, (7, 8, 9, 10)),
    "lower legs": (0.173, (11, 12, 13, 14)),
    "upper arms": (0.142, (15, 16, 17, 18)),
    "lower arms": (0.128, (19, 20, 21, 22)),
    "head": (0.150, (23, 24)),
}
PART_KAPPA_M = np.full(NUM_PARTS + 1, np.nan)
for _kappa, _parts in _REGION_KAPPA_M.values():
    PART_KAPPA_M[list(_parts)] = _kappa
PART_KAPPA_M.setflags(write=False)

RECALLS = np.linspace(0.0, 1.0, 101)

# Limits of the two areas of the paper, and the errors at which the curve is kept.
AUC_LIMITS_M = {"auc10": 0.10, "auc30": 0.30}
RCP_THRESHOLDS_M = np.linspace(0.0, 0.5, 51)
# Fractions are summed as whole multiples of 2^-32: the sums do not depend on the order of images.
_STEPS = float(1 << 32)

# Where an annotated point went; the first is right.
KINDS = {
    "points_right_part": "right part",
    "points_other_face": "right limb or torso, front taken for back or back for front",
    "points_other_side": "left taken for right or right for left",
    "points_other_side_and_face": "both: the other side's other face",
    "points_other_limb": "another part of the body",
    "points_as_background": "person found, background predicted or outside of the box",
    "points_not_found": "person not found",
}
_KIND_NAMES = tuple(KINDS)


def point_similarity(squared_distance_m2: np.ndarray, kappa_m: np.ndarray | float) -> np.ndarray:
    """exp(-d^2 / 2 kappa^2) of each point; 0 where the distance is infinite.

    Args:
        squared_distance_m2: (P,) squared error of each point; ``inf`` where nothing was predicted.
        kappa_m: (P,) or one normaliser, above 0.

    Returns:
        (P,) float64 in [0, 1].

    Raises:
        ValueError: a distance is not a number.
    """
    if np.isnan(squared_distance_m2).any():
        raise ValueError("a distance is NaN; points without a prediction have distance inf")
    return np.exp(-squared_distance_m2 / (2 * np.square(kappa_m)))


def mean_per_segment(values: np.ndarray, num_points: np.ndarray) -> np.ndarray:
    """(P,) values, ``num_points`` (S,) of them for each of S segments -> (S,) means; 0 if empty.

    Every segment is summed exactly as ``np.mean`` sums it on its own.
    """
    means = np.zeros(len(num_points))
    filled = np.flatnonzero(num_points)
    if len(filled):
        first = np.concatenate([[0], np.cumsum(num_points)])[filled]
        # reduceat adds all but the first value of a segment pairwise and then the first; a zero in
        # front of every segment makes that the order in which np.sum adds the segment alone.
        padded = np.insert(values, first, 0.0)
        sums = np.add.reduceat(padded, first + np.arange(len(first)))
        means[filled] = sums / num_points[filled]
    return means


def squares_as_published(
    distance_m: np.ndarray, from_table: np.ndarray, num_points: np.ndarray
) -> np.ndarray:
    """(P,) squared distances rounded as detectron2's evaluator rounds them.

    It gathers the distances of a pair in a list. If all of them are float32 values out of the
    distance table, the list becomes a float32 array and is squared as such. One point of distance 0
    (same vertex) or ``inf`` turns the whole pair into float64. The difference is below 1e-7, and
    matters only to a similarity that lies on a threshold.

    Args:
        distance_m: (P,) float64 holding float32 values.
        from_table: (P,) bool: the distance was read from the table.
        num_points: (S,) points of each pair.
    """
    squared = np.square(distance_m)
    filled = num_points[num_points > 0]
    if len(filled):
        first = np.concatenate([[0], np.cumsum(filled)])[:-1]
        single = np.repeat(np.logical_and.reduceat(from_table, first), filled)
        squared[single] = np.square(distance_m[single].astype(np.float32))
    return squared


def masked_similarity(gps: np.ndarray, mask_iou: np.ndarray) -> np.ndarray:
    """GPSm = sqrt(GPS * IoU), the measure of the 2019 challenge; any shape."""
    return np.sqrt(mask_iou * gps)


def precision_recall(
    matched: np.ndarray, ignored: np.ndarray, num_people: int
) -> tuple[np.ndarray, np.ndarray]:
    """COCO's precision at 101 recalls, and the highest recall.

    Args:
        matched: (T, D) bool, detections of all images by descending score.
        ignored: (T, D) bool.
        num_people: people to find; all is NaN without people.

    Returns:
        precision (T, R): the best precision at this recall or a higher one, 0 if never reached;
        recall (T,).
    """
    if num_people == 0:
        return np.full((len(matched), len(RECALLS)), np.nan), np.full(len(matched), np.nan)
    right = np.cumsum(matched & ~ignored, axis=1).astype(np.float64)
    wrong = np.cumsum(~matched & ~ignored, axis=1).astype(np.float64)
    recall = right / num_people
    precision = right / (wrong + right + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # One more column: a recall that is never reached has precision 0.
    padded = np.concatenate([precision, np.zeros((len(precision), 1))], axis=1)
    place = np.stack([np.searchsorted(row, RECALLS, side="left") for row in recall])
    highest = recall[:, -1] if recall.shape[1] else np.zeros(len(recall))
    return np.take_along_axis(padded, place, axis=1), highest


def area_under_rcp(distance_m: np.ndarray, limit_m: float) -> np.ndarray:
    """What each point adds to AUC_a = 1/a * integral from 0 to a of RCP(t) dt, which is their mean.

    RCP(t) is the ratio of correct points, those with an error below t: an error d adds
    max(0, 1 - d/a).

    Args:
        distance_m: (P,) errors, ``inf`` allowed.
        limit_m: a, above 0.
    """
    return np.clip(1 - distance_m / limit_m, 0.0, 1.0)


class PointTotals:
    """Running sums over points, by annotated part; their size does not depend on the data set.

    Every annotated point counts. It is looked up in the detection that its person was matched to by
    box, see ``matching.match_by_box``. A point of a person without detection, outside the
    detection's box, or where background was predicted has an infinite error and a wrong part. The
    totals of any split of the points add up to the same numbers, to the last digit.
    """

    _COLUMNS = ("points", "found", "foreground", "right_part", "similarity", *AUC_LIMITS_M)

    def __init__(self) -> None:
        self._sums = np.zeros((len(self._COLUMNS), NUM_PARTS + 1), np.int64)
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
        columns = [np.ones(len(part)), found, predicted_part > 0, predicted_part == part]
        columns += [similarity, *(area_under_rcp(distance_m, a) for a in AUC_LIMITS_M.values())]
        for sums, values in zip(self._sums, columns, strict=True):
            # Whole numbers below 2^53 are exact in float64: up to two million points at a time.
            steps = np.rint(np.asarray(values, np.float64) * _STEPS)
            sums += np.bincount(part, steps, NUM_PARTS + 1).astype(np.int64)
        kinds = np.where(
            found, _kind_table()[part, predicted_part], _KIND_NAMES.index("points_not_found")
        )
        self._kinds += np.bincount(kinds, minlength=len(KINDS))
        nearest_bin = np.searchsorted(RCP_THRESHOLDS_M, distance_m, side="right")
        counts = np.bincount(nearest_bin, minlength=len(RCP_THRESHOLDS_M) + 1)
        self._below += np.cumsum(counts)[: len(RCP_THRESHOLDS_M)]

    def merge(self, other: PointTotals) -> None:
        """Add the totals of other points."""
        self._sums += other._sums
        self._below += other._below
        self._kinds += other._kinds

    def means(self) -> dict[str, float]:
        """Means over all points: auc10, auc30, part_accuracy, points_on_foreground, ... in [0, 1].

        NaN without points.
        """
        return self._means(self._sums.sum(axis=1))

    def by_part(self) -> list[dict[str, float]]:
        """The same for the points annotated on each of the parts 1 to 24, with their number."""
        parts = range(1, NUM_PARTS + 1)
        return [{"part": part} | self._means(self._sums[:, part]) for part in parts]

    def kinds(self) -> dict[str, float]:
        """Fraction of points of each of KINDS; they sum to 1. NaN without points."""
        total = self._kinds.sum()
        fractions = self._kinds / total if total else np.full(len(KINDS), np.nan)
        return dict(zip(KINDS, fractions.tolist(), strict=True))

    def rcp(self) -> np.ndarray:
        """Fraction of points with an error below each of RCP_THRESHOLDS_M."""
        total = self._kinds.sum()
        return self._below / total if total else np.full(len(self._below), np.nan)

    def _means(self, sums: Sequence[int]) -> dict[str, float]:
        totals = dict(zip(self._COLUMNS, (float(value) / _STEPS for value in sums), strict=True))
        points = totals["points"]
        means = {name: total / points if points else np.nan for name, total in totals.items()}
        return {
            "points": int(points),
            "part_accuracy": means["right_part"],
            "points_on_foreground": means["foreground"],
            "points_of_found_people": means["found"],
            "point_similarity": means["similarity"],
        } | {name: means[name] for name in AUC_LIMITS_M}


@cache
def _kind_table() -> np.ndarray:
    """(25, 25) index into KINDS by annotated and predicted part."""
    region, other_side = COARSE_OF_PART, flipped_parts()
    annotated, predicted = region[:, None], region[None, :]
    # Later ones overrule earlier ones.
    rules: Mapping[str, np.ndarray] = {
        "points_other_side_and_face": flipped_coarse()[annotated] == predicted,
        # Of the head's two parts, the other one is the other side.
        "points_other_face": annotated == predicted,
        "points_other_side": other_side[:, None] == np.arange(len(region))[None, :],
        "points_right_part": np.eye(len(region), dtype=bool),
        "points_as_background": (np.arange(len(region)) == 0)[None, :],
    }
    table = np.full((len(region),) * 2, _KIND_NAMES.index("points_other_limb"))
    for name, where in rules.items():
        table[np.broadcast_to(where, table.shape)] = _KIND_NAMES.index(name)
    return table
