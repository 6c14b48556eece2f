"""Geodesic point similarity (GPS) of annotated points, and the normalisers it has been used with.

Shapes: P annotated points, S segments: points of one (detection, person) pair, one after another.
Units: metres along the template surface; similarities in [0, 1].

Two normalisers are in use and their numbers must not be compared: one kappa for the whole body
(Gueler, Neverova, Kokkinos, CVPR 2018) and one per body part (the DensePose challenges of 2018 and
2019, detectron2's model zoo).
"""

from __future__ import annotations

import numpy as np

from densepose.structures.body_parts import NUM_PARTS

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


def point_similarity(squared_distance_m2: np.ndarray, kappa_m: np.ndarray | float) -> np.ndarray:
    """exp(-d^2 / 2 kappa^2) of each point; 0 where the distance is infinite.

    Args:
        squared_distance_m2: (P,) squared error of each point; ``inf`` where nothing was predicted.
        kappa_m: (P,) or one normaliser, above 0.

    Returns:
        (P,) float64 in [0, 1].

    Raises:
        ValueError: a normaliser is not above 0, or a distance is not a number.
    """
    if not np.all(np.asarray(kappa_m) > 0):
        raise ValueError(
            "kappa must be above 0 for every point; annotated points have parts 1 to 24"
        )
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


def geodesic_point_similarity(
    distance_m: np.ndarray, kappa_m: np.ndarray | float, num_points: np.ndarray
) -> np.ndarray:
    """GPS of S (detection, person) pairs.

    Args:
        distance_m: (P,) error of each annotated point, pair after pair; ``inf`` outside the
            detection and where background was predicted.
        kappa_m: (P,) normaliser of the part each point was *annotated* on, or one for all.
        num_points: (S,) points of each pair, summing to P.

    Returns:
        (S,) float64; 0 for a pair without points.

    Raises:
        ValueError: the lengths do not fit, or see ``point_similarity``.
    """
    if int(num_points.sum()) != len(distance_m):
        raise ValueError(
            f"num_points sums to {int(num_points.sum())}, but there are {len(distance_m)} distances"
        )
    squared = np.square(distance_m.astype(np.float64))
    return mean_per_segment(point_similarity(squared, kappa_m), num_points)


def squares_as_published(
    distance_m: np.ndarray, from_table: np.ndarray, num_points: np.ndarray
) -> np.ndarray:
    """(P,) squared distances rounded as detectron2's evaluator rounds them.

    It gathers the distances of a pair in a list. Is every one of them a float32 out of the distance
    table, the list becomes a float32 array and is squared as such; one point of distance 0 (same
    vertex) or ``inf`` turns the whole pair into float64. The difference is below 1e-7, and matters
    only to a similarity that lies on a threshold.

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
