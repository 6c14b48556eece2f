"""The file of a surface: mesh, charts, left and right; its distances lie beside it.

An .npz archive. V vertices, F triangles, M chart vertices:

=================  ===========================  ==================================================
key                shape, dtype                 meaning
=================  ===========================  ==================================================
own_surface        () int64                     number of this layout
vertices_m         (V, 3) float32
faces              (F, 3) int32                 counter-clockwise seen from outside
face_part          (F,) uint8                   1 to 24
part_names         (25,) str                    "" for a part without a name
uv                 (M, 2) float32               in [0, 1]
uv_part            (M,) uint8                   part of each chart vertex
uv_vertex_mesh     (M,) int32                   mesh vertex of each chart vertex
uv_faces           (F, 3) int32                 chart vertices of each triangle
mirror_vertex      (V,) int32                   vertex at the mirrored place; empty: no symmetry
part_flip          (25,) uint8                  part on the other side; empty: no symmetry
coarse_flip        (15,) uint8                  region on the other side; empty: no symmetry
uv_flip            (24, 256, 256, 2) uint16     (u, v) x 65535 of the mirrored place at
                                                [part - 1, 255 v, 255 u]; empty: no symmetry
=================  ===========================  ==================================================

Distances are in ``geodesics_<fingerprint of the mesh>_<accuracy>.npy`` in the same folder (see
``geodesics``), or are computed once, into the cache.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from densepose.errors import InputError
from densepose.files import atomic
from densepose.structures.body_parts import NUM_PARTS

from ..charts import ChartAtlas
from ..evaluation_surface import EvaluationSurface
from ..geodesics import cached_geodesics, geodesics_path
from ..mesh import check_mesh
from ..symmetry import ChartSymmetry

SCHEMA = 1
_UV_SCALE = 65535
_NEEDED = (
    *("vertices_m", "faces", "face_part", "part_names", "uv", "uv_part", "uv_vertex_mesh"),
    *("uv_faces", "mirror_vertex", "part_flip", "coarse_flip", "uv_flip"),
)


@dataclass(frozen=True)
class OwnSurface:
    """Everything that ``densepose build-surface`` makes of a mesh."""

    name: str
    atlas: ChartAtlas
    part_names: tuple[str, ...]  # of parts 0 to 24, "" without a name
    mirror_vertex: NDArray[np.int64] | None  # (V,), None if the mesh has no left and right
    symmetry: ChartSymmetry | None

    def __post_init__(self) -> None:
        if len(self.part_names) != NUM_PARTS + 1:
            raise ValueError(f"expected {NUM_PARTS + 1} names of parts, got {len(self.part_names)}")


def write_own_surface(
    path: str | os.PathLike[str],
    surface: OwnSurface,
    *,
    geodesics: bool = True,
) -> None:
    """Write the file, whole or not at all, and its distances beside it.

    Args:
        path: ends in .npz.
        surface: its name is not stored, it is that of the file.
        geodesics: compute the distances now, into the folder of the file.

    Raises:
        InputError: another ending.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"{path}: the file of a surface ends in .npz")
    if geodesics:
        cached_geodesics(surface.atlas.mesh, path.parent)
    with atomic(path) as temporary:
        np.savez_compressed(temporary, **_arrays(surface))


def _arrays(surface: OwnSurface) -> dict[str, NDArray]:
    atlas, symmetry = surface.atlas, surface.symmetry
    nothing = np.zeros(0, np.uint8)
    mirror = surface.mirror_vertex
    return {
        "own_surface": np.int64(SCHEMA),
        "vertices_m": atlas.mesh.vertices_m.astype(np.float32),
        "faces": atlas.mesh.faces.astype(np.int32),
        "face_part": np.asarray(atlas.face_part).astype(np.uint8),
        "part_names": np.array(surface.part_names, dtype=np.str_),
        "uv": atlas.uv.astype(np.float32),
        "uv_part": atlas.uv_part.astype(np.uint8),
        "uv_vertex_mesh": atlas.uv_vertex_mesh.astype(np.int32),
        "uv_faces": atlas.uv_faces.astype(np.int32),
        "mirror_vertex": nothing if mirror is None else mirror.astype(np.int32),
        "part_flip": nothing if symmetry is None else symmetry.part.astype(np.uint8),
        "coarse_flip": nothing if symmetry is None else symmetry.coarse.astype(np.uint8),
        "uv_flip": nothing
        if symmetry is None or symmetry.uv_table is None
        else np.rint(symmetry.uv_table[1:] * _UV_SCALE).astype(np.uint16),
    }


def read_own_surface(path: str | os.PathLike[str]) -> OwnSurface:
    """Read what :func:`write_own_surface` wrote, but for the distances.

    Raises:
        InputError: no such file; no file of a surface, of another layout, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; densepose build-surface makes one")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(f"{path}: not a file of a surface, or damaged ({error})") from error
    if int(arrays.get("own_surface", 0)) != SCHEMA:
        raise InputError(
            f"{path}: not a file of a surface of layout {SCHEMA}; make it (again) with densepose"
            " build-surface"
        )
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise InputError(f"{path}: {missing[0]} is missing; make it again")
    try:
        return _surface(path, arrays)
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: {error}; make it again") from error


def _surface(path: Path, arrays: dict[str, NDArray]) -> OwnSurface:
    atlas = ChartAtlas(
        mesh=check_mesh(arrays["vertices_m"], arrays["faces"], "mesh"),
        face_part=arrays["face_part"].astype(np.int64),
        uv=arrays["uv"],
        uv_part=arrays["uv_part"].astype(np.int64),
        uv_vertex_mesh=arrays["uv_vertex_mesh"].astype(np.int64),
        uv_faces=arrays["uv_faces"].astype(np.int64),
    )
    symmetry = None
    if arrays["part_flip"].size:
        table = arrays["uv_flip"].astype(np.float32) / np.float32(_UV_SCALE)
        symmetry = ChartSymmetry(
            part=arrays["part_flip"].astype(np.int64),
            coarse=arrays["coarse_flip"].astype(np.int64),
            uv_sign=np.ones((NUM_PARTS + 1, 2)),
            uv_table=np.concatenate([np.zeros_like(table[:1]), table]),
        )
    mirror = arrays["mirror_vertex"].astype(np.int64) if arrays["mirror_vertex"].size else None
    names = tuple(arrays["part_names"].tolist())
    return OwnSurface(path.stem, atlas, names, mirror, symmetry)


def load_own_evaluation_surface(
    path: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> EvaluationSurface:
    """Charts and distances for evaluation; distances are mapped into memory, or computed once.

    Raises:
        InputError: no such file; as for :func:`read_own_surface`.
    """
    path = Path(path)
    surface = read_own_surface(path)
    mesh = surface.atlas.mesh
    folder = path.parent if geodesics_path(mesh, path.parent).is_file() else cache_dir
    return EvaluationSurface(surface.name, surface.atlas, cached_geodesics(mesh, folder))
