"""Compiled searches in the (u, v) plane of charts: the triangle of a point, the nearest vertex.

Shapes: P points, M chart vertices, F triangles, E edges on the border of a chart. Parts run from 1
to 24; part 0 is background and finds nothing. Each chart is covered by n x n square cells that
know which triangles reach into them, or which vertices lie in them; cell (i, j) of a part has the
number ((part - 1) n + i) n + j.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from densepose.structures import body_parts

from .mesh import border_sides

UV_STEPS = int(body_parts.UV_STEPS)
# A barycentric coordinate this little below 0 still counts as inside the triangle.
INSIDE_TOLERANCE = 1e-9
# Cells along each side of a chart. Of triangles, one to four of the template then reach into a
# cell; of vertices, one or two of the subdivided SMPL mesh lie in it.
_TRIANGLE_CELLS = 64
_VERTEX_CELLS = 28
# Two vertices whose distances to a point differ by less than this are compared exactly.
_NEARLY_EQUAL = 1e-9
# Points with nearly equal distances that are compared with all vertices of their part at once.
_TIES_AT_ONCE = 4096

# No fast maths: the searches have to agree with plain ones over all triangles and vertices.
_OPTIONS = {"nogil": True, "cache": True}


class TriangleSearch:
    """Which triangle of its part's chart holds a point, or comes nearest to it."""

    def __init__(
        self,
        uv: NDArray[np.floating],
        uv_faces: NDArray[np.integer],
        face_part: NDArray[np.integer],
    ) -> None:
        """(M, 2) chart vertices, (F, 3) their triangles, (F,) part of each triangle."""
        part = np.asarray(face_part, np.int64)
        self._corners = np.ascontiguousarray(np.asarray(uv, np.float64)[uv_faces])  # (F, 3, 2)
        low = _cell_position(self._corners.min(axis=1) - INSIDE_TOLERANCE, _TRIANGLE_CELLS)
        high = _cell_position(self._corners.max(axis=1) + INSIDE_TOLERANCE, _TRIANGLE_CELLS)
        column, i = _expand(low[:, 0], high[:, 0] + 1)
        owner, j = _expand(low[column, 1], high[column, 1] + 1)
        face = column[owner]
        cell = _cell_number(part[face], np.stack([i[owner], j], axis=1), _TRIANGLE_CELLS)
        order = np.lexsort((face, cell))
        self._members = face[order]
        self._first = _starts(cell[order], int(part.max(initial=0)) * _TRIANGLE_CELLS**2)
        owner, corner = border_sides(uv_faces)
        order = np.argsort(part[owner], kind="stable")
        self._border = np.stack([owner[order], corner[order]], axis=1)  # (E, 2), by part
        self._first_border = _starts(part[owner[order]], int(part.max(initial=0)) + 1)

    def __call__(
        self, part: NDArray[np.integer], uv: NDArray[np.floating]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int8]]:
        """Find the triangles of (P,) parts and (P, 2) positions.

        Of several triangles that hold a point, the one whose sides are farthest away is taken, the
        first of equals. A point outside its chart is moved to the nearest point of the border.

        Returns:
            (P,) triangles, (P, 3) barycentric coordinates, and (P,) for a point that was moved the
            corner from which the side with its new place runs, -1 for others. Triangle -1 and
            coordinates 0 for part 0 and parts without triangles.
        """
        part = np.ascontiguousarray(part, np.int64)
        face = np.full(len(part), -1)
        weight, corner = np.zeros((len(part), 3)), np.full(len(part), -1, np.int8)
        _find_triangles(
            part,
            np.ascontiguousarray(uv, np.float64),
            self._corners,
            self._members,
            self._first,
            self._border,
            self._first_border,
            face,
            weight,
            corner,
        )
        return face, weight, corner


class VertexSearch:
    """The chart vertex of a part that is nearest in (u, v), the first of equally near ones.

    Distances are compared as ``scipy.spatial.distance.cdist`` computes them, and the first minimum
    is taken: the official evaluators do so.
    """

    def __init__(self, uv: NDArray[np.floating], uv_part: NDArray[np.integer]) -> None:
        """(M, 2) chart vertices and (M,) the part of each."""
        self._uv, self._part = np.asarray(uv, np.float64), np.asarray(uv_part, np.int64)
        cell = _cell_number(self._part, _cell_position(self._uv, _VERTEX_CELLS), _VERTEX_CELLS)
        self._sorted = np.argsort(cell, kind="stable")
        self._sorted_uv = np.ascontiguousarray(self._uv[self._sorted])
        num_cells = int(self._part.max(initial=0)) * _VERTEX_CELLS**2
        self._first = _starts(cell[self._sorted], num_cells)

    def __call__(self, part: NDArray[np.integer], uv: NDArray[np.floating]) -> NDArray[np.int64]:
        """(P,) parts that have vertices, or 0, and (P, 2) positions -> (P,) chart vertices.

        Meaningless for part 0.
        """
        part, uv = np.ascontiguousarray(part, np.int64), np.ascontiguousarray(uv, np.float64)
        nearest, gap = np.empty(len(part), np.int64), np.empty(len(part))
        _find_vertices(part, uv, self._first, self._sorted_uv, nearest, gap)
        row = self._sorted[nearest]
        tied = np.flatnonzero(gap < _NEARLY_EQUAL)
        for number in np.unique(part[tied]):
            rows = np.flatnonzero(self._part == number)
            points = tied[part[tied] == number]
            for block in np.split(points, range(_TIES_AT_ONCE, len(points), _TIES_AT_ONCE)):
                row[block] = rows[cdist(uv[block], self._uv[rows]).argmin(axis=1)]
        return row


def _cell_position(uv: NDArray[np.float64], cells: int) -> NDArray[np.int64]:
    """Column and row of the cell of each position; those outside [0, 1] get the outermost."""
    return np.clip(np.floor(uv * cells), 0, cells - 1).astype(np.int64)


def _cell_number(
    part: NDArray[np.int64], position: NDArray[np.int64], cells: int
) -> NDArray[np.int64]:
    return ((part - 1) * cells + position[:, 0]) * cells + position[:, 1]


def _starts(number: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count + 1,) where the entries of each number 0 to ``count`` - 1 start in a sorted list."""
    return np.searchsorted(number, np.arange(count + 1))


def _expand(
    start: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All whole numbers of K ranges: (owner range, number)."""
    count = stop - start
    owner = np.repeat(np.arange(len(count)), count)
    before = np.cumsum(count) - count
    return owner, np.arange(count.sum()) - before[owner] + start[owner]


@njit(**_OPTIONS)
def _find_triangles(
    part, uv, corners, members, first, border, first_border, face, weight, border_corner
):
    """Fill ``face`` and ``weight``, -1 and 0 before, as :class:`TriangleSearch` says."""
    cells = _TRIANGLE_CELLS
    for n in range(len(part)):
        p, x, y = part[n], uv[n, 0], uv[n, 1]
        if p == 0:
            continue
        deepest = -np.inf
        if 0 <= x <= 1 and 0 <= y <= 1:
            i, j = min(int(x * cells), cells - 1), min(int(y * cells), cells - 1)
            cell = ((p - 1) * cells + i) * cells + j
            for k in range(first[cell], first[cell + 1]):
                f = members[k]
                ax, ay = corners[f, 0]
                bx, by = corners[f, 1]
                cx, cy = corners[f, 2]
                area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
                if area == 0:
                    continue
                to_b = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                to_c = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                to_a = 1 - to_b - to_c
                depth = min(to_a, to_b, to_c)
                if depth >= -INSIDE_TOLERANCE and depth > deepest:
                    deepest, face[n] = depth, f
                    to_a, to_b, to_c = max(to_a, 0.0), max(to_b, 0.0), max(to_c, 0.0)
                    total = to_a + to_b + to_c
                    weight[n, 0] = to_a / total
                    weight[n, 1] = to_b / total
                    weight[n, 2] = to_c / total
        if face[n] >= 0:
            continue
        nearest = np.inf
        for e in range(first_border[p], first_border[p + 1]):
            f, k = border[e, 0], border[e, 1]
            ax, ay = corners[f, k]
            dx, dy = corners[f, (k + 1) % 3, 0] - ax, corners[f, (k + 1) % 3, 1] - ay
            length2 = max(dx * dx + dy * dy, 1e-300)
            along = min(max(((x - ax) * dx + (y - ay) * dy) / length2, 0.0), 1.0)
            gap = (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2
            if gap < nearest:
                nearest, face[n], border_corner[n] = gap, f, k
                weight[n] = 0.0
                weight[n, k] = 1 - along
                weight[n, (k + 1) % 3] = along


@njit(**_OPTIONS)
def _find_vertices(part, uv, first, member_uv, nearest, gap):
    """Find the nearest vertex of each position's part, ring by ring of cells around its own.

    Args:
        part: (P,) int64, 0 to the highest part; 0 is skipped.
        uv: (P, 2).
        first: (parts * n * n + 1,) where the vertices of each cell start.
        member_uv: (M, 2) vertices, sorted by cell.
        nearest: (P,) int64, is filled with rows of ``member_uv``; -1 for a part without vertices.
        gap: (P,) is filled with how much farther the second nearest is; 0 if equally far.
    """
    cells = _VERTEX_CELLS
    size = 1.0 / cells
    for p in range(len(part)):
        nearest[p], gap[p] = -1, np.inf
        if part[p] == 0:
            continue
        u, v = uv[p]
        column = min(max(int(u * cells), 0), cells - 1)
        row = min(max(int(v * cells), 0), cells - 1)
        start = (part[p] - 1) * cells * cells
        best, second = np.inf, np.inf
        for ring in range(cells):
            for i in range(max(column - ring, 0), min(column + ring, cells - 1) + 1):
                # Inside the ring only its two ends are new.
                step = 1 if abs(i - column) == ring else 2 * ring
                for j in range(row - ring, row + ring + 1, max(step, 1)):
                    if j < 0 or j >= cells:
                        continue
                    cell = start + i * cells + j
                    for k in range(first[cell], first[cell + 1]):
                        du, dv = member_uv[k, 0] - u, member_uv[k, 1] - v
                        distance = np.sqrt(du * du + dv * dv)
                        if distance < best:
                            best, second, nearest[p] = distance, best, k
                        elif distance < second:
                            second = distance
            # Nothing beyond the cells seen so far is nearer than their border.
            border = np.inf
            if column - ring > 0:
                border = min(border, u - (column - ring) * size)
            if column + ring < cells - 1:
                border = min(border, (column + ring + 1) * size - u)
            if row - ring > 0:
                border = min(border, v - (row - ring) * size)
            if row + ring < cells - 1:
                border = min(border, (row + ring + 1) * size - v)
            if second < border:
                break
        gap[p] = second - best


@njit(**_OPTIONS)
def unknown_part(iuv, has_chart):
    """The first part of (P, 3) uint8 pixels without a chart, ``has_chart`` (256,); 0 for none."""
    for n in range(len(iuv)):
        if not has_chart[iuv[n, 0]]:
            return iuv[n, 0]
    return 0


@njit(**_OPTIONS)
def gather(iuv, table, values):
    """Fill (P,) values of (P, 3) uint8 I, U, V pixels from a (25, 256, 256) table."""
    for n in range(len(iuv)):
        values[n] = table[iuv[n, 0], iuv[n, 1], iuv[n, 2]]


@njit(**_OPTIONS)
def gather_triples(iuv, table, values):
    """The same of (P, 3) values from a (25, 256, 256, 3) table."""
    for n in range(len(iuv)):
        i, u, v = iuv[n, 0], iuv[n, 1], iuv[n, 2]
        values[n, 0], values[n, 1], values[n, 2] = table[i, u, v]


@njit(**_OPTIONS)
def interpolate(iuv, face_table, weight_table, faces, vertices, points):
    """Fill (P, 3) points of (P, 3) uint8 I, U, V pixels; nan for background.

    Args:
        iuv: pixels; only parts that have a chart, or 0.
        face_table: (25, 256, 256) triangles.
        weight_table: (25, 256, 256, 3) barycentric coordinates.
        faces: (F, 3).
        vertices: (V, 3).
        points: is filled.
    """
    for n in range(len(iuv)):
        i, u, v = iuv[n, 0], iuv[n, 1], iuv[n, 2]
        if i == 0:
            points[n] = np.nan
            continue
        f = face_table[i, u, v]
        a, b, c = weight_table[i, u, v]
        for d in range(3):
            points[n, d] = (
                a * vertices[faces[f, 0], d]
                + b * vertices[faces[f, 1], d]
                + c * vertices[faces[f, 2], d]
            )
