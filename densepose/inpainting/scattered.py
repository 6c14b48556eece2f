"""Smooth functions through values that are known at scattered points, group by group.

Shapes: P known points and Q places to read, each in a group (a region of a person). Groups know
nothing of one another.

``scipy.interpolate.RBFInterpolator`` gives the same values, but has no exponential kernel, refuses
groups of one or two points, and leaves the body where points lie nearly on a line.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

# (..., ) distances -> (..., ) values of a radial function
Kernel = Callable[[np.ndarray], np.ndarray]
# Larger than any distance between places of one group; groups lie this far apart in the tree.
_FAR = 1e4


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
    linear: bool = True,
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
    for number in np.unique(group):
        own, asked = np.flatnonzero(group == number), np.flatnonzero(place_group == number)
        spots, middle, inverse = _solve(known[own], kernel, linear, noise)
        offset = places[asked] - middle
        basis = [kernel(cdist(offset, spots))]
        if linear:
            basis += [np.ones((len(asked), 1)), offset]
        result[asked] = np.concatenate(basis, axis=1) @ (inverse[:, : len(own)] @ values[own])
    return result


def leave_one_out(
    known: np.ndarray,
    values: np.ndarray,
    group: np.ndarray,
    *,
    kernel: Kernel,
    linear: bool = True,
    noise: float = 0.0,
) -> np.ndarray:
    """How far each value is from what all others of its group say: the measure of a good ``noise``.

    Arguments as for ``interpolate``.

    Returns:
        (P, D) value less prediction without it, by the formula of Rippa (1999), which solves each
        group once; nan where the others do not determine a prediction.
    """
    result = np.full(values.shape, np.nan)
    for number in np.unique(group):
        own = np.flatnonzero(group == number)
        if len(own) <= (3 if linear else 1):
            continue
        inverse = _solve(known[own], kernel, linear, noise)[2][: len(own), : len(own)]
        diagonal = np.diag(inverse)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = inverse @ values[own] / diagonal
        result[own] = np.where(np.abs(diagonal) > 1e-9, residual, np.nan)
    return result


def _solve(
    known: np.ndarray, kernel: Kernel, linear: bool, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K, 2) points about their middle, (2,) the middle, and the matrix from values to weights.

    The weights are those of the points and, with ``linear``, of 1, x and y: the matrix is (K + 3,
    K + 3) then. It gives the smallest of the solutions where a few points, or points on a line,
    leave the linear part open.
    """
    middle = known.mean(axis=0)
    spots = known - middle
    matrix = kernel(cdist(spots, spots)) + noise * np.eye(len(spots))
    if linear:
        basis = np.concatenate([np.ones((len(spots), 1)), spots], axis=1)
        matrix = np.block([[matrix, basis], [basis.T, np.zeros((3, 3))]])
    return spots, middle, np.linalg.pinv(matrix, rcond=1e-10, hermitian=True)
