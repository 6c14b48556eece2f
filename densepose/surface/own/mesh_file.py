"""Reading a mesh with its vertices in the order of the file, and checking it.

Numbers of vertices and triangles are what labels, annotations and models refer to, so nothing is
merged, split or reordered unless asked for.

Shapes: V vertices, F triangles, E edges. Lengths in metres.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import igl
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from densepose.errors import InputError

from ..mesh import (
    SurfaceMesh,
    boundary_edges,
    check_mesh,
    edges,
    face_areas,
    face_neighbors,
    half_edges,
)

FORMATS = (".obj", ".ply", ".off", ".stl", ".glb", ".gltf")


def read_mesh(
    path: str | os.PathLike[str], *, scale: float = 1.0, merge: bool = False
) -> SurfaceMesh:
    """Read a triangle mesh; faces with more corners are cut into triangles.

    Args:
        path: a file of one of ``FORMATS``.
        scale: metres of one unit of the file.
        merge: make one vertex of those at the same place, in the order of their first; needed
            where the file lists a vertex once for each triangle (STL) or side of a texture's seam.

    Raises:
        InputError: no such file; another format, damaged, not one mesh, or no triangles.
    """
    import trimesh

    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: a mesh must be one of {', '.join(FORMATS)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if not (np.isfinite(scale) and scale > 0):
        raise InputError(f"scale must be a positive number, got {scale}")
    try:
        loaded = trimesh.load_mesh(path, process=False, maintain_order=True, skip_materials=True)
    except Exception as error:  # trimesh raises many kinds on a damaged file
        raise InputError(f"{path}: not a readable mesh ({error})") from error
    vertices = getattr(loaded, "vertices", None)
    faces = getattr(loaded, "faces", None)
    if faces is None or not len(faces):
        raise InputError(f"{path}: holds no triangles")
    vertices, faces = np.asarray(vertices, np.float64) * scale, np.asarray(faces, np.int64)
    _require_all_vertices(path, vertices)
    if merge:
        vertices, faces = _merged(vertices, faces)
    return check_mesh(vertices, faces, str(path))


def _merged(
    vertices: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """One vertex for each place; triangles that have become a line are dropped."""
    _, first, name = np.unique(
        vertices.astype(np.float32), axis=0, return_index=True, return_inverse=True
    )
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    faces = rank[name.ravel()][faces]
    return vertices[first[order]], faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]


def _require_all_vertices(path: Path, vertices: NDArray[np.float64]) -> None:
    """An OBJ's vertices that no triangle uses are dropped by the reader, which renumbers others."""
    if path.suffix.lower() != ".obj":
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        listed = sum(line.startswith(("v ", "v\t")) for line in file)
    if listed > len(vertices):
        raise InputError(
            f"{path}: {listed - len(vertices)} of {listed} vertices belong to no triangle; remove"
            " them, so that numbers of vertices mean the same everywhere"
        )


# A body measured in metres is neither a toy nor a tower.
SMALLEST_M, LARGEST_M = 0.02, 20.0
# Distances between all pairs of more vertices fill more than 3 GB.
MANY_VERTICES = 40_000


@dataclass
class Findings:
    """Sentences for people; with errors no surface can be built."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_own_mesh(mesh: SurfaceMesh, source: str) -> Findings:
    """Look for everything that charts and distances do not stand.

    Args:
        mesh: shapes and indices are already checked, by ``check_mesh``.
        source: file name, for the sentences.
    """
    found = Findings()
    _check_size(mesh, source, found)
    _check_triangles(mesh, source, found)
    _check_pieces(mesh, source, found)
    return found


def consistently_oriented(mesh: SurfaceMesh) -> tuple[SurfaceMesh, int]:
    """Turn triangles so that neighbours agree and, of a closed mesh, normals point outwards.

    Returns:
        The mesh and how many triangles were turned; those of a surface with one side stay.
    """
    faces = np.asarray(mesh.faces, np.int64)
    if len(np.unique(half_edges(faces), axis=0)) < 3 * len(faces):
        faces = np.asarray(igl.bfs_orient(faces)[0], np.int64)
    corners = mesh.vertices_m.astype(np.float64)[faces]
    volume = np.einsum("fd,fd->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    if volume < 0 and not len(boundary_edges(faces)):
        faces = faces[:, [0, 2, 1]]
    turned = _signs(faces) != _signs(mesh.faces)
    faces = np.where(turned[:, None], mesh.faces[:, [0, 2, 1]], mesh.faces)
    return SurfaceMesh(mesh.vertices_m, faces.astype(np.int32)), int(turned.sum())


def _signs(faces: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(F,) which of the two orientations a triangle has, whatever corner it starts with."""
    start = np.asarray(faces).argmin(axis=1)
    row = np.arange(len(faces))
    return faces[row, (start + 1) % 3] < faces[row, (start + 2) % 3]


def _check_size(mesh: SurfaceMesh, source: str, found: Findings) -> None:
    size = np.ptp(mesh.vertices_m, axis=0)
    if not size.max() > 0:
        found.errors.append(f"{source}: all vertices are at one place")
    elif not SMALLEST_M <= size.max() <= LARGEST_M:
        found.warnings.append(
            f"{source}: {' x '.join(f'{s:g}' for s in size)} m large; distances are in metres, if"
            " the file has other units say so with --scale, 0.01 for centimetres"
        )
    if mesh.num_vertices > MANY_VERTICES:
        gigabytes = mesh.num_vertices**2 / 2 * 4 / 1e9
        found.warnings.append(
            f"{source}: distances of all pairs of {mesh.num_vertices:,} vertices need"
            f" {gigabytes:.1f} GB and hours; a mesh of 5,000 to 30,000 vertices is enough"
        )


def _check_triangles(mesh: SurfaceMesh, source: str, found: Findings) -> None:
    area = face_areas(mesh.vertices_m.astype(np.float64), mesh.faces)
    flat = np.flatnonzero(area <= 1e-12 * max(float(area.mean()), 1e-300))
    if len(flat):
        found.errors.append(
            f"{source}: {len(flat)} triangles have no area, the first is {flat[0]}; remove them"
        )
    sides = np.sort(half_edges(mesh.faces), axis=1)
    edge, count = np.unique(sides, axis=0, return_counts=True)
    if (count > 2).any():
        first = edge[count > 2][0].tolist()
        found.errors.append(
            f"{source}: not a manifold: {int((count > 2).sum())} edges belong to more than two"
            f" triangles, the first joins vertices {first}; remove inner walls and double triangles"
        )
    elif len(np.unique(half_edges(mesh.faces), axis=0)) < 3 * mesh.num_faces:
        found.errors.append(
            f"{source}: neighbouring triangles disagree on which side is outside, and turning some"
            " does not help; the surface has one side only"
        )
    used = np.unique(mesh.faces)
    pinched = np.setdiff1d(
        np.flatnonzero(~igl.is_vertex_manifold(np.asarray(mesh.faces, np.int64))),
        np.setdiff1d(np.arange(mesh.num_vertices), used),
    )
    if len(pinched):
        found.warnings.append(
            f"{source}: at {len(pinched)} vertices several sheets touch, the first is {pinched[0]}"
        )
    if len(used) < mesh.num_vertices:
        found.warnings.append(
            f"{source}: {mesh.num_vertices - len(used)} vertices belong to no triangle; they have"
            " no (u, v) and are infinitely far from all others"
        )


def _check_pieces(mesh: SurfaceMesh, source: str, found: Findings) -> None:
    pieces = mesh_pieces(mesh.faces, mesh.num_vertices)
    sizes = np.bincount(pieces[mesh.faces[:, 0]])
    sizes = np.sort(sizes[sizes > 0])[::-1]
    same = mesh.num_vertices - len(np.unique(mesh.vertices_m, axis=0))
    if same:
        found.warnings.append(
            f"{source}: {same} vertices are at the place of another one; if the surface should go"
            " on there, as at the seams of a texture, use --merge"
        )
    if len(sizes) > 1:
        found.warnings.append(
            f"{source}: {len(sizes)} separate pieces of {', '.join(map(str, sizes[:5]))}"
            f"{' ...' if len(sizes) > 5 else ''} triangles; distances between them are infinite"
        )
    border = boundary_edges(mesh.faces)
    if len(border):
        found.warnings.append(f"{source}: not closed: {len(border)} edges have one triangle only")


def mesh_pieces(faces: NDArray[np.integer], num_vertices: int) -> NDArray[np.int64]:
    """(V,) number of the connected piece that each vertex is in."""
    edge = edges(faces)
    graph = sparse.coo_matrix(
        (np.ones(len(edge)), (edge[:, 0], edge[:, 1])), shape=(num_vertices, num_vertices)
    )
    return connected_components(graph, directed=False)[1].astype(np.int64)


def face_pieces(faces: NDArray[np.integer], label: NDArray[np.integer]) -> NDArray[np.int64]:
    """(F,) number of the piece of equal label, joined by edges, that each triangle is in."""
    pair = face_neighbors(faces)
    pair = pair[label[pair[:, 0]] == label[pair[:, 1]]]
    graph = sparse.coo_matrix(
        (np.ones(len(pair)), (pair[:, 0], pair[:, 1])), shape=(len(faces), len(faces))
    )
    return connected_components(graph, directed=False)[1].astype(np.int64)
