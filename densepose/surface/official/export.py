"""Writing a surface in the form of the official files, for other evaluators to use.

Shapes: M chart vertices, V mesh vertices, F triangles. Files are 1-based where MATLAB is, 0-based
in the pickles; ``surface``, ``charts`` and ``cse`` say what each holds.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from densepose.files import atomic
from densepose.structures.body_parts import NUM_PARTS

from ..body import load_template
from ..chart_search import UV_STEPS
from ..charts import ChartAtlas, load_template_atlas
from ..geodesics import GeodesicDistances, packed_size, template_geodesics
from ..symmetry import ChartSymmetry, template_symmetry
from .charts import SYMMETRY_FILE, UV_FILE
from .cse import mesh_paths
from .surface import CHARTS_FILE, DISTANCE_FILE, DISTANCE_KEY, VERTEX_FILE

# Tiles of the parts in one texture, column by column, as DensePose users exchange it.
_TILE_ROWS, _TILE_COLUMNS = 6, 4


def write_official_files(
    folder: str | os.PathLike[str],
    *,
    uv: NDArray[np.floating],
    part: NDArray[np.integer],
    mesh_vertex: NDArray[np.integer],
    distances_m: NDArray[np.float32],
    vertices_m: NDArray[np.floating] | None = None,
    uv_faces: NDArray[np.integer] | None = None,
) -> None:
    """Write SMPL_subdiv.mat, SMPL_SUBDIV_TRANSFORM.mat and Pdist_matrix.pkl.

    Args:
        folder: made when missing.
        uv: (M, 2) chart vertices in [0, 1].
        part: (M,) 1 to 24.
        mesh_vertex: (M,) 0-based; files have them 1-based.
        distances_m: (V (V - 1) / 2,) packed strict lower triangle, V above every mesh vertex.
        vertices_m: (M, 3) positions of the chart vertices; written as ``vertex`` where given.
        uv_faces: (F, 3) chart vertices of the triangles; written as ``faces`` where given.

    Raises:
        ValueError: fewer distances than the vertices need.
    """
    needed = packed_size(int(mesh_vertex.max()) + 1)
    if len(distances_m) < needed:
        raise ValueError(f"vertices need {needed} distances, got {len(distances_m)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    charts = {
        "U_subdiv": uv[:, :1].astype(np.float64),
        "V_subdiv": uv[:, 1:].astype(np.float64),
        "Part_ID_subdiv": part[:, None].astype(np.int32),
    }
    if vertices_m is not None:
        charts["vertex"] = vertices_m.T.astype(np.float64)
    if uv_faces is not None:
        charts["faces"] = uv_faces.astype(np.int32) + 1
    _write_mat(folder / CHARTS_FILE, charts)
    _write_mat(folder / VERTEX_FILE, {"index": mesh_vertex[:, None].astype(np.int32) + 1})
    column = np.asarray(distances_m, "<f4").reshape(-1, 1)
    write_pickle(folder / DISTANCE_FILE, {DISTANCE_KEY: column})


def export_template(
    folder: str | os.PathLike[str], *, on_file: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Write the project's own body in the form of every official file.

    Args:
        folder: made when missing.
        on_file: gets the name of each file before it is written.

    Returns:
        The files; those of the mesh are called ``template_<V>``.
    """
    atlas = load_template_atlas()
    return export_surface(
        folder,
        atlas,
        template_symmetry(),
        load_template().mirror_vertex,
        template_geodesics(),
        name=f"template_{atlas.mesh.num_vertices}",
        on_file=on_file,
    )


def export_surface(
    folder: str | os.PathLike[str],
    atlas: ChartAtlas,
    symmetry: ChartSymmetry,
    mirror_vertex: NDArray[np.integer],
    distances: GeodesicDistances,
    *,
    name: str,
    on_file: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write an atlas, its left-right maps and the distances in the form of every official file.

    The mesh is not subdivided: chart vertices of the atlas are those of the files.

    Args:
        folder: made when missing.
        atlas: charts of V mesh vertices.
        symmetry: left-right maps of its parts and charts.
        mirror_vertex: (V,) vertex at the mirrored place.
        distances: between the V vertices.
        name: of the mesh in the files of embedding models; ends in V.
        on_file: gets the name of each file before it is written.

    Returns:
        The files.
    """
    folder = Path(folder)
    mesh_files = mesh_paths(folder, name)
    for path in mesh_files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    mesh, count = atlas.mesh, atlas.mesh.num_vertices
    on_file(DISTANCE_FILE)
    write_official_files(
        folder,
        uv=atlas.uv,
        part=atlas.uv_part,
        mesh_vertex=atlas.uv_vertex_mesh,
        distances_m=distances.triangle,
        vertices_m=mesh.vertices_m[atlas.uv_vertex_mesh],
        uv_faces=atlas.uv_faces,
    )
    on_file(UV_FILE)
    _write_mat(folder / UV_FILE, _uv_processed(atlas))
    on_file(SYMMETRY_FILE)
    _write_mat(folder / SYMMETRY_FILE, symmetry_tables(symmetry))
    on_file(mesh_files["geodists"].name)
    matrix = np.zeros((count, count), np.float32)
    matrix[np.tri(count, k=-1, dtype=bool)] = distances.triangle  # both run row by row
    matrix += matrix.T
    write_pickle(mesh_files["geodists"], matrix)
    for kind, content in (
        ("geometry", {"vertices": mesh.vertices_m, "faces": mesh.faces.astype(np.int64)}),
        ("symmetry", {"vertex_transforms": np.asarray(mirror_vertex, np.int64)}),
        ("texcoords", texture_coordinates(atlas)),
    ):
        on_file(mesh_files[kind].name)
        write_pickle(mesh_files[kind], content)
    charts = (CHARTS_FILE, VERTEX_FILE, DISTANCE_FILE, UV_FILE, SYMMETRY_FILE)
    return [*(folder / file for file in charts), *mesh_files.values()]


def symmetry_tables(symmetry: ChartSymmetry) -> dict[str, NDArray]:
    """U_transforms and V_transforms: (1, 24) cells of (256, 256) at [int(255 v), int(255 u)].

    All (u, v) of a cell get the mirror image of its middle, so two flips lead back to the cell.
    """
    step = np.minimum((np.arange(UV_STEPS + 1) + 0.5) / UV_STEPS, 1.0)
    v, u = np.meshgrid(step, step, indexing="ij")
    uv = np.stack([u, v], axis=-1).reshape(-1, 2)
    cells = {key: np.empty((1, NUM_PARTS), object) for key in ("U_transforms", "V_transforms")}
    for part in range(1, NUM_PARTS + 1):
        flipped = symmetry.flip_uv(np.full(len(uv), part), uv).reshape(*u.shape, 2)
        for axis, table in enumerate(cells.values()):
            table[0, part - 1] = np.asarray(flipped[..., axis], np.float64)
    return cells


def texture_coordinates(atlas: ChartAtlas) -> NDArray[np.float32]:
    """(V, 2) place of each mesh vertex in a texture of 6 x 4 tiles, from its left and its top.

    A vertex on a border between parts, which has a place in each, gets that in the lowest part.
    Values are below 1: readers multiply them with the size of the picture and cut off.
    """
    by_part = np.argsort(atlas.uv_part, kind="stable")
    vertex, first = np.unique(atlas.uv_vertex_mesh[by_part], return_index=True)
    chosen = by_part[first]
    column, row = np.divmod(atlas.uv_part[chosen].astype(np.int64) - 1, _TILE_ROWS)
    u, v = atlas.uv[chosen].T
    place = np.zeros((atlas.mesh.num_vertices, 2))
    place[vertex, 0] = (column + u) / _TILE_COLUMNS
    place[vertex, 1] = (row + 1 - v) / _TILE_ROWS
    return np.minimum(place, np.nextafter(np.float32(1), np.float32(0))).astype(np.float32)


def _uv_processed(atlas: ChartAtlas) -> dict[str, NDArray]:
    return {
        "All_Faces": atlas.uv_faces.astype(np.uint32) + 1,
        "All_FaceIndices": atlas.face_part[:, None].astype(np.uint8),
        "All_U_norm": atlas.uv[:, :1].astype(np.float64),
        "All_V_norm": atlas.uv[:, 1:].astype(np.float64),
        "All_vertices": atlas.uv_vertex_mesh[None].astype(np.uint32) + 1,
    }


def _write_mat(path: Path, content: dict[str, NDArray]) -> None:
    with atomic(path) as temporary:
        savemat(temporary, content, appendmat=False, do_compression=True)


def write_pickle(path: Path, content: object) -> None:
    """Write a pickle that programs with any NumPy read, whole or not at all."""
    # NumPy 2 names its modules in a way that older ones do not know. In protocol 3 names stand as
    # they are, without a length that would have to change with them.
    names = (b"cnumpy._core.", b"cnumpy.core.")
    with atomic(path) as temporary:
        temporary.write_bytes(pickle.dumps(content, protocol=3).replace(*names))
