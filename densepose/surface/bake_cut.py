"""Cutting a mesh along level lines, so that the borders between body parts are smooth lines of edges.

Vertices are rows of numbers (n, D), the first three of which are the place in metres; a vertex made on an edge gets the
mean of the rows at its ends. Fields are (n, K) numbers at the vertices, interpolated the same way; field k is cut where
it is 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .mesh import edges, half_edges

# A crossing nearer to a vertex than this share of the edge is moved to the vertex, to make no slivers.
SNAP = 0.2


def cut_along(
    rows: NDArray[np.float64],
    faces: NDArray[np.int64],
    fields: NDArray[np.float64],
    field: int,
    where: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Split the triangles that a field crosses; afterwards none of those in ``where`` has corners of both signs.

    Args:
        rows: (n, D).
        faces: (f, 3).
        fields: (n, K).
        field: which of the K to cut along.
        where: (f,) triangles to split; their neighbours are split where they share a cut edge.

    Returns:
        Rows (n + m, D), faces and fields (n + m, K) with m new vertices, at which the field is exactly 0.
    """
    level = fields[:, field].copy()
    edge = edges(faces[where])
    a, b = level[edge[:, 0]], level[edge[:, 1]]
    crossed = a * b < 0
    share = np.abs(a) / np.maximum(np.abs(a) + np.abs(b), 1e-300)
    level[edge[crossed & (share < SNAP), 0]] = 0
    level[edge[crossed & (share > 1 - SNAP), 1]] = 0
    fields = fields.copy()
    fields[:, field] = level
    crossed = level[edge[:, 0]] * level[edge[:, 1]] < 0
    edge, share = edge[crossed], share[crossed, None]
    new_rows = (1 - share) * rows[edge[:, 0]] + share * rows[edge[:, 1]]
    new_fields = (1 - share) * fields[edge[:, 0]] + share * fields[edge[:, 1]]
    new_fields[:, field] = 0
    faces = split_edges(faces, edge, len(rows))
    return np.concatenate([rows, new_rows]), faces, np.concatenate([fields, new_fields])


def split_edges(
    faces: NDArray[np.int64], edge: NDArray[np.int64], first_new: int
) -> NDArray[np.int64]:
    """Put a vertex, ``first_new`` + i, on each of the (m, 2) edges and divide the triangles that have one.

    Returns:
        (f', 3) triangles covering the same surface with the same orientation.
    """
    number = {tuple(pair): first_new + i for i, pair in enumerate(np.sort(edge, axis=1).tolist())}
    sides = np.sort(half_edges(faces), axis=1).tolist()
    middle = np.array([number.get(tuple(side), -1) for side in sides]).reshape(3, -1).T
    count = (middle >= 0).sum(axis=1)
    pieces = [faces[count == 0]]

    one = count == 1
    turn = middle[one].argmax(axis=1)
    a, b, c = _turned(faces[one], turn)
    m, _, _ = _turned(middle[one], turn)
    pieces += [np.stack([a, m, c], axis=1), np.stack([m, b, c], axis=1)]

    two = count == 2
    turn = (middle[two].argmin(axis=1) + 1) % 3
    a, b, c = _turned(faces[two], turn)
    m, n, _ = _turned(middle[two], turn)
    pieces += [np.stack(t, axis=1) for t in ((m, b, n), (a, m, n), (a, n, c))]

    a, b, c = faces[count == 3].T
    m, n, o = middle[count == 3].T
    pieces += [np.stack(t, axis=1) for t in ((a, m, o), (m, b, n), (o, n, c), (m, n, o))]
    return np.concatenate(pieces)


def _turned(
    triples: NDArray[np.int64], turn: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Columns of (n, 3) after rotating each row to begin at ``turn``."""
    rows = np.arange(len(triples))
    return tuple(triples[rows, (turn + i) % 3] for i in range(3))
