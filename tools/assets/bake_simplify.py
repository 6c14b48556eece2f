"""Fewer vertices, spread evenly, without moving any border between parts.

Half-edge collapses: a vertex u is merged into a neighbour v, so the vertices that stay keep their
rows. Cheapest first; the cost grows with the length of the edge relative to the wanted spacing and
with the error of Garland and Heckbert's quadrics.

Better triangles over the same vertices: edges are turned where the surface is almost flat.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from densepose.surface.mesh import edge_lengths, edges, half_edges

from .bake_parts import split_edges

# A quadric error of this share of the spacing doubles the cost of a collapse.
TOLERANCE = 0.05
LONGEST = 1.7
MIN_QUALITY = 0.25
MAX_TURN = 0.5  # cosine between the normals of a triangle before and after


def split_long_edges(
    rows: NDArray[np.float64],
    faces: NDArray[np.int64],
    part: NDArray[np.uint8],
    spacing_m: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.uint8], NDArray[np.float64]]:
    """Halve edges longer than 1.5 times the wanted spacing until there are none.

    Args:
        rows: (n, D), the place first.
        faces: (f, 3).
        part: (f,).
        spacing_m: (n,) wanted length of the edges at a vertex.

    Returns:
        The same four, longer.
    """
    while True:
        edge = edges(faces)
        wanted = spacing_m[edge].mean(axis=1)
        length = edge_lengths(rows[:, :3], edge)
        edge = edge[length > 1.5 * wanted]
        if not len(edge):
            return rows, faces, part, spacing_m
        pieces = [(p, split_edges(faces[part == p], edge, len(rows))) for p in np.unique(part)]
        faces = np.concatenate([piece for _, piece in pieces])
        part = np.concatenate([np.full(len(piece), p, np.uint8) for p, piece in pieces])
        rows = np.concatenate([rows, rows[edge].mean(axis=1)])
        spacing_m = np.concatenate([spacing_m, spacing_m[edge].mean(axis=1)])


class Simplifier:
    """One run of collapses over a mesh whose open rim lies in the plane x = 0."""

    def __init__(
        self,
        points: NDArray[np.float64],
        faces: NDArray[np.int64],
        part: NDArray[np.uint8],
        spacing_m: NDArray[np.float64],
    ) -> None:
        """Points (n, 3), faces (f, 3), their part (f,), the wanted spacing (n,) at each point."""
        self.points, self.spacing = points, spacing_m
        self.faces: dict[int, list[int]] = dict(enumerate(faces.tolist()))
        self.around: list[set[int]] = [set() for _ in points]
        for f, corners in self.faces.items():
            for corner in corners:
                self.around[corner].add(f)
        lines, rim = feature_edges(faces, part)
        self.rim = set(rim.ravel().tolist())
        self.lines: dict[int, set[int]] = {}
        for a, b in lines.tolist():
            self.lines.setdefault(a, set()).add(b)
            self.lines.setdefault(b, set()).add(a)
        self.quadric = _quadrics(points, faces, lines)
        self.alive = sum(1 for around in self.around if around)

    def run(self, target: int) -> NDArray[np.int64]:
        """Collapse until ``target`` vertices are left or nothing more can go.

        Returns:
            (k,) indices of the triangles that are left; ``self.faces`` holds their corners.
        """
        heap: list[tuple[float, int, int]] = []
        for a, b in edges(np.array(list(self.faces.values()))).tolist():
            self._push(heap, a, b)
        while heap and self.alive > target:
            cost, u, v = heapq.heappop(heap)
            if v not in self._ring(u):
                continue
            now = self._cost(u, v)
            if now > cost:
                heapq.heappush(heap, (now, u, v))
            elif self._keeps_topology(u, v) and self._keeps_shape(u, v):
                self._collapse(u, v)
                for w in sorted(self._ring(v)):
                    self._push(heap, v, w)
        return np.array(sorted(self.faces))

    def _push(self, heap: list[tuple[float, int, int]], a: int, b: int) -> None:
        heapq.heappush(heap, (self._cost(a, b), a, b))
        heapq.heappush(heap, (self._cost(b, a), b, a))

    def _ring(self, vertex: int) -> set[int]:
        return {c for f in self.around[vertex] for c in self.faces[f]} - {vertex}

    def _cost(self, u: int, v: int) -> float:
        spacing = 0.5 * (self.spacing[u] + self.spacing[v])
        target = np.append(self.points[v], 1.0)
        quadric = self.quadric[u]
        error = np.sqrt(max(0.0, target @ quadric[:4] @ target) / quadric[4, 0])
        length = np.linalg.norm(self.points[u] - self.points[v])
        return float(length / spacing * (1 + error / (TOLERANCE * spacing)))

    def _keeps_topology(self, u: int, v: int) -> bool:
        line = self.lines.get(u)
        if line is not None:
            # Ends and junctions of border lines stay; a vertex of a line may only slide along it.
            if len(line) != 2 or v not in line or next(iter(line - {v})) in self.lines[v]:
                return False
        ring_u, ring_v = self._ring(u), self._ring(v)
        if len(ring_u & ring_v) != len(self.around[u] & self.around[v]):
            return False
        if v in self.rim and u not in self.rim:
            # An inner edge between two vertices of the rim would meet its mirror image.
            return not (ring_u & self.rim) - ring_v - {v}
        return True

    def _keeps_shape(self, u: int, v: int) -> bool:
        moved = np.array([self.faces[f] for f in sorted(self.around[u] - self.around[v])])
        before = self.points[moved]
        after = self.points[np.where(moved == u, v, moved)]
        normal_before, quality_before, _ = measure_triangles(before)
        normal_after, quality_after, longest = measure_triangles(after)
        turned = (normal_before * normal_after).sum(axis=1) < MAX_TURN
        worst = min(MIN_QUALITY, quality_before.min())
        too_long = longest > LONGEST * self.spacing[moved].mean(axis=1)
        return not (turned.any() or too_long.any() or quality_after.min() < worst)

    def _collapse(self, u: int, v: int) -> None:
        for f in self.around[u] & self.around[v]:
            for corner in self.faces.pop(f):
                self.around[corner].discard(f)
        for f in self.around[u]:
            self.faces[f] = [v if corner == u else corner for corner in self.faces[f]]
            self.around[v].add(f)
        self.around[u] = set()
        self.quadric[v] += self.quadric[u]
        line = self.lines.pop(u, None)
        if line is not None:
            (other,) = line - {v}
            for a, b in ((v, other), (other, v)):
                self.lines[a].discard(u)
                self.lines[a].add(b)
        self.alive -= 1


def measure_triangles(
    corners: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(k, 3, 3) corners of triangles -> unit normals (k, 3), quality (k,) and longest side (k,).

    The quality is 1 for equal sides and 0 for no area.
    """
    side = corners - np.roll(corners, 1, axis=1)
    cross = np.cross(side[:, 0], side[:, 1])
    area = np.linalg.norm(cross, axis=1)
    square = (side**2).sum(axis=2)
    normal = cross / np.maximum(area, 1e-300)[:, None]
    return normal, 2 * np.sqrt(3) * area / square.sum(axis=1), np.sqrt(square.max(axis=1))


def feature_edges(
    faces: NDArray[np.int64], part: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(m, 2) edges between two parts or on the rim, and of these the (k, 2) on the rim."""
    sides = np.sort(half_edges(faces), axis=1)
    owner = np.tile(part, 3).astype(np.int64)
    edge, inverse, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    low, high = np.full(len(edge), 255), np.zeros(len(edge), dtype=np.int64)
    np.minimum.at(low, inverse.ravel(), owner)
    np.maximum.at(high, inverse.ravel(), owner)
    return edge[(count == 1) | (low != high)], edge[count == 1]


def _quadrics(
    points: NDArray[np.float64], faces: NDArray[np.int64], lines: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(n, 5, 4): 4 x 4 forms of squared distances from planes, their total weight in row 4."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1)
    normal = cross / np.maximum(area, 1e-300)[:, None]
    total = np.zeros((len(points), 5, 4))
    _add_planes(total, faces, normal, a, area)
    # Planes that stand upright on the border lines hold these in place.
    sides = half_edges(faces)
    size = len(points)
    on_line = np.isin(np.sort(sides, axis=1) @ [size, 1], np.sort(lines, axis=1) @ [size, 1])
    sides, upright = sides[on_line], np.tile(normal, (3, 1))[on_line]
    along = points[sides[:, 1]] - points[sides[:, 0]]
    length = np.linalg.norm(along, axis=1)
    normal = np.cross(upright, along) / np.maximum(length, 1e-300)[:, None]
    _add_planes(total, sides, normal, points[sides[:, 0]], length**2)
    return total


def _add_planes(
    total: NDArray[np.float64],
    members: NDArray[np.int64],
    normal: NDArray[np.float64],
    origin: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> None:
    plane = np.concatenate([normal, -(normal * origin).sum(axis=1, keepdims=True)], axis=1)
    form = np.zeros((len(plane), 5, 4))
    form[:, :4] = weight[:, None, None] * plane[:, :, None] * plane[:, None, :]
    form[:, 4] = weight[:, None]
    for column in members.T:
        np.add.at(total, column, form)


# Cosine between the normals of two triangles that count as one flat patch.
FLAT = 0.9
# The worse of the two triangles must gain this factor.
GAIN = 1.05
PASSES = 8


def flip_edges(
    points: NDArray[np.float64], faces: NDArray[np.int64], part: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """(f, 3) triangles over the same vertices, parts and borders, with fewer thin ones."""
    lines, rim = feature_edges(faces, part)
    fixed = {tuple(pair) for pair in lines.tolist()}
    on_rim = set(rim.ravel().tolist())
    faces = faces.copy()
    for _ in range(PASSES):
        opposite = _opposite_corners(faces)
        known, touched = set(opposite), set()
        for edge, sides in sorted(opposite.items()):
            if edge in fixed or len(sides) != 2:
                continue
            (f, c), (g, d) = sides
            if f in touched or g in touched or (min(c, d), max(c, d)) in known:
                continue
            if (c in on_rim and d in on_rim) or not _gains(points, faces[[f, g]], c, d):
                continue
            faces[f], faces[g] = _turned_pair(faces[f], c, d)
            # The neighbours' corners are stale until the next pass.
            touched |= {f, g}
            known.add((min(c, d), max(c, d)))
        if not touched:
            break
    return faces


def _opposite_corners(
    faces: NDArray[np.int64],
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Undirected edge -> the triangles at it and their third corners."""
    opposite: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for f, (a, b, c) in enumerate(faces.tolist()):
        for p, q, third in ((a, b, c), (b, c, a), (c, a, b)):
            opposite.setdefault((min(p, q), max(p, q)), []).append((f, third))
    return opposite


def _turned_pair(face: NDArray[np.int64], c: int, d: int) -> tuple[list[int], list[int]]:
    """Both triangles over edge c-d; ``face``, the old one with corner c, gives the orientation."""
    start = face.tolist().index(c)
    first, second = face[(start + 1) % 3], face[(start + 2) % 3]
    return [c, first, d], [c, d, second]


def _gains(points: NDArray[np.float64], pair: NDArray[np.int64], c: int, d: int) -> bool:
    new = np.array(_turned_pair(pair[0], c, d))
    normal, quality, _ = measure_triangles(points[np.concatenate([pair, new])])
    flat = (normal @ normal.T).min() > FLAT
    return bool(flat and quality[2:].min() > GAIN * quality[:2].min())
