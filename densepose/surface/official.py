"""The surface DensePose-COCO is scored on: the subdivided SMPL mesh of the official evaluators.

Three files, named and formed as the official release has them (M chart vertices, V = 27,554 mesh
vertices; the files are under the SMPL licence and are not part of this project):

==========================  =====================================================================
SMPL_subdiv.mat             U_subdiv, V_subdiv (M, 1) in [0, 1]; Part_ID_subdiv (M, 1), 1 to 24
SMPL_SUBDIV_TRANSFORM.mat   index (M, 1): 1-based mesh vertex of each chart vertex
Pdist_matrix.pkl            {"Pdist_matrix": (V (V - 1) / 2, 1)}: distances in metres, strict lower
                            triangle row by row
==========================  =====================================================================

The distances are converted once to a float32 array that is mapped into memory.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.io import loadmat
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from .evaluation_surface import EvaluationSurface
from .geodesics import GeodesicDistances, default_cache_dir, packed_size
from .numpy_pickle import load_numpy_pickle

logger = logging.getLogger(__name__)

SURFACE_NAME = "smpl_27554"
NUM_VERTICES = 27554
NUM_PARTS = 24
CHARTS_FILE = "SMPL_subdiv.mat"
VERTEX_FILE = "SMPL_SUBDIV_TRANSFORM.mat"
DISTANCE_FILE = "Pdist_matrix.pkl"
CONVERTED_FILE = "Pdist_matrix.float32.npy"
_DISTANCE_KEY = "Pdist_matrix"
# No two points of a body are farther apart along its skin; larger values are not metres.
_LARGEST_DISTANCE_M = 10.0
# Values converted at a time: bounds the memory beside the loaded pickle.
_CHUNK = 1 << 24
# Two chart vertices whose distances to a point differ by less than this are compared exactly.
_NEARLY_EQUAL = 1e-9


@dataclass(frozen=True)
class OfficialCharts:
    """Chart vertices of the subdivided mesh."""

    uv: NDArray[np.float64]  # (M, 2)
    part: NDArray[np.int64]  # (M,) 1 to 24
    mesh_vertex: NDArray[np.int64]  # (M,) 0-based
    _trees: dict[int, tuple[NDArray[np.int64], cKDTree]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        members = {
            int(number): np.flatnonzero(self.part == number) for number in np.unique(self.part)
        }
        trees = {number: (rows, cKDTree(self.uv[rows])) for number, rows in members.items()}
        object.__setattr__(self, "_trees", trees)

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
        part, uv = np.asarray(part, np.int64), np.asarray(uv, np.float64)
        vertex = np.full(len(part), -1)
        for number in np.unique(part[part != 0]):
            if int(number) not in self._trees:
                raise ValueError(f"no chart of part {number}; there are {sorted(self._trees)}")
            mine = part == number
            vertex[mine] = self.mesh_vertex[self._nearest_row(int(number), uv[mine])]
        return vertex

    def _nearest_row(self, number: int, uv: NDArray[np.float64]) -> NDArray[np.int64]:
        rows, tree = self._trees[number]
        if len(rows) == 1:
            return np.full(len(uv), rows[0])
        distance, place = tree.query(uv, k=2)
        nearest = place[:, 0].astype(np.int64)
        close = np.flatnonzero(distance[:, 1] - distance[:, 0] < _NEARLY_EQUAL)
        # The official evaluators take the first minimum of these very distances.
        for block in np.array_split(close, max(1, len(close) // 4096)):
            nearest[block] = cdist(uv[block], self.uv[rows]).argmin(axis=1)
        return rows[nearest]


def load_official_surface(
    data_dir: str | os.PathLike[str],
    *,
    num_vertices: int = NUM_VERTICES,
    cache_dir: str | os.PathLike[str] | None = None,
) -> EvaluationSurface:
    """The official evaluation surface from its three files.

    The first call converts the distances (needs twice their size in memory for a moment) and keeps
    the result beside them, or in the cache where that folder can not be written. Later calls take
    milliseconds and need only the result.

    Args:
        data_dir: folder of the files.
        num_vertices: vertices of the mesh; only stand-in files for tests have another number.
        cache_dir: where to keep the result if not beside the files.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or not of the form described above.
    """
    folder = Path(data_dir)
    charts = read_charts(folder / CHARTS_FILE, folder / VERTEX_FILE, num_vertices)
    path = _converted_distances(
        folder, num_vertices, None if cache_dir is None else Path(cache_dir)
    )
    name = SURFACE_NAME if num_vertices == NUM_VERTICES else f"smpl_{num_vertices}"
    return EvaluationSurface(name, charts, GeodesicDistances.open(path, num_vertices))


def read_charts(
    charts_path: str | os.PathLike[str],
    vertex_path: str | os.PathLike[str],
    num_vertices: int = NUM_VERTICES,
) -> OfficialCharts:
    """Chart vertices from SMPL_subdiv.mat and SMPL_SUBDIV_TRANSFORM.mat.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a key is missing, lengths differ, or values are out of range.
    """
    columns = _read_columns(charts_path, ("U_subdiv", "V_subdiv", "Part_ID_subdiv"))
    u, v, part = columns
    index = _read_columns(vertex_path, ("index",))[0]
    if len(index) != len(u):
        raise ValueError(
            f"{vertex_path}: index has {len(index)} rows, {charts_path} has {len(u)} chart"
            " vertices; the two files do not belong together"
        )
    _check_range(charts_path, "U_subdiv", u, 0, 1)
    _check_range(charts_path, "V_subdiv", v, 0, 1)
    _check_range(charts_path, "Part_ID_subdiv", part, 1, NUM_PARTS, whole=True)
    _check_range(vertex_path, "index", index, 1, num_vertices, whole=True)
    absent = sorted(set(range(1, NUM_PARTS + 1)) - set(part.astype(int).tolist()))
    if absent:
        raise ValueError(f"{charts_path}: Part_ID_subdiv names no vertex of parts {absent}")
    # Files are 1-based (MATLAB); inside the project vertices are 0-based.
    return OfficialCharts(
        np.stack([u, v], axis=1), part.astype(np.int64), index.astype(np.int64) - 1
    )


def convert_distances(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    num_vertices: int = NUM_VERTICES,
) -> None:
    """Write Pdist_matrix.pkl as a packed float32 .npy file, whole or not at all.

    Raises:
        FileNotFoundError: no such pickle.
        ValueError: it does not hold the distances of ``num_vertices`` vertices in metres.
    """
    content = load_numpy_pickle(source)
    if not isinstance(content, dict) or not isinstance(content.get(_DISTANCE_KEY), np.ndarray):
        keys = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{source}: expected a dict with the array {_DISTANCE_KEY!r}, got {keys}")
    distances = content.pop(_DISTANCE_KEY)
    if distances.size != packed_size(num_vertices) or distances.dtype.kind != "f":
        raise ValueError(
            f"{source}: expected {packed_size(num_vertices)} distances of {num_vertices} vertices,"
            f" got shape {distances.shape} of {distances.dtype}"
        )
    if distances.dtype == np.float64:
        logger.warning("%s: holds float64 values, they are kept as float32", source)
    target = Path(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        packed = np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.float32, shape=(distances.size,)
        )
        flat = distances.reshape(-1)
        for start in range(0, len(flat), _CHUNK):
            chunk = flat[start : start + _CHUNK].astype(np.float32)
            _check_range(source, _DISTANCE_KEY, chunk, 0, _LARGEST_DISTANCE_M)
            packed[start : start + _CHUNK] = chunk
        packed.flush()
        del packed
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _converted_distances(folder: Path, num_vertices: int, cache_dir: Path | None) -> Path:
    """Path of the converted distances, made now unless they are newer than the pickle."""
    pickled, beside = folder / DISTANCE_FILE, folder / CONVERTED_FILE
    writable = os.access(folder, os.W_OK) and cache_dir is None
    in_cache = (cache_dir or default_cache_dir()) / f"{num_vertices}_{CONVERTED_FILE}"
    for path in (beside, in_cache):
        if path.is_file() and not (
            pickled.is_file() and pickled.stat().st_mtime > path.stat().st_mtime
        ):
            return path
    if not pickled.is_file():
        raise FileNotFoundError(
            f"{pickled}: missing, and {CONVERTED_FILE} is not there either; the official evaluation"
            " files belong into this folder (datasets/README.md lists them)"
        )
    path = beside if writable else in_cache
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.info("converting %s to %s; this is done once", pickled, path)
    convert_distances(pickled, path, num_vertices)
    return path


def _read_columns(
    path: str | os.PathLike[str], names: tuple[str, ...]
) -> list[NDArray[np.float64]]:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path}: missing; the official evaluation files belong into this folder"
            " (datasets/README.md lists them)"
        )
    try:
        content = loadmat(path)
    except Exception as error:  # scipy raises many kinds on a damaged file
        raise ValueError(f"{path}: not a complete MATLAB file ({error}); fetch it again") from error
    missing = [name for name in names if name not in content]
    if missing:
        held = sorted(key for key in content if not key.startswith("__"))
        raise ValueError(f"{path}: no {missing[0]!r}; it holds {held}")
    columns = [np.asarray(content[name]) for name in names]
    for name, column in zip(names, columns, strict=True):
        if column.dtype.kind not in "fiu" or column.size != max(column.shape, default=0):
            raise ValueError(
                f"{path}: {name} must be one column of numbers, got shape {column.shape} of"
                f" {column.dtype}"
            )
    flat = [column.reshape(-1).astype(np.float64) for column in columns]
    if len({len(column) for column in flat}) != 1:
        lengths = {name: len(column) for name, column in zip(names, flat, strict=True)}
        raise ValueError(f"{path}: columns of different lengths: {lengths}")
    return flat


def _check_range(
    path: str | os.PathLike[str],
    name: str,
    values: NDArray[np.floating],
    low: float,
    high: float,
    *,
    whole: bool = False,
) -> None:
    wrong = ~((values >= low) & (values <= high))
    if whole:
        wrong |= values != np.floor(values)
    if wrong.any():
        raise ValueError(
            f"{path}: {name} must be {'whole numbers ' if whole else ''}from {low} to {high}, got"
            f" {values[wrong][0]} ({int(wrong.sum())} wrong values)"
        )
