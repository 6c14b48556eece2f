"""Flattening a piece of the surface into the plane, when an atlas is baked.

Two ways, as in the DensePose paper's own atlas: multidimensional scaling of the geodesic distances
within the piece, which suits gently curved pieces, and an energy that forbids folds for the rest.
The second needs libigl, which is not needed to use a baked atlas.

Shapes: V vertices, F triangles of one piece; positions in the plane (V, 2). Triangles run
counter-clockwise in the plane as they do on the surface seen from outside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import spsolve

from .libigl import require_libigl
from .mesh import boundary_edges, euler_characteristic, face_areas
from .straight_lines import straight_line_graph


def geodesic_matrix(
    vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> NDArray[np.float64]:
    """(V, V) distances along the piece, not leaving it."""
    return dijkstra(straight_line_graph(vertices, faces))


def classical_scaling(
    distance: NDArray[np.floating], mirror: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """Plane positions whose inner products come nearest to those the distances imply.

    Args:
        distance: (V, V) symmetric.
        mirror: (V,) mirrored vertex of a piece that is its own mirror image. The first coordinate
            then changes its sign under it and the second stays.

    Returns:
        (V, 2), the coordinate of larger spread second; with ``mirror`` the odd coordinate first.
    """
    squares = np.asarray(distance, np.float64) ** 2
    mean = squares.mean(axis=0)
    inner = -0.5 * (squares - mean - mean[:, None] + mean.mean())
    if mirror is None:
        value, vector = np.linalg.eigh(inner)
        return vector[:, [-2, -1]] * np.sqrt(np.maximum(value[[-2, -1]], 0))
    inner = 0.5 * (inner + inner[mirror][:, mirror])
    columns = []
    for sign in (-1, 1):
        value, vector = np.linalg.eigh(0.5 * (inner + sign * inner[mirror]))
        columns.append(vector[:, -1] * np.sqrt(max(value[-1], 0)))
    return np.stack(columns, axis=1)


def majorise_stress(
    distance: NDArray[np.floating],
    start: NDArray[np.floating],
    *,
    max_iterations: int = 300,
    tolerance: float = 1e-6,
) -> NDArray[np.float64]:
    """Move plane positions until their distances fit best in the sense of least squares (SMACOF).

    Each step is the Guttman transform, which never raises the stress; it ends when a step lowers
    the stress by less than ``tolerance`` of it.
    """
    position = np.asarray(start, np.float64)
    last = np.inf
    for _ in range(max_iterations):
        gap = np.linalg.norm(position[:, None] - position, axis=2)
        stress = ((gap - distance) ** 2).sum()
        if last - stress <= tolerance * stress:
            break
        last = stress
        ratio = np.divide(distance, gap, out=np.zeros_like(gap), where=gap > 0)
        pull = -ratio
        np.fill_diagonal(pull, ratio.sum(axis=1) - ratio.diagonal())
        position = pull @ position / len(position)
    return position


def disc_embedding(
    vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Tutte's map of a disc onto the round unit disc: border by length, inside by mean values.

    It has no folds, whatever the shape, which makes it the start for an energy that keeps it so.

    Raises:
        ValueError: the piece is not a disc.
    """
    loop = _border_loop(faces)
    length = np.linalg.norm(vertices[loop] - vertices[np.roll(loop, -1)], axis=1)
    angle = 2 * np.pi * (np.cumsum(length) - length) / length.sum()
    position = np.zeros((len(vertices), 2))
    position[loop] = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ends = np.concatenate([faces, np.roll(faces, -1, axis=1)]).reshape(-1)
    others = np.concatenate([np.roll(faces, -1, axis=1), faces]).reshape(-1)
    joined = sparse.coo_matrix(
        (np.ones(len(ends)), (ends, others)), shape=(len(vertices), len(vertices))
    ).tocsr()
    joined.data[:] = 1
    laplacian = (sparse.diags(np.asarray(joined.sum(axis=1)).ravel()) - joined).tocsr()
    inside = np.setdiff1d(np.arange(len(vertices)), loop)
    if len(inside):
        right = -laplacian[inside][:, loop] @ position[loop]
        position[inside] = spsolve(laplacian[inside][:, inside].tocsc(), right).reshape(-1, 2)
    return position


def _border_loop(faces: NDArray[np.integer]) -> NDArray[np.int64]:
    """Vertices of the border in the order in which the triangles run along it."""
    edge = boundary_edges(faces)
    if euler_characteristic(faces) != 1 or len(np.unique(edge[:, 0])) != len(edge):
        raise ValueError(
            f"a piece of {len(faces)} triangles is not a disc (Euler characteristic"
            f" {euler_characteristic(faces)}, {len(edge)} border edges); it cannot be flattened"
        )
    following = dict(edge.tolist())
    loop = [int(edge[0, 0])]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    return np.array(loop)


def flatten_without_folds(
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    *,
    iterations: int = 60,
    target: NDArray[np.floating] | None = None,
    pull: float = 1.0,
) -> NDArray[np.float64]:
    """Least symmetric Dirichlet energy from Tutte's map, by libigl's scalable injective mappings.

    The energy grows without bound as a triangle collapses, so no triangle is ever turned over.

    Args:
        vertices: (V, 3).
        faces: (F, 3), a disc.
        iterations: steps of the solver.
        target: (V, 2) plane positions the result is drawn towards, if any.
        pull: strength of that draw against the energy of a piece of area 1.

    Raises:
        ModuleNotFoundError: libigl is not installed.
    """
    igl = require_libigl()
    scale = 1 / np.sqrt(face_areas(np.asarray(vertices, np.float64), faces).sum())
    points = np.asfortranarray(np.asarray(vertices, np.float64) * scale)
    start = disc_embedding(points, faces) / np.sqrt(np.pi)
    held = np.arange(len(points) if target is not None else 0, dtype=np.int32)
    places = np.zeros((0, 2)) if target is None else np.asarray(target, np.float64) * scale
    data = igl.slim_precompute(
        points,
        np.asfortranarray(faces, np.int32),
        np.asfortranarray(start),
        igl.SYMMETRIC_DIRICHLET,
        held,
        np.asfortranarray(places),
        pull / len(points),
    )
    return np.ascontiguousarray(igl.slim_solve(data, iterations)[:, :2]) / scale


def turned(position: NDArray[np.floating], height: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotate (V, 2) plane positions until v is the direction in which ``height`` grows fastest.

    They are centred as well, and only centred where the height is the same everywhere.
    """
    centred = position - position.mean(axis=0)
    slope = np.linalg.lstsq(centred, height - height.mean(), rcond=None)[0]
    length = np.linalg.norm(slope)
    if length == 0:
        return centred
    v_axis = slope / length
    u_axis = np.array([v_axis[1], -v_axis[0]])
    return centred @ np.stack([u_axis, v_axis], axis=1)


def to_unit_square(position: NDArray[np.floating]) -> NDArray[np.float64]:
    """Stretch (V, 2) plane positions so that both coordinates run from 0 to 1."""
    low, high = position.min(axis=0), position.max(axis=0)
    return (position - low) / (high - low)


def plane_areas(position: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.float64]:
    """(F,) signed areas in the plane; negative for a triangle that is turned over."""
    a, b, c = (np.asarray(position, np.float64)[faces[:, corner]] for corner in range(3))
    first, second = b - a, c - a
    return 0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
