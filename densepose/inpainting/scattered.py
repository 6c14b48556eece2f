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
    most = int(count.max())
    spots = np.zeros((len(names), most, 2))
    spots[own, slot] = known
    target = np.zeros((len(names), most, values.shape[1]))
    target[own, slot] = values
    taken = np.arange(most) < count[:, None]
    # Coordinates about the group's middle keep the linear part's numbers small.
    middle = spots.sum(axis=1) / count[:, None]
    spots = np.where(taken[..., None], spots - middle[:, None], 0.0)
    weights, slope = _solve(spots, target, taken, kernel, linear, noise)
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


def _slots(own: np.ndarray, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """(P,) place of each point among those of its group, and (G,) their numbers."""
    count = np.bincount(own, minlength=num_groups)
    order = np.argsort(own, kind="stable")
    slot = np.empty(len(own), np.int64)
    slot[order] = np.arange(len(own)) - np.repeat(count.cumsum() - count, count)
    return slot, count


def _solve(
    spots: np.ndarray,
    target: np.ndarray,
    taken: np.ndarray,
    kernel: Kernel,
    linear: bool,
    noise: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(G, K, D) weights of the points and (G, 3, D) of the linear function."""
    groups, most, _ = spots.shape
    distance = np.linalg.norm(spots[:, :, None] - spots[:, None], axis=3)
    both = taken[:, :, None] & taken[:, None]
    matrix = np.zeros((groups, most + 3, most + 3))
    matrix[:, :most, :most] = np.where(both, kernel(distance), 0.0) + noise * np.eye(most)
    if linear:
        basis = np.concatenate([np.ones((groups, most, 1)), spots], axis=2) * taken[..., None]
        matrix[:, :most, most:] = basis
        matrix[:, most:, :most] = basis.transpose(0, 2, 1)
    right = np.concatenate([target, np.zeros((groups, 3, target.shape[2]))], axis=1)
    # The smallest of the solutions, where a few points on a line leave the linear part open.
    solution = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True) @ right
    return solution[:, :most], solution[:, most:]
