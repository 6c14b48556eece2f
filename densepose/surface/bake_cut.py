"""Cutting a mesh along level lines, so that body parts meet in smooth lines of edges.

Vertices are rows of numbers (n, D), the first three of which are the place in metres; a vertex made
on an edge gets the mean of the rows at its ends. Fields are (n, K) numbers at the vertices,
interpolated the same way; field k is cut where it is 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .mesh import edges, half_edges

# A crossing nearer to a vertex than this share of the edge is moved to the vertex, to make no
# slivers.
SNAP = 0.2


def cut_along(
    rows: NDArray[np.float64],
    faces: NDArray[np.int64],
    fields: NDArray[np.float64],
    field: int,
    where: NDArray[np.bool_],
    fixed: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Split the triangles that a field crosses: afterwards none has corners of both signs.

    Args:
        rows: (n, D).
        faces: (f, 3).
        fields: (n, K).
        field: which of the K to cut along.
        where: (f,) triangles to split; their neighbours are split where they share a cut edge.
        fixed: (n,) vertices that must not move; a crossing near one is put on it as it is.

    Returns:
        Rows (n + m, D), faces and fields (n + m, K) with m new vertices, at which the field is
        exactly 0.
    """
    edge = edges(faces[where])
    a, b = fields[edge, field].T
    edge = edge[a * b < 0]
    a, b = fields[edge, field].T
    share = np.abs(a) / (np.abs(a) + np.abs(b))
    near = np.concatenate([edge[share < SNAP], edge[share > 1 - SNAP, ::-1]])
    step = np.concatenate([share[share < SNAP], 1 - share[share > 1 - SNAP]])
    # Each vertex goes to the nearest of its crossings.
    order = np.argsort(step, kind="stable")
    snapped, first = np.unique(near[order, 0], return_index=True)
    other, step = near[order[first], 1], step[order[first], None]
    step = np.where(fixed[snapped, None], 0, step)
    moved_rows, moved_fields = rows.copy(), fields.copy()
    moved_rows[snapped] += step * (rows[other] - rows[snapped])
    moved_fields[snapped] += step * (fields[other] - fields[snapped])
    moved_fields[snapped, field] = 0

    a, b = moved_fields[edge, field].T
    edge = edge[a * b < 0]
    a, b = moved_fields[edge, field].T
    share = (np.abs(a) / (np.abs(a) + np.abs(b)))[:, None]
    new_rows = (1 - share) * moved_rows[edge[:, 0]] + share * moved_rows[edge[:, 1]]
    new_fields = (1 - share) * moved_fields[edge[:, 0]] + share * moved_fields[edge[:, 1]]
    new_fields[:, field] = 0
    faces = split_edges(faces, edge, len(rows))
    return np.concatenate([moved_rows, new_rows]), faces, np.concatenate([moved_fields, new_fields])


def split_edges(
    faces: NDArray[np.int64], edge: NDArray[np.int64], first_new: int
) -> NDArray[np.int64]:
    """Put vertex ``first_new`` + i on edge i of (m, 2) and divide the triangles at it.

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
