"""Lengths of straight lines on a triangle mesh: a graph whose shortest paths are geodesics.

A shortest path on a triangle mesh is a chain of straight lines: it crosses edges as a ruled line
would on the unfolded triangles, and bends only at vertices (Mitchell, Mount and Papadimitriou
1987). So the graph that joins each vertex to all vertices it sees along straight lines over at most
``max_triangles`` triangles has shortest paths that are real paths on the surface, never shorter
than the geodesic, and equal to it once ``max_triangles`` is large enough.

Shapes: V vertices, F faces, H = 3 F directed edges; directed edge 3 f + k runs from faces[f, k] to
faces[f, (k + 1) % 3]. Units: whatever the vertices have; metres for the template.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.sparse import csr_matrix

# Against an exact solver on a body of 6,500 vertices: 8 triangles err by 0.07% (median), 12 by
# 0.02%, 16 by 0.01%.
MAX_TRIANGLES = 12


@dataclass(frozen=True)
class _Edges:
    """Directed edges and the triangle at the left of each, flattened into the plane."""

    tail: np.ndarray  # (H,) vertex
    head: np.ndarray  # (H,) vertex
    twin: np.ndarray  # (H,) the same edge in the neighbouring triangle, -1 at a border
    apex: np.ndarray  # (H,) the third vertex of the triangle
    length: np.ndarray  # (H,)
    along: np.ndarray  # (H,) position of the apex along the edge, from the tail
    height: np.ndarray  # (H,) distance of the apex from the edge


@dataclass(frozen=True)
class _Windows:
    """Cones of straight lines from a vertex at the plane's origin, about to leave a triangle.

    The edge they leave by runs from a to b, counter-clockwise about the source; the cone is what
    lies between the directions ``right`` and ``left`` and is never wider than the edge.
    """

    source: np.ndarray  # (W,) vertex
    edge: np.ndarray  # (W,) directed edge, in the triangle that is left
    a: np.ndarray  # (W, 2)
    b: np.ndarray  # (W, 2)
    right: np.ndarray  # (W, 2)
    left: np.ndarray  # (W, 2)

    def where(self, keep: np.ndarray) -> _Windows:
        return _Windows(*(getattr(self, field.name)[keep] for field in fields(self)))

    def join(self, other: _Windows) -> _Windows:
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return _Windows(*(np.concatenate(pair) for pair in pairs))


def straight_line_graph(
    vertices: np.ndarray, faces: np.ndarray, *, max_triangles: int = MAX_TRIANGLES
) -> csr_matrix:
    """Symmetric (V, V) lengths of straight lines between vertices; empty where there is none.

    Args:
        vertices: (V, 3) positions.
        faces: (F, 3) consistently oriented triangles, each edge in at most two.
        max_triangles: triangles a line may cross beyond the one it starts in; 0 leaves the
            edges of the mesh.

    Raises:
        ValueError: a directed edge occurs twice (not a manifold, or turned faces), or an
            edge has no length.
    """
    edges = _directed_edges(np.asarray(vertices, np.float64), np.asarray(faces, np.int64))
    tolerance = 1e-9 * float(np.mean(edges.length)) ** 2 if len(edges.length) else 0.0
    found = [(edges.tail, edges.head, edges.length)]
    windows = _first_windows(edges)
    for _ in range(max_triangles):
        windows, source, target, length = _cross_one_triangle(edges, windows, tolerance)
        found.append((source, target, length))
    source, target, length = (np.concatenate(column) for column in zip(*found, strict=True))
    return _symmetric_minimum(source, target, length, len(vertices))


def _directed_edges(vertices: np.ndarray, faces: np.ndarray) -> _Edges:
    tail, head, apex = faces.ravel(), faces[:, [1, 2, 0]].ravel(), faces[:, [2, 0, 1]].ravel()
    span = max(len(vertices), 1)
    key, reverse = tail * span + head, head * span + tail
    order = np.argsort(key)
    ordered = key[order]
    if np.any(ordered[1:] == ordered[:-1]):
        twice = ordered[1:][ordered[1:] == ordered[:-1]][0]
        raise ValueError(
            f"directed edge {twice // span} -> {twice % span} belongs to two faces; geodesics"
            " need a manifold mesh with consistently oriented faces"
        )
    place = np.minimum(np.searchsorted(ordered, reverse), max(len(order) - 1, 0))
    twin = np.where(ordered[place] == reverse, order[place], -1) if len(order) else order
    step = vertices[head] - vertices[tail]
    length = np.linalg.norm(step, axis=1)
    if np.any(length == 0):
        worst = int(np.argmin(length))
        raise ValueError(
            f"vertices {tail[worst]} and {head[worst]} of an edge coincide; merge them first"
        )
    arm = vertices[apex] - vertices[tail]
    along = np.einsum("ij,ij->i", arm, step) / length
    height = np.sqrt(np.maximum(np.einsum("ij,ij->i", arm, arm) - along**2, 0))
    return _Edges(tail, head, twin, apex, length, along, height)


def _next_edge(edge: np.ndarray) -> np.ndarray:
    return edge - edge % 3 + (edge + 1) % 3


def _previous_edge(edge: np.ndarray) -> np.ndarray:
    return edge - edge % 3 + (edge + 2) % 3


def _first_windows(edges: _Edges) -> _Windows:
    """One cone per corner of each triangle, as wide as the corner, leaving by the opposite edge."""
    edge = np.arange(len(edges.tail))
    a = np.stack([edges.length, np.zeros_like(edges.length)], axis=1)
    b = np.stack([edges.along, edges.height], axis=1)
    return _Windows(edges.tail, _next_edge(edge), a, b, right=a, left=b)


def _cross_one_triangle(
    edges: _Edges, windows: _Windows, tolerance: float
) -> tuple[_Windows, np.ndarray, np.ndarray, np.ndarray]:
    """Unfold the next triangle of each cone.

    Returns the cones that leave it and, for the apexes seen, source, apex and length.
    """
    windows = windows.where(edges.twin[windows.edge] >= 0)
    edge = edges.twin[windows.edge]  # runs from b to a in the new triangle
    direction = (windows.a - windows.b) / edges.length[edge, None]
    outwards = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    apex = windows.b + edges.along[edge, None] * direction + edges.height[edge, None] * outwards
    right_of_apex = _cross(windows.right, apex)
    left_of_apex = _cross(apex, windows.left)
    seen = (right_of_apex >= -tolerance) & (left_of_apex >= -tolerance)

    by_right = right_of_apex > tolerance
    by_left = left_of_apex > tolerance
    inner_left = np.where(left_of_apex[:, None] > 0, apex, windows.left)
    inner_right = np.where(right_of_apex[:, None] > 0, apex, windows.right)
    source, a, b = windows.source, windows.a, windows.b
    right_part = _Windows(source, _next_edge(edge), a, apex, windows.right, inner_left)
    left_part = _Windows(source, _previous_edge(edge), apex, b, inner_right, windows.left)
    leaving = right_part.where(by_right).join(left_part.where(by_left))
    length = np.linalg.norm(apex[seen], axis=1)
    return leaving, windows.source[seen], edges.apex[edge[seen]], length


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _symmetric_minimum(
    source: np.ndarray, target: np.ndarray, length: np.ndarray, num_vertices: int
) -> csr_matrix:
    """Shortest of the lines between each pair of vertices, the same in both directions."""
    apart = source != target
    low = np.minimum(source, target)[apart]
    high = np.maximum(source, target)[apart]
    key, length = low * num_vertices + high, length[apart]
    order = np.lexsort((length, key))
    first = np.ones(len(order), bool)
    first[1:] = key[order][1:] != key[order][:-1]
    key, length = key[order][first], length[order][first]
    low, high = key // max(num_vertices, 1), key % max(num_vertices, 1)
    rows, columns = np.concatenate([low, high]), np.concatenate([high, low])
    shape = (num_vertices, num_vertices)
    return csr_matrix((np.concatenate([length, length]), (rows, columns)), shape=shape)
