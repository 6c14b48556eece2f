"""Writing a surface in the form of the official files, for other evaluators to use.

Shapes: M chart vertices, V mesh vertices, F triangles. Files are 1-based where MATLAB is, 0-based
in the pickles; ``official``, ``uv_processed``, ``symmetry`` and ``cse_mesh`` say what each holds.

Writing one float32 array as a pickle, piece by piece, for programs that read nothing else.
"""

from __future__ import annotations

import math
import os
import pickle
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from densepose.structures.body_parts import NUM_PARTS

from ..body import load_template
from ..chart_search import UV_STEPS
from ..charts import ChartAtlas, load_template_atlas
from ..geodesics import GeodesicDistances, packed_size, template_geodesics
from ..symmetry import SYMMETRY_FILE, ChartSymmetry, template_symmetry
from .cse import mesh_paths
from .surface import CHARTS_FILE, DISTANCE_FILE, DISTANCE_KEY, VERTEX_FILE
from .uv_processed import UV_FILE

# Values written at a time.
_CHUNK = 1 << 22
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
    # A pickle because the form asks for one; this project itself reads it with numpy_pickle.
    blocks = (distances_m[k : k + _CHUNK] for k in range(0, len(distances_m), _CHUNK))
    write_array_pickle(folder / DISTANCE_FILE, (len(distances_m), 1), blocks, key=DISTANCE_KEY)


def export_template(
    folder: str | os.PathLike[str], *, on_file: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Write the project's own body in the form of every official file.

    Args:
        folder: made when missing.
        on_file: is told the name of each file before it is written.

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
        on_file: is told the name of each file before it is written.

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
    write_array_pickle(mesh_files["geodists"], (count, count), _matrix_rows(distances))
    for kind, content in (
        ("geometry", {"vertices": mesh.vertices_m, "faces": mesh.faces.astype(np.int64)}),
        ("symmetry", {"vertex_transforms": np.asarray(mirror_vertex, np.int64)}),
        ("texcoords", texture_coordinates(atlas)),
    ):
        on_file(mesh_files[kind].name)
        _write_whole(mesh_files[kind], lambda path, content=content: _dump(path, content))
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


def _matrix_rows(distances: GeodesicDistances) -> Iterator[NDArray[np.float32]]:
    """The whole matrix, some rows at a time."""
    count = distances.num_vertices
    every = np.arange(count)
    rows_at_once = max(1, _CHUNK // count)
    for start in range(0, count, rows_at_once):
        yield distances.lookup(every[start : start + rows_at_once, None], every)


def _write_mat(path: Path, content: dict[str, NDArray]) -> None:
    def save(temporary: Path) -> None:
        savemat(temporary, content, appendmat=False, do_compression=True)

    _write_whole(path, save)


def _dump(path: Path, content: object) -> None:
    with open(path, "wb") as file:
        pickle.dump(content, file, protocol=4)


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


_EMPTY_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
_FLOAT32 = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"
_LITTLE_ENDIAN = b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def write_array_pickle(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    blocks: Iterable[NDArray[np.float32]],
    *,
    key: str | None = None,
) -> None:
    """Write what ``pickle.dump`` writes for a float32 array, whole or not at all.

    Args:
        path: the file.
        shape: of the array.
        blocks: its values in C order, some at a time.
        key: write a dict with the array under this key.

    Raises:
        ValueError: the blocks have more or fewer values than the shape.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    size = math.prod(shape)
    sides = b"".join(b"J" + struct.pack("<i", side) for side in shape)
    # What follows is a program for the stack machine of pickle, protocol 4: make an empty array,
    # then give it its version, shape, type, order and bytes.
    head = b"\x80\x04" + (b"}" + _text(key) if key is not None else b"")
    head += _EMPTY_ARRAY + b"(K\x01(" + sides + b"t" + _FLOAT32 + _LITTLE_ENDIAN + b"\x89"
    head += b"\x8e" + struct.pack("<Q", 4 * size)
    written = 0
    try:
        with open(temporary, "wb") as file:
            file.write(head)
            for block in blocks:
                file.write(np.ascontiguousarray(block, "<f4").tobytes())
                written += block.size
            file.write(b"tb" + (b"s." if key is not None else b"."))
        if written != size:
            raise ValueError(f"{path}: shape {shape} needs {size} values, got {written}")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _text(text: str) -> bytes:
    coded = text.encode("utf-8")
    return b"X" + struct.pack("<I", len(coded)) + coded
