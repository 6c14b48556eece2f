"""The official charts of the SMPL mesh itself, ``UV_Processed.mat``, and what a flip does to them.

F triangles, M chart vertices, V mesh vertices (6,890 of SMPL). Two of SMPL's 13,776 triangles, at
the big toes, are not in the file.

=================  ===========  ======================================================
All_Faces          (F, 3)       1-based chart vertices of each triangle
All_FaceIndices    (F, 1)       part of each triangle, 1 to 24
All_U_norm         (M, 1)       u of each chart vertex in [0, 1]; All_V_norm likewise
All_vertices       (1, M)       1-based mesh vertex of each chart vertex
=================  ===========  ======================================================

The file says nothing of where the vertices lie: SMPL has a licence of its own.

``UV_symmetry_transforms.mat`` holds ``U_transforms`` and ``V_transforms``, (1, 24) cells of tables
that are read at [int(255 v), int(255 u)].
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from densepose.errors import InputError
from densepose.structures.body_parts import NUM_PARTS, flipped_coarse, flipped_parts

from ..chart_search import UV_STEPS
from ..charts import ChartAtlas
from ..mesh import SurfaceMesh, plane_areas
from ..symmetry import ChartSymmetry
from .matlab import as_column, check_range, read_mat

logger = logging.getLogger(__name__)

UV_FILE = "UV_Processed.mat"
SYMMETRY_FILE = "UV_symmetry_transforms.mat"
_KEYS = ("All_Faces", "All_FaceIndices", "All_U_norm", "All_V_norm", "All_vertices")


def read_uv_processed(
    path: str | os.PathLike[str], vertices_m: NDArray[np.floating] | None = None
) -> ChartAtlas:
    """The charts of UV_Processed.mat.

    Args:
        path: the file.
        vertices_m: (V, 3) positions of the mesh's vertices, in metres; nan where unknown: charts
            are looked up as usual then, but points on the surface come out as nan.

    Raises:
        InputError: no such file; it is damaged, a key is missing or of another form, or the
            vertices are fewer than the charts name.
    """
    content = read_mat(path, _KEYS, f"{UV_FILE} is in densepose_uv_data.tar.gz")
    faces = content["All_Faces"]
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: All_Faces must be (F, 3) numbers, got shape {faces.shape} of {faces.dtype}"
        )
    part, u, v, vertex = (as_column(path, name, content[name]) for name in _KEYS[1:])
    for name, column, count in (
        ("All_FaceIndices", part, len(faces)),
        ("All_V_norm", v, len(u)),
        ("All_vertices", vertex, len(u)),
    ):
        if len(column) != count:
            raise InputError(f"{path}: {name} must have {count} values, got {len(column)}")
    check_range(path, "All_Faces", faces, 1, len(u), whole=True)
    check_range(path, "All_FaceIndices", part, 1, NUM_PARTS, whole=True)
    check_range(path, "All_U_norm", u, 0, 1)
    check_range(path, "All_V_norm", v, 0, 1)
    num_vertices = int(vertex.max()) if vertices_m is None else len(vertices_m)
    check_range(path, "All_vertices", vertex, 1, num_vertices, whole=True)
    # Files are 1-based (MATLAB); inside the project vertices are 0-based.
    uv_faces, uv_vertex = faces.astype(np.int64) - 1, vertex.astype(np.int64) - 1
    if vertices_m is None:
        vertices_m = np.full((num_vertices, 3), np.nan)
    mesh = SurfaceMesh(np.asarray(vertices_m, np.float32), uv_vertex[uv_faces].astype(np.int32))
    return ChartAtlas(
        mesh=mesh,
        face_part=part.astype(np.uint8),
        uv=np.stack([u, v], axis=1).astype(np.float32),
        uv_part=_parts_of_vertices(path, uv_faces, part.astype(np.int64), len(u)),
        uv_vertex_mesh=uv_vertex,
        uv_faces=uv_faces,
    )


def _parts_of_vertices(
    path: str | os.PathLike[str], uv_faces: NDArray[np.int64], part: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """(M,) part of each chart vertex: that of its triangles."""
    of_vertex = np.zeros(count, np.int64)
    of_vertex[uv_faces] = part[:, None]
    shared = (of_vertex[uv_faces] != part[:, None]).any(axis=1)
    if shared.any() or not of_vertex.all():
        unused = int((of_vertex == 0).sum())
        wrong = f"{shared.sum()} triangles" if shared.any() else f"{unused} vertices"
        raise InputError(
            f"{path}: each chart vertex must belong to triangles of one part; {wrong} do not"
        )
    return of_vertex


def chart_turns(atlas: ChartAtlas) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which way round charts are drawn, and where they fold.

    Official charts are drawn as seen from outside the body or from inside, each as a whole.

    Returns:
        (24,) 1 where most triangles of a part run in the plane as on the mesh, -1 where they run
        the other way round, 0 without triangles; (24,) triangles that turn against the others of
        their part or have no area.
    """
    turn = np.sign(plane_areas(atlas.uv.astype(np.float64), atlas.uv_faces)).astype(np.int64)
    weight = np.bincount(atlas.face_part, weights=turn, minlength=NUM_PARTS + 1)[1:]
    direction = np.sign(weight).astype(np.int64)
    against = turn != direction[atlas.face_part.astype(np.int64) - 1]
    return direction, np.bincount(atlas.face_part[against], minlength=NUM_PARTS + 1)[1:]


def load_uv_symmetry(path: str | os.PathLike[str]) -> ChartSymmetry:
    """Left-right maps of the official charts, from ``UV_symmetry_transforms.mat``.

    Raises:
        InputError: no such file; not a MATLAB file, a key is missing, or a table has the wrong
            shape.
    """
    path = Path(path)
    keys = ("U_transforms", "V_transforms")
    content = read_mat(path, keys, f"{SYMMETRY_FILE} is in densepose_uv_data.tar.gz")
    tables = [_checked_cells(content[key], key, path) for key in keys]
    if tables[0].shape != tables[1].shape:
        raise InputError(
            f"{path}: U_transforms has tables of {tables[0].shape[1:]}, V_transforms of"
            f" {tables[1].shape[1:]}; expected equal shapes"
        )
    table = np.stack(tables, axis=-1)
    table = np.concatenate([np.zeros_like(table[:1]), table])  # background has no table
    sign = np.ones((NUM_PARTS + 1, 2))
    return ChartSymmetry(flipped_parts(), flipped_coarse(), sign, table)


def _checked_cells(cells: NDArray, key: str, path: Path) -> NDArray[np.float32]:
    """(24, H, W) tables of one coordinate."""
    if cells.dtype != object or cells.shape != (1, NUM_PARTS):
        raise InputError(
            f"{path}: {key} must be a (1, {NUM_PARTS}) cell array, got {cells.shape} {cells.dtype}"
        )
    shapes = {np.shape(table) for table in cells[0]}
    shape = min(shapes)
    if len(shapes) > 1 or len(shape) != 2 or min(shape) <= UV_STEPS:
        raise InputError(
            f"{path}: the tables of {key} must have one shape of at least"
            f" {UV_STEPS + 1} x {UV_STEPS + 1}, got {sorted(shapes)}"
        )
    tables = np.stack(list(cells[0])).astype(np.float32)
    outside = ~((tables >= 0) & (tables <= 1))
    if outside.any():
        # Kept as they are: the release may leave places outside a chart undefined.
        logger.warning(
            "%s: %d values of %s lie outside [0, 1], in parts %s",
            path,
            outside.sum(),
            key,
            (np.flatnonzero(outside.any(axis=(1, 2))) + 1).tolist(),
        )
    return tables
