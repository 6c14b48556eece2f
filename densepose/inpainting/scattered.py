"""Smooth functions through values that are known at scattered points, many groups at a time.

Shapes: P known points and Q places to read, each in one of the groups 0 .. G - 1 (a part of a
person, say); K = points of the largest group. Groups know nothing of one another.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

# (..., ) distances -> (..., ) values of a radial function
Kernel = Callable[[np.ndarray], np.ndarray]
# Larger than any distance between places of one group; groups lie this far apart in the tree.
_FAR = 1e4
# Places evaluated at once: bounds the memory.
BLOCK = 65_536


def thin_plate(distance: np.ndarray) -> np.ndarray:
    """r^2 log r: with a linear function, the smoothest surface through the values (Duchon 1977)."""
    return distance**2 * np.log(np.maximum(distance, 1e-12))


def cubic(distance: np.ndarray) -> np.ndarray:
    """r^3: smoother than thin plates, for functions that are smooth themselves."""
    return distance**3


def exponential(length: float) -> Kernel:
    """exp(-r / length): as the Gaussian, but for functions that are not smooth."""
    return lambda distance: np.exp(-distance / length)


def nearest(
    known: np.ndarray, group: np.ndarray, places: np.ndarray, place_group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest known point in each place's group.

    Args:
        known: (P, 2), nearer to one another than 5000.
        group: (P,) int64.
        places: (Q, 2).
        place_group: (Q,) int64.

    Returns:
        (Q,) distance and (Q,) index of the point; infinite and 0 for a group without points.
    """
    distance, index = np.full(len(places), np.inf), np.zeros(len(places), np.int64)
    if len(known) and len(places):
        # Groups in planes of their own: the nearest of all points is one of the same group.
        tree = cKDTree(np.concatenate([known, _FAR * group[:, None]], axis=1))
        found, at = tree.query(np.concatenate([places, _FAR * place_group[:, None]], axis=1))
        own = found < _FAR / 2
        distance[own], index[own] = found[own], at[own]
    return distance, index


def interpolate(
    known: np.ndarray,
    values: np.ndarray,
    group: np.ndarray,
    places: np.ndarray,
    place_group: np.ndarray,
    *,
    kernel: Kernel,
    linear: bool,
    noise: float = 0.0,
) -> np.ndarray:
    """Radial-basis interpolation of each group by itself.

    Args:
        known: (P, 2) places of the values.
        values: (P, D).
        group: (P,) int64.
        places: (Q, 2) where to read.
        place_group: (Q,) int64.
        kernel: radial function.
        linear: add a linear function of the place, which the kernel's part is orthogonal to;
            without it the result falls to what the kernel says far away.
        noise: added to the diagonal; 0 passes through the values, more comes less near to them.

    Returns:
        (Q, D); 0 for places of a group without points.
    """
    result = np.zeros((len(places), values.shape[1]))
    if len(known) == 0 or len(places) == 0:
        return result
    names, own = np.unique(group, return_inverse=True)
    slot, count = _slots(own, len(names))
    spots, taken, middle = _spots(known, own, slot, count)
    inverse = _inverse(spots, taken, kernel, linear, noise)
    solution = inverse[:, :, : taken.shape[1]] @ _padded(values, own, slot, taken.shape)
    weights, slope = solution[:, : taken.shape[1]], solution[:, taken.shape[1] :]
    at = np.searchsorted(names, place_group).clip(max=len(names) - 1)
    read = np.flatnonzero(names[at] == place_group)
    for block in np.split(read, range(BLOCK, len(read), BLOCK)):
        of = at[block]
        here = places[block] - middle[of]
        distance = np.linalg.norm(here[:, None] - spots[of], axis=2)
        near = np.where(taken[of], kernel(distance), 0.0)
        result[block] = np.einsum("qk,qkd->qd", near, weights[of])
        if linear:
            basis = np.concatenate([np.ones((len(block), 1)), here], axis=1)
            result[block] += np.einsum("qb,qbd->qd", basis, slope[of])
    return result


def leave_one_out(
    known: np.ndarray,
    values: np.ndarray,
    group: np.ndarray,
    *,
    kernel: Kernel,
    linear: bool,
    noise: float = 0.0,
) -> np.ndarray:
    """How far each value is from what all others of its group say: the measure of a good ``noise``.

    Args:
        known: (P, 2) places of the values.
        values: (P, D).
        group: (P,) int64.
        kernel: see ``interpolate``.
        linear: see ``interpolate``.
        noise: see ``interpolate``.

    Returns:
        (P, D) value less prediction without it, by the formula of Rippa (1999), which solves each
        group once; nan where the others do not determine a prediction.
    """
    result = np.full(values.shape, np.nan)
    if len(known) == 0:
        return result
    names, own = np.unique(group, return_inverse=True)
    slot, count = _slots(own, len(names))
    spots, taken, _ = _spots(known, own, slot, count)
    most = taken.shape[1]
    inverse = _inverse(spots, taken, kernel, linear, noise)
    weights = inverse[:, :most, :most] @ _padded(values, own, slot, taken.shape)
    own_weight = np.einsum("gkk->gk", inverse[:, :most, :most])
    determined = (np.abs(own_weight) > 1e-9) & (count > (3 if linear else 1))[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.where(determined[..., None], weights / own_weight[..., None], np.nan)
    return residual[own, slot]


def _slots(own: np.ndarray, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """(P,) place of each point among those of its group, and (G,) their numbers."""
    count = np.bincount(own, minlength=num_groups)
    order = np.argsort(own, kind="stable")
    slot = np.empty(len(own), np.int64)
    slot[order] = np.arange(len(own)) - np.repeat(count.cumsum() - count, count)
    return slot, count


def _spots(
    known: np.ndarray, own: np.ndarray, slot: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(G, K, 2) points about the middle of their group, (G, K) which are there, (G, 2) middles.

    Coordinates about the middle keep the linear part's numbers small.
    """
    most = int(count.max())
    taken = np.arange(most) < count[:, None]
    spots = _padded(known, own, slot, taken.shape)
    middle = spots.sum(axis=1) / count[:, None]
    return np.where(taken[..., None], spots - middle[:, None], 0.0), taken, middle


def _padded(
    values: np.ndarray, own: np.ndarray, slot: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """(P, D) -> (G, K, D), 0 where a group has fewer points."""
    padded = np.zeros((*shape, values.shape[1]))
    padded[own, slot] = values
    return padded


def _inverse(
    spots: np.ndarray, taken: np.ndarray, kernel: Kernel, linear: bool, noise: float
) -> np.ndarray:
    """(G, K + 3, K + 3) from values to weights of the points and of 1, x, y.

    The smallest of the solutions, where a few points on a line leave the linear part open.
    """
    groups, most, _ = spots.shape
    distance = np.linalg.norm(spots[:, :, None] - spots[:, None], axis=3)
    both = taken[:, :, None] & taken[:, None]
    matrix = np.zeros((groups, most + 3, most + 3))
    matrix[:, :most, :most] = np.where(both, kernel(distance), 0.0) + noise * np.eye(most)
    if linear:
        basis = np.concatenate([np.ones((groups, most, 1)), spots], axis=2) * taken[..., None]
        matrix[:, :most, most:] = basis
        matrix[:, most:, :most] = basis.transpose(0, 2, 1)
    return np.linalg.pinv(matrix, rcond=1e-10, hermitian=True)
