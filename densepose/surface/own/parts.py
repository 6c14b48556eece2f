"""The parts of a mesh: read from a file of labels, or found where the user names none.

Forms of the file: one number a line (.txt) or an array (.npy), one for each triangle or for each
vertex (of a mesh with as many of one as of the other, the caller says which); or JSON with a list
of numbers, or {name of part: [vertices]}, vertices 0-based. Numbers are 1 to 24; named parts are
numbered in the order of the file.

Parts that are found are the cells of vertices chosen far apart (farthest points, then moved to the
middles of their cells), along the edges of the mesh. Shapes: V vertices, F triangles, K parts.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from densepose.errors import InputError
from densepose.structures.body_parts import NUM_PARTS

from ..mesh import SurfaceMesh, edge_graph, edges, face_areas, face_neighbors
from .mesh_file import face_pieces, mesh_pieces
from .mirror import MirrorPlane


@dataclass(frozen=True)
class PartLabels:
    """Part of each triangle and names of the parts."""

    face_part: NDArray[np.int64]  # (F,) 1 to 24
    names: tuple[str, ...]  # of parts 0 to 24; "" for those that have no name


def read_part_labels(
    path: str | os.PathLike[str], mesh: SurfaceMesh, of: str = "auto"
) -> PartLabels:
    """Read labels of a mesh.

    Labels of vertices become labels of triangles by majority, the smallest of equally frequent.

    Args:
        path: the file.
        mesh: of F triangles and V vertices.
        of: what numbers without names belong to: "triangles", "vertices" or "auto", by their count.

    Raises:
        InputError: no such file; another form, not as many labels as triangles or vertices, as many
            as both and ``of`` is "auto", or a label out of range.
    """
    if of not in LABELS_OF:
        raise InputError(f"labels of {of!r}; expected one of {', '.join(LABELS_OF)}")
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file of labels")
    names = [""] * (NUM_PARTS + 1)
    labels = _read_values(path)
    if isinstance(labels, dict):
        labels, used = _vertex_labels(path, labels, mesh.num_vertices)
        names[1 : 1 + len(used)] = used
        of = "vertices"
    fits = {"triangles": mesh.num_faces, "vertices": mesh.num_vertices}
    fits = {k for k, count in fits.items() if labels.shape == (count,) and of in (k, "auto")}
    if len(fits) != 1:
        hint = "; say which of the two they belong to (--labels-of)" if fits else ""
        raise InputError(
            f"{path}: {labels.size} labels in shape {labels.shape}; the mesh has {mesh.num_faces}"
            f" triangles and {mesh.num_vertices} vertices{hint}"
        )
    wrong = ~((labels >= 1) & (labels <= NUM_PARTS) & (labels == np.floor(labels)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{path}: label {labels[row]:g} in place {row}; parts are whole numbers from 1 to"
            f" {NUM_PARTS}"
        )
    labels = labels.astype(np.int64)
    if fits == {"vertices"}:
        labels = labels_of_faces(labels, mesh.faces)
    return PartLabels(labels, tuple(names))


def labels_of_faces(
    vertex_label: NDArray[np.integer], faces: NDArray[np.integer]
) -> NDArray[np.int64]:
    """(V,) labels and (F, 3) triangles -> (F,) the label of most corners, else the smallest."""
    corner = np.sort(np.asarray(vertex_label, np.int64)[faces], axis=1)
    return np.where(corner[:, 1] == corner[:, 2], corner[:, 1], corner[:, 0])


def _read_values(path: Path) -> NDArray[np.float64] | dict[str, list[int]]:
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix.lower() == ".json":
            values = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(values, dict):
                return values
        else:
            values = path.read_text(encoding="utf-8").split()
        return np.asarray(values, np.float64)
    except (ValueError, TypeError, EOFError) as error:
        raise InputError(
            f"{path}: not a list of labels ({error}); expected numbers (.txt, .npy, .json) or"
            " {name of part: [vertices]} (.json)"
        ) from error


def _vertex_labels(
    path: Path, members: dict[str, list[int]], num_vertices: int
) -> tuple[NDArray[np.float64], list[str]]:
    if not 1 <= len(members) <= NUM_PARTS:
        raise InputError(f"{path}: names {len(members)} parts; 1 to {NUM_PARTS} are possible")
    label = np.zeros(num_vertices)
    for number, (name, vertices) in enumerate(members.items(), start=1):
        try:
            index = np.asarray(vertices, np.int64)
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: part {name!r} is not a list of vertices") from error
        if index.ndim != 1 or (index.size and not (0 <= index.min() <= index.max() < num_vertices)):
            raise InputError(
                f"{path}: part {name!r} must be a list of vertices from 0 to {num_vertices - 1}"
            )
        label[index] = number
    if (label == 0).any():
        lost = int(np.flatnonzero(label == 0)[0])
        raise InputError(
            f"{path}: {int((label == 0).sum())} vertices are in no part, the first is {lost}"
        )
    return label, list(members)


LABELS_OF = ("auto", "triangles", "vertices")
# Rounds in which seeds move to the middles of their cells.
ROUNDS = 8
# A piece of a part that is smaller than this fraction of the part is given to its neighbour.
ISLAND = 0.05


def segment_mesh(
    mesh: SurfaceMesh, num_parts: int = NUM_PARTS, mirror: MirrorPlane | None = None
) -> NDArray[np.int64]:
    """(F,) parts 1 to ``num_parts``, or one fewer; with ``mirror`` left and right alike.

    Raises:
        InputError: ``num_parts`` is not 1 to 24, or less than the pieces of the mesh.
    """
    if not 1 <= num_parts <= NUM_PARTS:
        raise InputError(f"a surface has 1 to {NUM_PARTS} parts, got {num_parts}")
    pieces = len(np.unique(mesh_pieces(mesh.faces, mesh.num_vertices)[mesh.faces[:, 0]]))
    if pieces > num_parts:
        raise InputError(
            f"the mesh is in {pieces} pieces, more than the {num_parts} parts; merge vertices or"
            " remove small pieces"
        )
    edge, graph = edges(mesh.faces), edge_graph(mesh.vertices_m, mesh.faces)
    seed = _farthest_vertices(mesh, graph, num_parts, mirror)
    for _ in range(ROUNDS):
        cell = _cells(graph, seed, mirror)
        seed = _middles(graph, edge, cell, seed, mirror)
    cell = _cells(graph, seed, mirror)
    label = labels_of_faces(np.maximum(cell, 0) + 1, mesh.faces)
    label = absorb_islands(mesh, label, fraction=1.0)[0]
    return np.unique(label, return_inverse=True)[1].reshape(-1) + 1


def absorb_islands(
    mesh: SurfaceMesh, face_part: NDArray[np.integer], fraction: float = ISLAND
) -> tuple[NDArray[np.int64], int]:
    """Give pieces of a part that lie apart from its main piece to the part around them.

    Args:
        mesh: of F triangles.
        face_part: (F,).
        fraction: larger pieces, compared with the whole part, stay; 1 moves all but the largest.

    Returns:
        (F,) parts and the number of triangles moved. A piece without a neighbour stays.
    """
    part = np.asarray(face_part, np.int64).copy()
    area = face_areas(mesh.vertices_m.astype(np.float64), mesh.faces)
    pair = face_neighbors(mesh.faces)
    pair = np.concatenate([pair, pair[:, ::-1]])
    while True:
        piece = face_pieces(mesh.faces, part)
        size = np.bincount(piece, weights=area)
        owner = np.zeros(len(size), np.int64)
        owner[piece] = part
        whole, largest = np.zeros(owner.max() + 1), np.zeros(owner.max() + 1)
        np.add.at(whole, owner, size)
        np.maximum.at(largest, owner, size)
        small = (size < largest[owner]) & (size <= fraction * whole[owner])
        border = pair[(part[pair[:, 0]] != part[pair[:, 1]]) & small[piece[pair[:, 0]]]]
        if not len(border):
            break
        island, outside = piece[border].T
        rank = np.argsort(np.argsort(size, kind="stable"))
        # An island beside a smaller one waits for the next round: the smaller one may join it.
        waits = np.zeros(len(size), bool)
        waits[island[small[outside] & (rank[outside] < rank[island])]] = True
        votes = np.zeros((len(size), owner.max() + 1), np.int64)
        np.add.at(votes, (island, part[border[:, 1]]), 1)  # the longest common border wins
        moves = small & ~waits & votes.any(axis=1)
        part = np.where(moves[piece], votes.argmax(axis=1)[piece], part)
    return part, int((part != face_part).sum())


def _farthest_vertices(
    mesh: SurfaceMesh, graph: sparse.csr_matrix, count: int, mirror: MirrorPlane | None
) -> NDArray[np.int64]:
    """(K,) vertices, each as far as possible from those before it; mirrored ones follow."""
    used = np.zeros(mesh.num_vertices, bool)
    used[mesh.faces] = True
    centre = mesh.vertices_m[used].mean(axis=0)
    away = np.linalg.norm(mesh.vertices_m - centre, axis=1)
    seed: list[int] = []
    distance = np.where(used, np.inf, -1.0)
    while len(seed) < count:
        # Among unreached pieces, the vertex farthest from the middle of all.
        best = int(np.lexsort((away, distance))[-1])
        pair = [best]
        if mirror is not None and mirror.side[best] and mirror.vertex[best] != best:
            pair.append(int(mirror.vertex[best]))
        if len(seed) + len(pair) > count:
            middle = np.where(mirror.side == 0, distance, -1.0)
            if middle.max() <= 0:
                break
            pair = [int(middle.argmax())]
        seed += pair
        near = dijkstra(graph, directed=False, indices=pair, min_only=True)
        distance = np.minimum(distance, near)
        distance[seed] = -1
    return np.array(seed)


def _cells(
    graph: sparse.csr_matrix, seed: NDArray[np.int64], mirror: MirrorPlane | None
) -> NDArray[np.int64]:
    """(V,) index of the nearest seed, -1 where none is reached."""
    _, _, source = dijkstra(
        graph, directed=False, indices=seed, min_only=True, return_predecessors=True
    )
    index = np.full(graph.shape[0] + 1, -1)
    index[seed] = np.arange(len(seed))
    cell = index[np.where(source < 0, -1, source)]
    if mirror is None:
        return cell
    # The one side is the mirror image of the other, seeds as well.
    partner = index[mirror.vertex[seed]]
    partner = np.where((partner >= 0) & (mirror.side[seed] != 0), partner, np.arange(len(seed)))
    other = mirror.side < 0
    image = cell[mirror.vertex[other]]
    cell[other] = np.where(image >= 0, partner[image], -1)
    return cell


def _middles(
    graph: sparse.csr_matrix,
    edge: NDArray[np.int64],
    cell: NDArray[np.int64],
    seed: NDArray[np.int64],
    mirror: MirrorPlane | None,
) -> NDArray[np.int64]:
    """(K,) of each cell the vertex farthest from its border; a cell without a border stays."""
    border = np.unique(edge[cell[edge[:, 0]] != cell[edge[:, 1]]])
    if not len(border):
        return seed
    depth = dijkstra(graph, directed=False, indices=border, min_only=True)
    depth = np.where(np.isfinite(depth) & (cell >= 0), depth, -1.0)
    order = np.lexsort((depth, cell))
    last = np.flatnonzero(np.append(cell[order][1:] != cell[order][:-1], True))
    moved = seed.copy()
    for row in order[last].tolist():
        k = cell[row]
        same_side = mirror is None or mirror.side[seed[k]] == mirror.side[row]
        if k >= 0 and depth[row] > 0 and same_side:
            moved[k] = row
    if mirror is None:
        return moved
    index = {int(s): k for k, s in enumerate(seed)}
    for k, old in enumerate(seed.tolist()):
        twin = index.get(int(mirror.vertex[old]))
        if mirror.side[old] < 0 and twin is not None and mirror.side[seed[twin]] > 0:
            moved[k] = mirror.vertex[moved[twin]]
    return moved
