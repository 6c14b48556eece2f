"""The meshes of the released embedding models: geometry, distances, mirror images, texture.

Four pickles for a mesh of N vertices, below the folder ``meshes``, as detectron2 names them:

=====================================  ======================================================
<name>.pkl                             {"vertices": (N, 3), "faces": (F, 3)}; zeros for SMPL,
                                       whose geometry has a licence of its own
geodists/geodists_<name>.pkl           (N, N) floats: distances along the surface
symmetry/symmetry_<name>.pkl           {"vertex_transforms": (N,)}: mirror image of each vertex
texcoords/texcoords_<name>.pkl         (N, 2) in [0, 1]: place in one texture for all parts
=====================================  ======================================================

Names end in the number of vertices. All indices are 0-based.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densepose.errors import InputError

from ..mesh import SurfaceMesh, check_mesh
from .matlab import check_range
from .pickles import load_numpy_pickle

logger = logging.getLogger(__name__)

MESH_FOLDER = "meshes"
MESH_NAMES = (
    "smpl_27554",
    "chimp_5029",
    "cat_5001",
    "cat_7466",
    "sheep_5004",
    "zebra_5002",
    "horse_5004",
    "giraffe_5002",
    "elephant_5002",
    "dog_5002",
    "dog_7466",
    "cow_5002",
    "bear_4936",
)


def mesh_paths(folder: str | os.PathLike[str], name: str) -> dict[str, Path]:
    """Paths of the four pickles below ``folder``/meshes, by what they hold."""
    root = Path(folder) / MESH_FOLDER
    paths = {
        kind: root / kind / f"{kind}_{name}.pkl" for kind in ("geodists", "symmetry", "texcoords")
    }
    return {"geometry": root / f"{name}.pkl", **paths}


def num_vertices_in(name: str) -> int:
    """The number that a mesh's name ends in.

    Raises:
        InputError: it ends in none.
    """
    number = name.rpartition("_")[2]
    if not number.isdigit():
        raise InputError(
            f"mesh {name!r}: its name must end in its number of vertices; known are"
            f" {', '.join(MESH_NAMES)}"
        )
    return int(number)


def read_geometry(path: str | os.PathLike[str], num_vertices: int) -> SurfaceMesh | None:
    """The mesh, or None where all vertices are zero: the release has no geometry.

    Raises:
        InputError: no such file; it is damaged or not of the form above.
    """
    content = load_numpy_pickle(path)
    vertices = _array_of(path, content, "vertices", (num_vertices, 3), "fiu")
    faces = _array_of(path, content, "faces", (None, 3), "fiu")
    if not vertices.any():
        logger.info("%s: all vertices are zero, the geometry is not part of the release", path)
        return None
    check_range(path, "faces", faces, 0, num_vertices - 1, whole=True)
    return check_mesh(vertices, faces.astype(np.int64), str(path))


def read_mirror(path: str | os.PathLike[str], num_vertices: int) -> NDArray[np.int64]:
    """(N,) mirror image of each vertex.

    Raises:
        InputError: no such file; it is damaged or not of the form above.
    """
    content = load_numpy_pickle(path)
    mirror = _array_of(path, content, "vertex_transforms", (num_vertices,), "fiu")
    check_range(path, "vertex_transforms", mirror, 0, num_vertices - 1, whole=True)
    mirror = mirror.astype(np.int64)
    moved = int((mirror[mirror] != np.arange(num_vertices)).sum())
    if moved:
        logger.warning("%s: mirrored twice, %d vertices do not come back", path, moved)
    return mirror


def read_texcoords(path: str | os.PathLike[str], num_vertices: int) -> NDArray[np.float32]:
    """(N, 2) place of each vertex in the texture, in [0, 1].

    Raises:
        InputError: no such file; it is damaged or not of the form above.
    """
    content = {"texture coordinates": load_numpy_pickle(path)}
    found = _array_of(path, content, "texture coordinates", (num_vertices, 2), "f")
    check_range(path, "texture coordinates", found, 0, 1)
    return found.astype(np.float32)


def read_distances(path: str | os.PathLike[str], num_vertices: int) -> NDArray[np.floating]:
    """(N, N) metres from the row's vertex to the column's; there and back need not be the same.

    Raises:
        InputError: no such file; it is damaged or not of the form above.
    """
    content = {"the distances": load_numpy_pickle(path)}
    matrix = _array_of(path, content, "the distances", (num_vertices, num_vertices), "f")
    check_range(path, "the distances", matrix, 0, np.finfo(np.float32).max)
    return matrix


def _array_of(
    path: str | os.PathLike[str], content: Any, key: str, shape: tuple[int | None, ...], kinds: str
) -> NDArray[Any]:
    """An array, or nested lists of numbers, under a key."""
    if not isinstance(content, dict) or key not in content:
        got = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path}: expected a dict with {key!r}, got {got}")
    try:
        array = np.asarray(content[key])
    except ValueError:  # lists of different lengths
        array = np.empty(0, object)
    fits = array.ndim == len(shape) and all(
        n in (None, got) for n, got in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in kinds:
        wanted = ", ".join("F" if n is None else str(n) for n in shape)
        raise InputError(
            f"{path}: {key} must be ({wanted}{',' * (len(shape) == 1)}) numbers, got shape"
            f" {array.shape} of {array.dtype}"
        )
    return array
