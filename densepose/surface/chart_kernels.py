"""Compiled loops over the grid of a chart and over the pixels of an IUV image.

Shapes: F triangles, E border edges, M chart vertices, V mesh vertices, S steps of u and of v, so
that position (i, j) of a chart's (S + 1) x (S + 1) grid is u = i / S, v = j / S. Parts run from 1
to 24; tables have a row for the background, part 0, too.
"""

from __future__ import annotations

import numpy as np
from numba import njit

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
