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

import functools
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densepose.structures.body_parts import NUM_PARTS

from ..chart_search import VertexSearch
from ..evaluation_surface import EvaluationSurface
from ..geodesics import GeodesicDistances, checked_vertices, default_cache_dir, packed_size
from .pickles import StoredArray, open_numpy_pickle
from .reading import BELONGS_HERE, check_range, read_columns, refuse_wrong_kind

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]  # gets how many more values are done


def no_progress(_: int) -> None:
    """Do nothing."""


SURFACE_NAME = "smpl_27554"
NUM_VERTICES = 27554
CHARTS_FILE = "SMPL_subdiv.mat"
VERTEX_FILE = "SMPL_SUBDIV_TRANSFORM.mat"
DISTANCE_FILE = "Pdist_matrix.pkl"
CONVERTED_FILE = "Pdist_matrix.float32.npy"


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
            ValueError: a part the charts do not have.
        """
        part, uv = np.asarray(part, np.int64), np.asarray(uv, np.float64).reshape(-1, 2)
        wanted = np.unique(part[part != 0])
        there = np.unique(self.part)
        absent = wanted[~np.isin(wanted, there)]
        if len(absent):
            raise ValueError(f"no chart of part {absent[0]}; there are {there.tolist()}")
        return np.where(part == 0, -1, self.mesh_vertex[self._vertices(part, uv)])


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


logger = logging.getLogger(__name__)

DISTANCE_KEY = "Pdist_matrix"
# No two points of a body are farther apart along its skin; larger values are not metres.
LARGEST_DISTANCE_M = 10.0
# Values read, checked and written at a time.
_CHUNK = 1 << 22
# Rows of a matrix that are compared with its columns at a time.
_ROWS = 512


@dataclass(frozen=True)
class MatrixDistances:
    """Distances that differ between there and back; ``matrix`` may be a memory map."""

    matrix: np.ndarray  # (V, V) float32, from the row's vertex to the column's

    @property
    def num_vertices(self) -> int:
        """V."""
        return len(self.matrix)

    def lookup(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances of pairs: (P,) and (P,) vertices -> (P,) float32 metres; any equal shapes.

        Raises:
            ValueError: an index below 0 or not below the number of vertices, or not a whole number.
        """
        a, b = (checked_vertices(index, self.num_vertices) for index in (a, b))
        return np.asarray(self.matrix[tuple(np.broadcast_arrays(a, b))])


def stored_distances(source: str | os.PathLike[str]) -> StoredArray:
    """The packed distances of Pdist_matrix.pkl, not read yet.

    Raises:
        FileNotFoundError: no such pickle.
        ValueError: it is damaged, or holds something else.
    """
    content = open_numpy_pickle(source)
    found = content.get(DISTANCE_KEY) if isinstance(content, dict) else None
    if not isinstance(found, StoredArray):
        keys = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{source}: expected a dict with the array {DISTANCE_KEY!r}, got {keys}")
    return found


def num_vertices_of(num_distances: int) -> int | None:
    """V for V (V - 1) / 2 distances; None where no number of vertices has so many."""
    count = (1 + math.isqrt(1 + 8 * num_distances)) // 2
    return count if packed_size(count) == num_distances else None


def convert_distances(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    num_vertices: int,
    *,
    on_progress: Progress = no_progress,
) -> None:
    """Write Pdist_matrix.pkl as a packed float32 .npy file, whole or not at all.

    Args:
        source: the pickle.
        target: the .npy file.
        num_vertices: V.
        on_progress: is told how many more of the V (V - 1) / 2 values are written.

    Raises:
        FileNotFoundError: no such pickle.
        ValueError: it does not hold the distances of ``num_vertices`` vertices in metres.
    """
    distances = stored_distances(source)
    column = distances.size == max(distances.shape, default=0)
    if distances.size != packed_size(num_vertices) or not column or distances.dtype.kind != "f":
        fits = num_vertices_of(distances.size)
        meaning = f", as of {fits} vertices" if fits else ""
        raise ValueError(
            f"{source}: expected {packed_size(num_vertices)} distances of {num_vertices} vertices,"
            f" got shape {distances.shape} of {distances.dtype}{meaning}"
        )
    if distances.dtype.itemsize > 4:
        logger.warning("%s: holds %s values, they are kept as float32", source, distances.dtype)
    with _new_array_file(Path(target), (distances.size,)) as file:
        _copy_checked(distances, file, str(source), LARGEST_DISTANCE_M, on_progress)


def convert_distance_matrix(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    num_vertices: int | None = None,
    *,
    on_progress: Progress = no_progress,
) -> bool:
    """Write geodists_<mesh>.pkl as a .npy file, whole or not at all.

    Needs the size of the matrix on disk for a moment, beside the result.

    Args:
        source: the pickle, an array (V, V).
        target: the .npy file: (V (V - 1) / 2,) if the matrix is symmetric to the last bit with
            zeros on the diagonal, else (V, V).
        num_vertices: V, where it is known.
        on_progress: is told how many more of the V * V values are read.

    Returns:
        Whether the matrix is symmetric.

    Raises:
        FileNotFoundError: no such pickle.
        ValueError: it holds something else, or distances that are negative or not finite.
    """
    matrix = open_numpy_pickle(source)
    shape = matrix.shape if isinstance(matrix, StoredArray) else None
    square = shape is not None and len(shape) == 2 and shape[0] == shape[1] > 0
    if not square or matrix.dtype.kind != "f" or shape[0] != (num_vertices or shape[0]):
        got = f"shape {shape} of {matrix.dtype}" if shape is not None else type(matrix).__name__
        wanted = num_vertices or "V"
        raise ValueError(f"{source}: expected a ({wanted}, {wanted}) array of floats, got {got}")
    target, count = Path(target), shape[0]
    whole = target.with_name(f".{target.name}.{os.getpid()}.matrix")
    try:
        with _new_array_file(whole, shape, fortran=matrix.fortran) as file:
            _copy_checked(matrix, file, str(source), np.finfo(np.float32).max, on_progress)
        if symmetric := _is_symmetric(whole, count):
            with _new_array_file(target, (packed_size(count),)) as file:
                for rows, start in _row_blocks(whole, count):
                    below = np.arange(count) < np.arange(start, start + len(rows))[:, None]
                    file.write(rows[below].tobytes())
        else:
            logger.warning("%s: not symmetric; kept as a whole matrix", source)
            os.replace(whole, target)
    finally:
        whole.unlink(missing_ok=True)
    return symmetric


def open_distances(
    path: str | os.PathLike[str], num_vertices: int
) -> GeodesicDistances | MatrixDistances:
    """Map a file of either form into memory.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not of ``num_vertices`` vertices.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a complete .npy file ({error}); convert it again") from error
    if array.dtype == np.float32 and array.shape == (num_vertices, num_vertices):
        return MatrixDistances(array)
    return GeodesicDistances.open(path, num_vertices)


@contextmanager
def _new_array_file(
    path: Path, shape: tuple[int, ...], *, fortran: bool = False
) -> Iterator[BinaryIO]:
    """A float32 .npy file to write values into; it gets its name when they are all there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    header = {"descr": "<f4", "fortran_order": fortran, "shape": shape}
    try:
        with open(temporary, "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _copy_checked(
    values: StoredArray, file: BinaryIO, source: str, largest: float, on_progress: Progress
) -> None:
    for block in values.blocks(_CHUNK):
        wrong = ~((block >= 0) & (block <= largest))
        if wrong.any():
            raise ValueError(
                f"{source}: distances must be from 0 to {largest:g}, got {block[wrong][0]}"
                f" ({int(wrong.sum())} wrong values among {len(block)})"
            )
        file.write(block.astype("<f4", copy=False).tobytes())
        on_progress(len(block))


def _row_blocks(path: Path, count: int) -> Iterator[tuple[NDArray[np.float32], int]]:
    """The first ``count`` rows of a (V, V) .npy file and where they start, some at a time."""
    for start in range(0, count, _ROWS):
        # Mapped anew each time, so that the pages of the last turn are let go.
        yield np.load(path, mmap_mode="r")[start : min(start + _ROWS, count)], start


def _is_symmetric(path: Path, count: int) -> bool:
    for rows, start in _row_blocks(path, count):
        stop = start + len(rows)
        if rows[:, start:].diagonal().any():
            return False
        for columns, first in _row_blocks(path, stop):
            if not np.array_equal(rows[:, first : first + len(columns)], columns[:, start:stop].T):
                return False
    return True
