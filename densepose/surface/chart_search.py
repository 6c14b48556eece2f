"""Finding triangles and vertices in the (u, v) plane of a chart, many points at a time.

Shapes: P points, M chart vertices, F triangles. ``part`` runs from 1 to 24 here: background is the
caller's business.

Grids: S steps of u and of v, so that position (i, j) of a chart's (S + 1) x (S + 1) grid is
u = i / S, v = j / S; E border edges. Tables have a row for the background, part 0, too.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree

# Steps in which annotations store and metrics compare U and V; structures/grids.py has the same
# number, which this room may not import.
UV_STEPS = 255
# Cells along each side of a chart; a cell then holds one to four triangles of the template.
CELLS = 64
# Points that are compared with all border edges of their part at once: bounds the memory.
BORDER_BLOCK = 4096
# Look-ups in a part after which a table of all its grid positions costs less than it saves.
TABLE_WORTH = 20_000
# How far, in units of the chart, a point may lie outside a triangle and still count as inside.
INSIDE_TOLERANCE = 1e-9


class TriangleFinder:
    """Which triangle of its part's chart holds a point, or comes nearest to it.

    The charts are covered with square cells, each of which knows the triangles that may reach
    into it.
    """

    def __init__(
        self,
        uv: NDArray[np.floating],
        uv_faces: NDArray[np.integer],
        face_part: NDArray[np.integer],
    ) -> None:
        self._corners = np.asarray(uv, np.float64)[uv_faces]  # (F, 3, 2)
        self._part = np.asarray(face_part, np.int64)
        self._first, self._members = _fill_cells(self._corners, self._part)
        self._border = border_edges(np.asarray(uv_faces, np.int64))

    def __call__(
        self, part: NDArray[np.integer], uv: NDArray[np.floating]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(P,) parts and (P, 2) positions -> (P,) triangles and (P, 3) barycentric coordinates.

        A point outside its chart is moved to the nearest point of the chart's border. Of
        several triangles that hold a point, the one whose edges are farthest away is taken,
        the first of equals.
        """
        part, uv = np.asarray(part, np.int64), np.asarray(uv, np.float64)
        face = np.full(len(part), -1)
        barycentric = np.zeros((len(part), 3))
        point, candidate = self._candidates(part, uv)
        weight = barycentric_2d(self._corners[candidate], uv[point])
        depth = weight.min(axis=1)
        inside = depth >= -INSIDE_TOLERANCE
        point, candidate, weight, depth = (x[inside] for x in (point, candidate, weight, depth))
        order = np.lexsort((candidate, -depth, point))
        found, first = np.unique(point[order], return_index=True)
        chosen = order[first]
        face[found] = candidate[chosen]
        barycentric[found] = _clipped(weight[chosen])
        outside = np.flatnonzero(face < 0)
        face[outside], barycentric[outside] = self._nearest_border(part[outside], uv[outside])
        return face, barycentric

    def _candidates(
        self, part: NDArray[np.int64], uv: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs (point, triangle) for all triangles of the points' cells."""
        in_square = ((uv >= 0) & (uv <= 1)).all(axis=1)
        point = np.flatnonzero(in_square)
        cell = _cell_of(part[point], _cell_position(uv[point]))
        start, stop = self._first[cell], self._first[cell + 1]
        owner, place = _expand(start, stop)
        return point[owner], self._members[place]

    def _nearest_border(
        self, part: NDArray[np.int64], uv: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        face = np.full(len(part), -1)
        barycentric = np.zeros((len(part), 3))
        border_face, border_corner = self._border
        for number in np.unique(part):
            edge = np.flatnonzero(self._part[border_face] == number)
            owner, corner = border_face[edge], border_corner[edge]
            start = self._corners[owner, corner]
            end = self._corners[owner, (corner + 1) % 3]
            members = np.flatnonzero(part == number)
            for block in np.split(members, range(BORDER_BLOCK, len(members), BORDER_BLOCK)):
                nearest, along = _nearest_segment(uv[block], start, end)
                face[block] = owner[nearest]
                barycentric[block, corner[nearest]] = 1 - along
                barycentric[block, (corner[nearest] + 1) % 3] = along
        return face, barycentric


class NearestVertexFinder:
    """The chart vertex of a part that is nearest in (u, v); the first of equally near ones.

    Positions on the 1/255 grid, in which annotations are compared, are read from a table per part
    once enough have been asked for to make it worth its time; others are searched in a tree.
    """

    def __init__(self, uv: NDArray[np.floating], uv_part: NDArray[np.integer]) -> None:
        self._uv = np.asarray(uv, np.float64)
        self._members = {
            int(number): np.flatnonzero(uv_part == number) for number in np.unique(uv_part)
        }
        self._trees = {number: cKDTree(self._uv[m]) for number, m in self._members.items()}
        self._tables: dict[int, NDArray[np.int64]] = {}
        self._asked = dict.fromkeys(self._members, 0)

    def __call__(self, part: NDArray[np.integer], uv: NDArray[np.floating]) -> NDArray[np.int64]:
        """(P,) parts and (P, 2) positions -> (P,) chart vertices."""
        part, uv = np.asarray(part, np.int64), np.asarray(uv, np.float64)
        code = np.rint(uv * UV_STEPS)
        on_grid = ((np.abs(uv * UV_STEPS - code) < 1e-3) & (code >= 0) & (code <= UV_STEPS)).all(
            axis=1
        )
        # To the last bit, so that a table and a search see the same position.
        uv = np.where(on_grid[:, None], code / UV_STEPS, uv)
        code = np.clip(code, 0, UV_STEPS).astype(np.int64)
        vertex = np.full(len(part), -1)
        for number in np.unique(part):
            mine = part == number
            coded, free = np.flatnonzero(mine & on_grid), np.flatnonzero(mine & ~on_grid)
            if self._table_pays(int(number), len(coded)):
                vertex[coded] = self._table(int(number))[code[coded, 0], code[coded, 1]]
            else:
                free = np.concatenate([free, coded])
            vertex[free] = self._search(int(number), uv[free])
        return vertex

    def _table_pays(self, number: int, count: int) -> bool:
        self._asked[number] += count
        return self._asked[number] > TABLE_WORTH

    def _table(self, number: int) -> NDArray[np.int64]:
        if number not in self._tables:
            step = np.arange(UV_STEPS + 1) / UV_STEPS
            grid = np.stack(np.meshgrid(step, step, indexing="ij"), axis=-1)
            flat = self._search(number, grid.reshape(-1, 2))
            self._tables[number] = flat.reshape(grid.shape[:2])
        return self._tables[number]

    def _search(self, number: int, uv: NDArray[np.float64]) -> NDArray[np.int64]:
        members = self._members[number]
        count = min(4, len(members))
        near = self._trees[number].query(uv, k=np.arange(1, count + 1))[1]
        # The tree may name any of several equally near vertices: compare the four nearest
        # again, in order.
        near = np.sort(near, axis=1)
        gap = ((self._uv[members[near]] - uv[:, None]) ** 2).sum(axis=2)
        return members[near[np.arange(len(uv)), gap.argmin(axis=1)]]


def barycentric_2d(
    corners: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(K, 3, 2) triangles and (K, 2) points -> (K, 3) coordinates with sum 1.

    A triangle without area holds nothing: -1 throughout.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = _cross(b - a, c - a)
    flat = area == 0
    scale = np.where(flat, 1, area)
    toward_b = _cross(points - a, c - a) / scale
    toward_c = _cross(b - a, points - a) / scale
    weight = np.stack([1 - toward_b - toward_c, toward_b, toward_c], axis=1)
    return np.where(flat[:, None], -1.0, weight)


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _clipped(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    weight = np.maximum(weight, 0)
    return weight / weight.sum(axis=1, keepdims=True)


def _cell_position(uv: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(np.floor(uv * CELLS), 0, CELLS - 1).astype(np.int64)


def _cell_of(part: NDArray[np.int64], position: NDArray[np.int64]) -> NDArray[np.int64]:
    return (part * CELLS + position[:, 0]) * CELLS + position[:, 1]


def _expand(
    start: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All whole numbers of K ranges: (owner range, number)."""
    count = stop - start
    owner = np.repeat(np.arange(len(count)), count)
    before = np.cumsum(count) - count
    return owner, np.arange(count.sum()) - before[owner] + start[owner]


def _fill_cells(
    corners: NDArray[np.float64], part: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each cell, where its triangles start in the list of members, and that list."""
    low = _cell_position(corners.min(axis=1) - INSIDE_TOLERANCE)
    high = _cell_position(corners.max(axis=1) + INSIDE_TOLERANCE)
    columns, column = _expand(low[:, 0], high[:, 0] + 1)
    owner, row = _expand(low[columns, 1], high[columns, 1] + 1)
    triangle = columns[owner]
    cell = _cell_of(part[triangle], np.stack([column[owner], row], axis=1))
    order = np.lexsort((triangle, cell))
    num_cells = (int(part.max(initial=0)) + 1) * CELLS * CELLS
    first = np.searchsorted(cell[order], np.arange(num_cells + 1))
    return first, triangle[order]


def border_edges(uv_faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Triangle and corner of each edge that one triangle has alone; it runs to the next corner."""
    ends = np.stack([uv_faces, np.roll(uv_faces, -1, axis=1)], axis=2).reshape(-1, 2)
    _, name, count = np.unique(
        np.sort(ends, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    alone = np.flatnonzero(count[name.ravel()] == 1)
    return alone // 3, alone % 3


def _nearest_segment(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest of E segments to each point, and how far along it, from 0 to 1, it comes nearest."""
    step = end - start
    length2 = np.maximum((step**2).sum(axis=1), np.finfo(np.float64).tiny)
    arm = points[:, None] - start
    along = np.clip((arm * step).sum(axis=2) / length2, 0, 1)
    gap = ((arm - along[..., None] * step) ** 2).sum(axis=2)
    nearest = gap.argmin(axis=1)
    return nearest, along[np.arange(len(points)), nearest]


# No fast maths: the search has to agree with one over all vertices.
_OPTIONS = {"nogil": True, "cache": True}


@njit(**_OPTIONS)
def square_of(value, squares):
    """Square of a coordinate; those outside of [0, 1] belong to the outermost."""
    return min(max(int(value * squares), 0), squares - 1)


@njit(**_OPTIONS)
def nearest_in_charts(part, uv, squares, first, member_uv, nearest, gap):
    """Find the nearest vertex of each position's part.

    Args:
        part: (P,) int64, 0 to the highest part; 0 is left alone.
        uv: (P, 2).
        squares: S.
        first: (parts * S * S + 1,) where the vertices of each square start; square (i, j) of a part
            is its number i * S + j, parts count from 1.
        member_uv: (M, 2) vertices, sorted by square.
        nearest: (P,) int64, is filled with places in ``member_uv``; -1 for a part without vertices.
        gap: (P,) is filled with how much farther the second nearest is; 0 if equally far.
    """
    size = 1.0 / squares
    for p in range(len(part)):
        nearest[p], gap[p] = -1, np.inf
        if part[p] == 0:
            continue
        u, v = uv[p]
        column, row = square_of(u, squares), square_of(v, squares)
        start = (part[p] - 1) * squares * squares
        best, second = np.inf, np.inf
        for ring in range(squares):
            for i in range(max(column - ring, 0), min(column + ring, squares - 1) + 1):
                # Inside the ring only its two ends are new.
                step = 1 if abs(i - column) == ring else 2 * ring
                for j in range(row - ring, row + ring + 1, max(step, 1)):
                    if j < 0 or j >= squares:
                        continue
                    square = start + i * squares + j
                    for k in range(first[square], first[square + 1]):
                        du, dv = member_uv[k, 0] - u, member_uv[k, 1] - v
                        distance = np.sqrt(du * du + dv * dv)
                        if distance < best:
                            best, second, nearest[p] = distance, best, k
                        elif distance < second:
                            second = distance
            # Nothing beyond the squares seen so far is nearer than their border.
            border = np.inf
            if column - ring > 0:
                border = min(border, u - (column - ring) * size)
            if column + ring < squares - 1:
                border = min(border, (column + ring + 1) * size - u)
            if row - ring > 0:
                border = min(border, v - (row - ring) * size)
            if row + ring < squares - 1:
                border = min(border, (row + ring + 1) * size - v)
            if second < border:
                break
        gap[p] = second - best


# No fast maths: these loops have to choose the very triangles and vertices that ``chart_lookup``
# chooses.
_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False}


@njit(**_OPTIONS)
def fill_triangles(corners, part, steps, tolerance, face, weight, depth):
    """Write the deepest triangle that holds each grid position, and the place in it.

    Args:
        corners: (F, 3, 2) float64 in [0, 1].
        part: (F,) int64.
        steps: S.
        tolerance: how far outside of a triangle still counts as inside.
        face: (25, S + 1, S + 1) int32, -1 at first.
        weight: (25, S + 1, S + 1, 3) float32 barycentric coordinates.
        depth: (25, S + 1, S + 1) float64, at first below -tolerance.
    """
    for f in range(len(corners)):
        (ax, ay), (bx, by), (cx, cy) = corners[f]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        p = part[f]
        first_i = max(0, int(np.floor(min(ax, bx, cx) * steps)))
        last_i = min(steps, int(np.ceil(max(ax, bx, cx) * steps)))
        first_j = max(0, int(np.floor(min(ay, by, cy) * steps)))
        last_j = min(steps, int(np.ceil(max(ay, by, cy) * steps)))
        for i in range(first_i, last_i + 1):
            x = i / steps
            for j in range(first_j, last_j + 1):
                y = j / steps
                to_b = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                to_c = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                to_a = 1 - to_b - to_c
                low = min(to_a, to_b, to_c)
                if low >= -tolerance and low > depth[p, i, j]:
                    depth[p, i, j] = low
                    face[p, i, j] = f
                    to_a, to_b, to_c = max(to_a, 0.0), max(to_b, 0.0), max(to_c, 0.0)
                    total = to_a + to_b + to_c
                    weight[p, i, j, 0] = to_a / total
                    weight[p, i, j, 1] = to_b / total
                    weight[p, i, j, 2] = to_c / total


@njit(**_OPTIONS)
def fill_outside(edge, corner, owner, first, steps, face, weight, border):
    """Move grid positions that no triangle holds to the nearest border edge of their chart.

    Args:
        edge: (E, 2, 2) float64 start and end of each edge, sorted by part.
        corner: (E,) corner of the triangle that the edge starts from.
        owner: (E,) triangle of the edge.
        first: (26,) where the edges of each part begin.
        steps: S.
        face: (25, S + 1, S + 1) int32, -1 where nothing holds the position.
        weight: (25, S + 1, S + 1, 3) float32.
        border: (25, S + 1, S + 1) int8, -1 at first; becomes the corner of a moved position.
    """
    for p in range(1, len(first) - 1):
        if first[p] == first[p + 1]:
            continue
        for i in range(steps + 1):
            for j in range(steps + 1):
                if face[p, i, j] >= 0:
                    continue
                x, y = i / steps, j / steps
                best, found, place = np.inf, -1, 0.0
                for e in range(first[p], first[p + 1]):
                    ax, ay = edge[e, 0]
                    dx, dy = edge[e, 1, 0] - ax, edge[e, 1, 1] - ay
                    length2 = max(dx * dx + dy * dy, 1e-300)
                    along = min(max(((x - ax) * dx + (y - ay) * dy) / length2, 0.0), 1.0)
                    gap = (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2
                    if gap < best:
                        best, found, place = gap, e, along
                k = corner[found]
                face[p, i, j] = owner[found]
                border[p, i, j] = k
                for c in range(3):
                    weight[p, i, j, c] = 0.0
                weight[p, i, j, k] = 1 - place
                weight[p, i, j, (k + 1) % 3] = place


@njit(**_OPTIONS)
def fill_vertices(uv, mesh_vertex, first, steps, vertex):
    """Write the mesh vertex whose place in the chart is nearest, the first of equally near ones.

    Args:
        uv: (M, 2) float64, sorted by part.
        mesh_vertex: (M,) vertex of the mesh.
        first: (26,) where the chart vertices of each part begin.
        steps: S.
        vertex: (25, S + 1, S + 1) int32; rows of parts without a chart are left alone.
    """
    for p in range(1, len(first) - 1):
        for i in range(steps + 1 if first[p] < first[p + 1] else 0):
            x = i / steps
            for j in range(steps + 1):
                y = j / steps
                best, found = np.inf, -1
                for m in range(first[p], first[p + 1]):
                    gap = (uv[m, 0] - x) ** 2 + (uv[m, 1] - y) ** 2
                    if gap < best:
                        best, found = gap, m
                vertex[p, i, j] = mesh_vertex[found]


@njit(**_OPTIONS)
def gather_surface(iuv, has_chart, face_table, weight_table, face, weight):
    """(P, 3) uint8 pixels -> triangles (P,) and barycentric coordinates (P, 3), in place.

    Returns the first part without a chart, ``has_chart`` (256,) bool, or 0 if there is none.
    """
    for n in range(len(iuv)):
        i, u, v = iuv[n, 0], iuv[n, 1], iuv[n, 2]
        if i == 0:
            face[n] = -1
            weight[n, 0] = weight[n, 1] = weight[n, 2] = np.float32(0)
        elif has_chart[i]:
            face[n] = face_table[i, u, v]
            for k in range(3):
                weight[n, k] = weight_table[i, u, v, k]
        else:
            return i
    return 0


@njit(**_OPTIONS)
def gather_vertices(iuv, has_chart, vertex_table, vertex):
    """(P, 3) uint8 pixels -> mesh vertices (P,), -1 for background, in place; returns as above."""
    for n in range(len(iuv)):
        i = iuv[n, 0]
        if i == 0:
            vertex[n] = -1
        elif has_chart[i]:
            vertex[n] = vertex_table[i, iuv[n, 1], iuv[n, 2]]
        else:
            return i
    return 0


@njit(**_OPTIONS)
def gather_points(iuv, has_chart, face_table, weight_table, faces, vertices, points):
    """(P, 3) uint8 pixels -> (P, 3) points, nan for background, in place; returns as above."""
    for n in range(len(iuv)):
        i, u, v = iuv[n, 0], iuv[n, 1], iuv[n, 2]
        if i == 0:
            points[n, 0] = points[n, 1] = points[n, 2] = np.float32(np.nan)
            continue
        if not has_chart[i]:
            return i
        f = face_table[i, u, v]
        a, b, c = weight_table[i, u, v]
        for d in range(3):
            points[n, d] = (
                a * vertices[faces[f, 0], d]
                + b * vertices[faces[f, 1], d]
                + c * vertices[faces[f, 2], d]
            )
    return 0
