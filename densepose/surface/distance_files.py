"""Distances between all vertices of a mesh: from the pickles of the releases to files for mapping.

Two forms are released. ``Pdist_matrix.pkl`` holds the strict lower triangle, packed row by row
(V (V - 1) / 2 values); ``geodists_<mesh>.pkl`` of the embedding models the whole matrix (V, V).
Both become a .npy file of float32 metres that is mapped into memory: a packed triangle, or the
matrix where it is not symmetric. They are read and written piece by piece, so the memory needed
does not grow with V.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .geodesics import GeodesicDistances, checked_vertices, packed_size
from .numpy_pickle import open_numpy_pickle
from .stored_array import StoredArray

logger = logging.getLogger(__name__)

DISTANCE_KEY = "Pdist_matrix"
# No two points of a body are farther apart along its skin; larger values are not metres.
LARGEST_DISTANCE_M = 10.0
# Values read, checked and written at a time.
_CHUNK = 1 << 22
# Rows of a matrix that are compared with its columns at a time.
_ROWS = 512

Progress = Callable[[int], None]  # is told how many more values are done


def no_progress(_: int) -> None:
    """Tells nobody."""


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
