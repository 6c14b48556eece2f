"""Reading a mesh of the user's own, with its vertices in the order of the file.

Numbers of vertices and triangles are what labels, annotations and models refer to, so nothing is
merged, split or reordered unless asked for.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .mesh import SurfaceMesh, check_mesh

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
        FileNotFoundError: no such file.
        ValueError: another format, damaged, not one mesh, or no triangles.
    """
    import trimesh

    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: a mesh must be one of {', '.join(FORMATS)}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be a positive number, got {scale}")
    try:
        loaded = trimesh.load_mesh(path, process=False, maintain_order=True, skip_materials=True)
    except Exception as error:  # trimesh raises many kinds on a damaged file
        raise ValueError(f"{path}: not a readable mesh ({error})") from error
    vertices = getattr(loaded, "vertices", None)
    faces = getattr(loaded, "faces", None)
    if faces is None or not len(faces):
        raise ValueError(f"{path}: holds no triangles")
    vertices, faces = np.asarray(vertices, np.float64) * scale, np.asarray(faces, np.int64)
    _require_all_vertices(path, vertices)
    if merge:
        vertices, faces = _merged(vertices, faces)
    return check_mesh(vertices, faces, str(path))


def _merged(
    vertices: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """One vertex for each place; triangles that have become a line are left out."""
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
        raise ValueError(
            f"{path}: {listed - len(vertices)} of {listed} vertices belong to no triangle; remove"
            " them, so that numbers of vertices mean the same everywhere"
        )
