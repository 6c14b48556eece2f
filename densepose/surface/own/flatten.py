"""Laying a piece of the surface flat: cut open to a disc with one border, flattened without folds.

Shapes: V vertices and F triangles of one piece, C chart vertices; a vertex on a cut has several.
Positions in the plane are (V, 2). Triangles run counter-clockwise in the plane as they do on the
surface seen from outside.
"""

from __future__ import annotations

import igl
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.sparse.linalg import spsolve

from densepose.errors import InputError

from ..mesh import boundary_edges, edge_graph, euler_characteristic, face_areas, half_edges


def open_to_disc(
    vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut a piece along short paths of edges until it is a disc.

    A piece without a border is cut between two vertices far apart, one with several borders from
    one to the next; handles, which are rare, are cut by libigl.

    Args:
        vertices: (V, 3) positions.
        faces: (F, 3) connected, consistently oriented, each edge in at most two.

    Returns:
        (F, 3) chart vertices of each triangle and (C,) the vertex of each chart vertex, ascending.

    Raises:
        InputError: the piece is still not a disc.
    """
    faces = np.asarray(faces, np.int64)
    cut = np.zeros((0, 2), np.int64)
    chart_faces, vertex = split_at(faces, cut)
    while not _is_disc(chart_faces):
        loops = border_loops(chart_faces)
        holes = 2 - euler_characteristic(chart_faces)
        if len(loops) == 0:
            path = _longest_path(vertices[vertex], chart_faces)
        elif len(loops) > 1:
            path = _path_between(vertices[vertex], chart_faces, loops[0])
        elif holes > 1:
            path = _handle_cuts(chart_faces)
        else:
            break
        more = np.sort(vertex[path], axis=1)
        before = len(cut)
        cut = np.unique(np.concatenate([cut, more]), axis=0)
        chart_faces, vertex = split_at(faces, cut)
        if len(cut) == before:
            break
    if not _is_disc(chart_faces):
        raise InputError(
            f"a piece of {len(faces)} triangles cannot be cut open to a disc (Euler characteristic"
            f" {euler_characteristic(chart_faces)}, {len(border_loops(chart_faces))} borders)"
        )
    return chart_faces, vertex


def split_at(
    faces: NDArray[np.integer], cut: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the triangles on both sides of some edges vertices of their own.

    Corners are one chart vertex where their triangles are joined by an edge that is not cut. So a
    vertex at which two fans of triangles only touch is split as well.

    Args:
        faces: (F, 3).
        cut: (n, 2) undirected edges.

    Returns:
        As :func:`open_to_disc`.
    """
    faces = np.asarray(faces, np.int64)
    sides = half_edges(faces)
    count, span = len(faces), int(faces.max(initial=0)) + 1
    start = np.arange(3 * count)  # row k F + f: side from corner k of triangle f
    face, corner = start % count, start // count
    tail, head = face * 3 + corner, face * 3 + (corner + 1) % 3
    key = np.sort(sides, axis=1) @ [span, 1]
    closed = np.isin(key, np.sort(cut, axis=1) @ [span, 1])
    order = np.argsort(key, kind="stable")
    pair = np.flatnonzero((key[order][1:] == key[order][:-1]) & ~closed[order][1:])
    one, two = order[pair], order[pair + 1]
    # The two triangles run along their common edge in opposite directions.
    ends = np.concatenate([tail[one], head[one]]), np.concatenate([head[two], tail[two]])
    graph = sparse.coo_matrix((np.ones(len(ends[0])), ends), shape=(3 * count, 3 * count))
    number, name = connected_components(graph, directed=False)
    vertex = np.zeros(number, np.int64)
    vertex[name] = faces.reshape(-1)
    ascending = np.lexsort((np.arange(number), vertex))
    rank = np.empty(number, np.int64)
    rank[ascending] = np.arange(number)
    return rank[name].reshape(-1, 3), vertex[ascending]


def border_loops(faces: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """Vertices of each border in the order of its sides, the longest border first."""
    loops = igl.boundary_loop_all(np.ascontiguousarray(faces, np.int64))
    return [np.asarray(loop, np.int64) for loop in sorted(loops, key=len, reverse=True)]


def _is_disc(faces: NDArray[np.int64]) -> bool:
    return euler_characteristic(faces) == 1 and len(border_loops(faces)) == 1


def _longest_path(vertices: NDArray[np.floating], faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, 2) edges of the way between two vertices that are about as far apart as any."""
    graph = edge_graph(vertices, faces)
    first = int(np.argmax(dijkstra(graph, directed=False, indices=0)))
    distance, before = dijkstra(graph, directed=False, indices=first, return_predecessors=True)
    return _walk(before, int(np.argmax(distance)))


def _path_between(
    vertices: NDArray[np.floating], faces: NDArray[np.int64], loop: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(n, 2) edges of the shortest way from one border to any other."""
    graph = edge_graph(vertices, faces)
    distance, before, _ = dijkstra(
        graph, directed=False, indices=loop, min_only=True, return_predecessors=True
    )
    others = np.setdiff1d(np.unique(boundary_edges(faces)), loop)
    return _walk(before, int(others[np.argmin(distance[others])]))


def _walk(before: NDArray[np.integer], end: int) -> NDArray[np.int64]:
    path = [end]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return np.array([path[:-1], path[1:]], np.int64).T


def _handle_cuts(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, 2) edges that turn a piece with handles into a disc."""
    lines = igl.cut_to_disk(np.ascontiguousarray(faces, np.int64))
    steps = [np.stack([line[:-1], line[1:]], axis=1) for line in map(np.asarray, lines)]
    return np.concatenate(steps).astype(np.int64)


def disc_embedding(
    vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Tutte's map of a disc onto the round unit disc: border by length, inside by mean values.

    It has no folds, whatever the shape, which makes it the start for an energy that keeps it so.

    Raises:
        InputError: the piece is not a disc.
    """
    if not _is_disc(faces):
        raise InputError(
            f"a piece of {len(faces)} triangles is not a disc (Euler characteristic"
            f" {euler_characteristic(faces)}, {len(border_loops(faces))} borders); it cannot be"
            " flattened"
        )
    loop = border_loops(faces)[0]
    position = np.zeros((len(vertices), 2))
    points = np.asfortranarray(vertices, np.float64)
    position[loop] = igl.map_vertices_to_circle(points, loop.astype(np.int32))
    laplacian = csgraph.laplacian(igl.adjacency_matrix(np.ascontiguousarray(faces, np.int64)))
    laplacian = laplacian.astype(np.float64).tocsr()
    inside = np.setdiff1d(np.arange(len(vertices)), loop)
    if len(inside):
        right = -laplacian[inside][:, loop] @ position[loop]
        position[inside] = spsolve(laplacian[inside][:, inside].tocsc(), right).reshape(-1, 2)
    return position


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
    """
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
