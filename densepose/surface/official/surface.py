"""The surface DensePose-COCO is scored on: the subdivided SMPL mesh of the official evaluators.

Three files, named and formed as the official release has them (M chart vertices, V = 27,554 mesh
vertices; the files are under the SMPL licence and are not part of this project):

==========================  =====================================================================
SMPL_subdiv.mat             U_subdiv, V_subdiv (M, 1) in [0, 1]; Part_ID_subdiv (M, 1), 1 to 24
SMPL_SUBDIV_TRANSFORM.mat   index (M, 1): 1-based mesh vertex of each chart vertex
Pdist_matrix.pkl            {"Pdist_matrix": (V (V - 1) / 2, 1)}: distances in metres, strict lower
                            triangle row by row
==========================  =====================================================================

The distances are converted once to a float32 .npy file that is mapped into memory.
"""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densepose.errors import InputError
from densepose.files import atomic, refuse_wrong_kind
from densepose.structures.body_parts import NUM_PARTS

from ..chart_search import VertexSearch
from ..evaluation_surface import EvaluationSurface
from ..geodesics import GeodesicDistances, default_cache_dir, num_vertices_of, packed_size
from .matlab import BELONGS_HERE, check_range, read_columns
from .pickles import load_numpy_pickle

logger = logging.getLogger(__name__)

NUM_VERTICES = 27554
CHARTS_FILE = "SMPL_subdiv.mat"
VERTEX_FILE = "SMPL_SUBDIV_TRANSFORM.mat"
DISTANCE_FILE = "Pdist_matrix.pkl"
CONVERTED_FILE = "Pdist_matrix.float32.npy"
DISTANCE_KEY = "Pdist_matrix"
# No two points of a body are farther apart along its skin; larger values are not metres.
LARGEST_DISTANCE_M = 10.0


@dataclass(frozen=True)
class OfficialCharts:
    """Chart vertices of the subdivided mesh."""

    uv: NDArray[np.float64]  # (M, 2) in [0, 1]
    part: NDArray[np.int64]  # (M,) 1 to 24
    mesh_vertex: NDArray[np.int64]  # (M,) 0-based

    @functools.cached_property
    def _vertices(self) -> VertexSearch:
        return VertexSearch(self.uv, self.part)

    def nearest_vertex(self, part: ArrayLike, uv: ArrayLike) -> NDArray[np.int64]:
        """Mesh vertex of the chart vertex nearest in (u, v), the first of equally near ones.

        Args:
            part: (P,) 0 to 24.
            uv: (P, 2).

        Returns:
            (P,) 0-based vertices, -1 for part 0.

        Raises:
            InputError: a part the charts do not have.
        """
        part, uv = np.asarray(part, np.int64), np.asarray(uv, np.float64).reshape(-1, 2)
        wanted = np.unique(part[part != 0])
        known = np.unique(self.part)
        absent = wanted[~np.isin(wanted, known)]
        if len(absent):
            raise InputError(f"no chart of part {absent[0]}; there are {known.tolist()}")
        return np.where(part == 0, -1, self.mesh_vertex[self._vertices(part, uv)])


def load_official_surface(
    data_dir: str | os.PathLike[str],
    *,
    num_vertices: int = NUM_VERTICES,
    cache_dir: str | os.PathLike[str] | None = None,
) -> EvaluationSurface:
    """The official evaluation surface from its three files.

    The first call converts the distances, which needs twice their size in memory, and
    keeps the result beside them, or in the cache where that folder cannot be written. Later calls
    take milliseconds and need only the result.

    Args:
        data_dir: folder of the files.
        num_vertices: vertices of the mesh; another number for files of this form that describe
            another mesh, such as ``build-surface template`` writes.
        cache_dir: where to keep the result if not beside the files.

    Raises:
        InputError: a file is missing; a file is damaged, or not of the form described above.
    """
    folder = Path(data_dir)
    charts = read_charts(folder / CHARTS_FILE, folder / VERTEX_FILE, num_vertices)
    path = converted_distances(folder, num_vertices, None if cache_dir is None else Path(cache_dir))
    found = vertices_of_distances(path)
    if found not in (None, num_vertices):
        raise InputError(
            f"{path}: distances of a mesh of {found} vertices, the surface smpl_{num_vertices} has"
            f" {num_vertices}; to score on the mesh of this folder name the surface smpl_{found}"
        )
    name = f"smpl_{num_vertices}"
    return EvaluationSurface(name, charts, GeodesicDistances.open(path, num_vertices))


def read_charts(
    charts_path: str | os.PathLike[str],
    vertex_path: str | os.PathLike[str],
    num_vertices: int | None = NUM_VERTICES,
) -> OfficialCharts:
    """Chart vertices from SMPL_subdiv.mat and SMPL_SUBDIV_TRANSFORM.mat.

    Args:
        charts_path: SMPL_subdiv.mat.
        vertex_path: SMPL_SUBDIV_TRANSFORM.mat.
        num_vertices: vertices of the mesh; None where it is not known.

    Raises:
        InputError: a file is missing; a key is missing, lengths differ, or values are out of range.
    """
    columns = read_columns(charts_path, ("U_subdiv", "V_subdiv", "Part_ID_subdiv"))
    u, v, part = columns
    index = read_columns(vertex_path, ("index",))[0]
    if len(index) != len(u):
        raise InputError(
            f"{vertex_path}: index has {len(index)} rows, {charts_path} has {len(u)} chart"
            " vertices; the two files do not belong together"
        )
    check_range(charts_path, "U_subdiv", u, 0, 1)
    check_range(charts_path, "V_subdiv", v, 0, 1)
    check_range(charts_path, "Part_ID_subdiv", part, 1, NUM_PARTS, whole=True)
    check_range(vertex_path, "index", index, 1, num_vertices or np.inf, whole=True)
    absent = sorted(set(range(1, NUM_PARTS + 1)) - set(part.astype(int).tolist()))
    if absent:
        raise InputError(f"{charts_path}: Part_ID_subdiv names no vertex of parts {absent}")
    # Files are 1-based (MATLAB); inside the project vertices are 0-based.
    return OfficialCharts(
        np.stack([u, v], axis=1), part.astype(np.int64), index.astype(np.int64) - 1
    )


def vertices_of_distances(path: Path) -> int | None:
    """V of a converted file; None where it is damaged or no mesh has so many distances."""
    try:
        return num_vertices_of(np.load(path, mmap_mode="r", allow_pickle=False).size)
    except (ValueError, EOFError):
        return None


def converted_distances(folder: Path, num_vertices: int, cache_dir: Path | None = None) -> Path:
    """Path of the converted distances, made now unless they are newer than the pickle.

    Args:
        folder: where Pdist_matrix.pkl lies, or what an earlier call made of it.
        num_vertices: V.
        cache_dir: where to keep the result if not beside the pickle.

    Raises:
        InputError: neither the pickle nor the result is there; the pickle is damaged or not of this
            form.
    """
    pickled, beside = folder / DISTANCE_FILE, folder / CONVERTED_FILE
    in_cache = (cache_dir or default_cache_dir()) / f"{num_vertices}_{CONVERTED_FILE}"
    for path in (beside, in_cache):
        if is_newer(path, pickled):
            return path
    refuse_wrong_kind(pickled, f"{CONVERTED_FILE} is not there either; {BELONGS_HERE}")
    path = beside if os.access(folder, os.W_OK) and cache_dir is None else in_cache
    logger.info("converting %s to %s; this is done once", pickled, path)
    convert_distances(pickled, path, num_vertices)
    return path


def is_newer(converted: Path, source: Path) -> bool:
    """Whether the result of a conversion is there, and its source is not younger."""
    if not converted.is_file():
        return False
    return not source.is_file() or source.stat().st_mtime <= converted.stat().st_mtime


def convert_distances(source: Path, target: Path, num_vertices: int | None = None) -> None:
    """Write Pdist_matrix.pkl as a packed float32 .npy file, whole or not at all.

    Args:
        source: the pickle.
        target: the .npy file.
        num_vertices: V; None for any mesh.

    Raises:
        InputError: no such pickle; it is damaged or does not hold the distances of ``num_vertices``
            vertices in metres.
    """
    content = load_numpy_pickle(source)
    found = content.get(DISTANCE_KEY) if isinstance(content, dict) else None
    if not isinstance(found, np.ndarray):
        keys = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{source}: expected a dict with the array {DISTANCE_KEY!r}, got {keys}")
    fits = num_vertices_of(found.size)
    column = found.size == max(found.shape, default=0)
    if fits is None or fits != (num_vertices or fits) or not column or found.dtype.kind != "f":
        wanted = (
            f"{packed_size(num_vertices)} distances of {num_vertices} vertices"
            if num_vertices
            else "one column of V (V - 1) / 2 distances"
        )
        meaning = f", as of {fits} vertices" if fits else ", which no mesh has"
        raise InputError(
            f"{source}: expected {wanted}, got shape {found.shape} of {found.dtype}{meaning}"
        )
    values = found.reshape(-1)
    check_range(source, DISTANCE_KEY, values, 0, LARGEST_DISTANCE_M)
    if values.dtype.itemsize > 4:
        logger.warning("%s: holds %s values, they are kept as float32", source, values.dtype)
    with atomic(target) as temporary:
        np.save(temporary, values.astype("<f4", copy=False))
