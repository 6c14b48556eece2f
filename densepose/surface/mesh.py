"""Triangle meshes of the body surface and the few measures every user of one needs.

Shapes: V vertices, F triangles, E undirected edges. Lengths in metres, areas in square metres.
Vertices are 0-based.
A triangle's corners run counter-clockwise seen from outside, so normals point out of the body.

A short name for the exact content of some arrays, by which files derived from them are known.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import igl
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from densepose.errors import InputError


@dataclass(frozen=True)
class SurfaceMesh:
    """A triangle mesh; the arrays are not copied and must not be written to."""

    vertices_m: NDArray[np.float32]  # (V, 3)
    faces: NDArray[np.int32]  # (F, 3)

    @property
    def num_vertices(self) -> int:
        """Number of vertices V."""
        return len(self.vertices_m)

    @property
    def num_faces(self) -> int:
        """Number of triangles F."""
        return len(self.faces)

    def with_vertices(self, vertices_m: NDArray[np.floating]) -> SurfaceMesh:
        """The same triangles over other (V, 3) positions, a posed body for example."""
        if np.shape(vertices_m) != self.vertices_m.shape:
            raise ValueError(
                f"vertices must have shape {self.vertices_m.shape} to fit these faces, "
                f"got {np.shape(vertices_m)}"
            )
        return SurfaceMesh(np.asarray(vertices_m, dtype=np.float32), self.faces)


def check_mesh(
    vertices_m: NDArray[np.floating], faces: NDArray[np.integer], source: str
) -> SurfaceMesh:
    """Turn arrays read from ``source`` into a mesh, or say what is wrong with them.

    Raises:
        InputError: on wrong shapes, values that are not finite, corners outside [0, V), or a
            triangle that names one vertex twice. Holes and several pieces are allowed; see
            ``boundary_edges``.
    """
    if np.ndim(vertices_m) != 2 or np.shape(vertices_m)[1] != 3:
        raise InputError(f"{source}: vertices must have shape (V, 3), got {np.shape(vertices_m)}")
    if np.ndim(faces) != 2 or np.shape(faces)[1] != 3:
        raise InputError(f"{source}: faces must have shape (F, 3), got {np.shape(faces)}")
    if not np.issubdtype(np.asarray(faces).dtype, np.integer):
        raise InputError(f"{source}: faces must be integers, got {np.asarray(faces).dtype}")
    if not np.isfinite(vertices_m).all():
        row = int(np.flatnonzero(~np.isfinite(vertices_m).all(axis=1))[0])
        raise InputError(f"{source}: vertex {row} is not finite: {np.asarray(vertices_m)[row]}")
    outside = (faces < 0) | (faces >= len(vertices_m))
    if outside.any():
        row = int(np.flatnonzero(outside.any(axis=1))[0])
        raise InputError(
            f"{source}: face {row} names vertices {np.asarray(faces)[row].tolist()}, "
            f"expected 0 to {len(vertices_m) - 1}"
        )
    repeated = (faces == np.roll(faces, 1, axis=1)).any(axis=1)
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise InputError(
            f"{source}: face {row} names a vertex twice: {np.asarray(faces)[row].tolist()}"
        )
    return SurfaceMesh(
        np.ascontiguousarray(vertices_m, dtype=np.float32),
        np.ascontiguousarray(faces, dtype=np.int32),
    )


def _cross_products(vertices_m: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray:
    a, b, c = (vertices_m[faces[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a)


def face_areas(
    vertices_m: NDArray[np.floating], faces: NDArray[np.integer]
) -> NDArray[np.floating]:
    """(F,) area of each triangle; 0 for one whose corners lie on a line."""
    return 0.5 * np.linalg.norm(_cross_products(vertices_m, faces), axis=1)


def face_normals(
    vertices_m: NDArray[np.floating], faces: NDArray[np.integer]
) -> NDArray[np.floating]:
    """(F, 3) outward unit normals; zeros for a triangle without area."""
    return _normalised(_cross_products(vertices_m, faces))


def vertex_normals(
    vertices_m: NDArray[np.floating], faces: NDArray[np.integer]
) -> NDArray[np.floating]:
    """(V, 3) unit normals, area-weighted over the triangles at a vertex; zeros without any."""
    cross = _cross_products(vertices_m, faces)
    corner = np.asarray(faces).T.ravel()
    # Sums in double precision.
    total = [np.bincount(corner, np.tile(n, 3), len(vertices_m)) for n in cross.T]
    return _normalised(np.stack(total, axis=1)).astype(vertices_m.dtype)


def _normalised(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def half_edges(faces: NDArray[np.integer]) -> NDArray[np.int64]:
    """(3F, 2) directed sides of the triangles; rows f, F + f and 2F + f belong to triangle f."""
    faces = np.asarray(faces, dtype=np.int64)
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def edges(faces: NDArray[np.integer]) -> NDArray[np.int64]:
    """(E, 2) undirected edges, smaller vertex first, in lexicographic order, each once."""
    return np.unique(np.sort(half_edges(faces), axis=1), axis=0)


def edge_lengths(
    vertices_m: NDArray[np.floating], edge: NDArray[np.integer]
) -> NDArray[np.floating]:
    """(E,) straight length of each of the (E, 2) edges."""
    return np.linalg.norm(vertices_m[edge[:, 0]] - vertices_m[edge[:, 1]], axis=1)


def edge_graph(vertices_m: NDArray[np.floating], faces: NDArray[np.integer]) -> sparse.csr_matrix:
    """(V, V) length of each edge, in the row of its smaller vertex."""
    edge = edges(faces)
    length = edge_lengths(np.asarray(vertices_m, np.float64), edge)
    shape = (len(vertices_m), len(vertices_m))
    return sparse.coo_matrix((length, (edge[:, 0], edge[:, 1])), shape=shape).tocsr()


def adjacent_triangles(faces: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What lies behind side k of a triangle, which runs from corner k to the next.

    Returns:
        (F, 3) triangles and (F, 3) the number of the same side there; -1 where there is none.
        Meaningful on a manifold; elsewhere, -1 still means that no other triangle has the side.
    """
    if not len(faces):
        return np.zeros((0, 3), np.int64), np.zeros((0, 3), np.int64)
    return igl.triangle_triangle_adjacency(np.ascontiguousarray(faces, np.int64))


def face_neighbors(faces: NDArray[np.integer]) -> NDArray[np.int64]:
    """(N, 2) pairs of triangles that share an edge, smaller index first."""
    other, _ = adjacent_triangles(faces)
    face, side = np.nonzero(other > np.arange(len(other))[:, None])
    return np.stack([face, other[face, side]], axis=1)


def border_sides(faces: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Triangle and corner of each side that one triangle has alone; it runs to the next corner."""
    face, corner = np.nonzero(adjacent_triangles(faces)[0] < 0)
    return face, corner


def boundary_edges(faces: NDArray[np.integer]) -> NDArray[np.int64]:
    """(B, 2) directed sides that no triangle shares; empty for a closed surface."""
    corner, face = np.nonzero(adjacent_triangles(faces)[0].T < 0)
    faces = np.asarray(faces, np.int64)
    return np.stack([faces[face, corner], faces[face, (corner + 1) % 3]], axis=1)


def euler_characteristic(faces: NDArray[np.integer]) -> int:
    """V - E + F over the vertices in use: 2 for a sphere, 1 for a disc."""
    return len(np.unique(faces)) - len(edges(faces)) + len(faces)


def mesh_fingerprint(
    vertices_m: NDArray[np.floating], faces: NDArray[np.integer], *labels: NDArray[np.integer]
) -> str:
    """Sixteen hexadecimal digits that change with any vertex (to float32), face or label."""
    digest = hashlib.sha256()
    for array, dtype in (
        (vertices_m, "<f4"),
        (faces, "<i4"),
        *((label, "<i4") for label in labels),
    ):
        digest.update(str(np.shape(array)).encode())
        digest.update(np.ascontiguousarray(array, dtype).tobytes())
    return digest.hexdigest()[:16]


def plane_areas(position: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.float64]:
    """(F,) signed areas in the plane; negative for a triangle that is turned over."""
    a, b, c = (np.asarray(position, np.float64)[faces[:, corner]] for corner in range(3))
    first, second = b - a, c - a
    return 0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
