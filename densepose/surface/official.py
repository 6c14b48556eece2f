"""The surface DensePose-COCO is scored on: the subdivided SMPL mesh of the official evaluators.

Three files, named and formed as the official release has them (M chart vertices, V = 27,554 mesh
vertices; the files are under the SMPL licence and are not part of this project):

==========================  =====================================================================
SMPL_subdiv.mat             U_subdiv, V_subdiv (M, 1) in [0, 1]; Part_ID_subdiv (M, 1), 1 to 24
SMPL_SUBDIV_TRANSFORM.mat   index (M, 1): 1-based mesh vertex of each chart vertex
Pdist_matrix.pkl            {"Pdist_matrix": (V (V - 1) / 2, 1)}: distances in metres, strict lower
                            triangle row by row
==========================  =====================================================================

The distances are converted once to a float32 array, out of which single values are read.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from .distance_files import Progress, convert_distances, no_progress, num_vertices_of
from .evaluation_surface import EvaluationSurface
from .file_kind import refuse_wrong_kind
from .geodesics import GeodesicDistances, default_cache_dir
from .matlab_file import BELONGS_HERE, check_range, read_columns
from .nearest_kernels import nearest_in_charts

logger = logging.getLogger(__name__)

SURFACE_NAME = "smpl_27554"
NUM_VERTICES = 27554
NUM_PARTS = 24
CHARTS_FILE = "SMPL_subdiv.mat"
VERTEX_FILE = "SMPL_SUBDIV_TRANSFORM.mat"
DISTANCE_FILE = "Pdist_matrix.pkl"
CONVERTED_FILE = "Pdist_matrix.float32.npy"
# Two chart vertices whose distances to a point differ by less than this are compared exactly.
_NEARLY_EQUAL = 1e-9
# Along each side of a chart: one or two vertices fall into a square.
_SQUARES = 28


@dataclass(frozen=True)
class OfficialCharts:
    """Chart vertices of the subdivided mesh."""

    uv: NDArray[np.float64]  # (M, 2) in [0, 1]
    part: NDArray[np.int64]  # (M,) 1 to 24
    mesh_vertex: NDArray[np.int64]  # (M,) 0-based
    # Vertices sorted by the square of their chart, and where those of each square start.
    _sorted: NDArray[np.int64] = field(init=False, repr=False)
    _sorted_uv: NDArray[np.float64] = field(init=False, repr=False)
    _first: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        place = np.clip((self.uv * _SQUARES).astype(np.int64), 0, _SQUARES - 1)
        square = ((self.part - 1) * _SQUARES + place[:, 0]) * _SQUARES + place[:, 1]
        order = np.argsort(square, kind="stable")
        all_squares = np.arange(int(self.part.max(initial=0)) * _SQUARES**2 + 1)
        object.__setattr__(self, "_sorted", order)
        object.__setattr__(self, "_sorted_uv", np.ascontiguousarray(self.uv[order], np.float64))
        object.__setattr__(self, "_first", np.searchsorted(square[order], all_squares))

    def nearest_vertex(self, part: ArrayLike, uv: ArrayLike) -> NDArray[np.int64]:
        """Mesh vertex of the chart vertex nearest in (u, v), the first of equally near ones.

        Args:
            part: (P,) 0 to 24.
            uv: (P, 2).

        Returns:
            (P,) 0-based vertices, -1 for part 0.

        Raises:
            ValueError: a part the charts do not have.
        """
        part, uv = np.asarray(part, np.int64), np.asarray(uv, np.float64).reshape(-1, 2)
        wanted = np.unique(part[part != 0])
        there = np.unique(self.part)
        absent = wanted[~np.isin(wanted, there)]
        if len(absent):
            raise ValueError(f"no chart of part {absent[0]}; there are {there.tolist()}")
        nearest, gap = np.empty(len(part), np.int64), np.empty(len(part))
        nearest_in_charts(part, uv, _SQUARES, self._first, self._sorted_uv, nearest, gap)
        row = self._sorted[nearest]
        self._settle_ties(part, uv, np.flatnonzero(gap < _NEARLY_EQUAL), row)
        return np.where(part == 0, -1, self.mesh_vertex[row])

    def _settle_ties(
        self, part: NDArray[np.int64], uv: NDArray[np.float64], tied: NDArray, row: NDArray
    ) -> None:
        """Write the right row where two vertices are nearly equally near."""
        for number in np.unique(part[tied]):
            rows = np.flatnonzero(self.part == number)
            mine = tied[part[tied] == number]
            # The official evaluators take the first minimum of these very distances.
            for block in np.array_split(mine, max(1, len(mine) // 4096)):
                row[block] = rows[cdist(uv[block], self.uv[rows]).argmin(axis=1)]


def load_official_surface(
    data_dir: str | os.PathLike[str],
    *,
    num_vertices: int = NUM_VERTICES,
    cache_dir: str | os.PathLike[str] | None = None,
) -> EvaluationSurface:
    """The official evaluation surface from its three files.

    The first call converts the distances, a few megabytes at a time, and keeps the result beside
    them, or in the cache where that folder can not be written. Later calls take milliseconds and
    need only the result.

    Args:
        data_dir: folder of the files.
        num_vertices: vertices of the mesh; another number for files of this form that describe
            another mesh, such as ``prepare-evaluation --export-template`` writes.
        cache_dir: where to keep the result if not beside the files.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or not of the form described above.
    """
    folder = Path(data_dir)
    charts = read_charts(folder / CHARTS_FILE, folder / VERTEX_FILE, num_vertices)
    path = converted_distances(folder, num_vertices, None if cache_dir is None else Path(cache_dir))
    _check_mesh(path, num_vertices)
    name = SURFACE_NAME if num_vertices == NUM_VERTICES else f"smpl_{num_vertices}"
    return EvaluationSurface(name, charts, GeodesicDistances.open(path, num_vertices))


def _check_mesh(path: Path, num_vertices: int) -> None:
    """Refuse the distances of another mesh, and say how it would be named."""
    try:
        size = np.load(path, mmap_mode="r", allow_pickle=False).size
    except (ValueError, EOFError):
        return  # damaged: opening it says so
    found = num_vertices_of(size)
    if found not in (None, num_vertices):
        raise ValueError(
            f"{path}: distances of a mesh of {found} vertices, the surface smpl_{num_vertices} has"
            f" {num_vertices}; to score on the mesh of this folder name the surface smpl_{found}"
        )


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
        FileNotFoundError: a file is missing.
        ValueError: a key is missing, lengths differ, or values are out of range.
    """
    columns = read_columns(charts_path, ("U_subdiv", "V_subdiv", "Part_ID_subdiv"))
    u, v, part = columns
    index = read_columns(vertex_path, ("index",))[0]
    if len(index) != len(u):
        raise ValueError(
            f"{vertex_path}: index has {len(index)} rows, {charts_path} has {len(u)} chart"
            " vertices; the two files do not belong together"
        )
    check_range(charts_path, "U_subdiv", u, 0, 1)
    check_range(charts_path, "V_subdiv", v, 0, 1)
    check_range(charts_path, "Part_ID_subdiv", part, 1, NUM_PARTS, whole=True)
    check_range(vertex_path, "index", index, 1, num_vertices or np.inf, whole=True)
    absent = sorted(set(range(1, NUM_PARTS + 1)) - set(part.astype(int).tolist()))
    if absent:
        raise ValueError(f"{charts_path}: Part_ID_subdiv names no vertex of parts {absent}")
    # Files are 1-based (MATLAB); inside the project vertices are 0-based.
    return OfficialCharts(
        np.stack([u, v], axis=1), part.astype(np.int64), index.astype(np.int64) - 1
    )


def converted_distances(
    folder: Path,
    num_vertices: int,
    cache_dir: Path | None = None,
    *,
    on_progress: Progress = no_progress,
) -> Path:
    """Path of the converted distances, made now unless they are newer than the pickle.

    Args:
        folder: where Pdist_matrix.pkl lies, or what an earlier call made of it.
        num_vertices: V.
        cache_dir: where to keep the result if not beside the pickle.
        on_progress: as for ``convert_distances``.

    Raises:
        FileNotFoundError: neither the pickle nor the result is there.
        ValueError: the pickle is damaged or not of this form.
    """
    pickled, beside = folder / DISTANCE_FILE, folder / CONVERTED_FILE
    writable = os.access(folder, os.W_OK) and cache_dir is None
    in_cache = (cache_dir or default_cache_dir()) / f"{num_vertices}_{CONVERTED_FILE}"
    for path in (beside, in_cache):
        if path.is_file() and not (
            pickled.is_file() and pickled.stat().st_mtime > path.stat().st_mtime
        ):
            return path
    refuse_wrong_kind(pickled, f"{CONVERTED_FILE} is not there either; {BELONGS_HERE}")
    path = beside if writable else in_cache
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.info("converting %s to %s; this is done once", pickled, path)
    convert_distances(pickled, path, num_vertices, on_progress=on_progress)
    return path
