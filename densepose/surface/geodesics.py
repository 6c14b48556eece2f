"""Distances along the surface between all vertices of a mesh.

They are computed once, kept as a packed triangle and looked up by pairs.

Shapes: V vertices, P pairs. The strict lower triangle is packed row by row: the pair i > j lies at
i (i - 1) / 2 + j. Units: metres, float32 (half precision is known to move the metric). Vertices are
0-based.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from scipy.sparse.csgraph import dijkstra

from .fingerprint import mesh_fingerprint
from .mesh import SurfaceMesh
from .scattered_reads import read_scattered
from .straight_lines import MAX_TRIANGLES, straight_line_graph
from .template import load_template

logger = logging.getLogger(__name__)

# Sources of one call to the shortest-path solver: bounds its memory to SOURCES_PER_CHUNK * V
# doubles.
SOURCES_PER_CHUNK = 128


@dataclass(frozen=True)
class GeodesicDistances:
    """Distances between the vertices of one mesh.

    ``triangle`` may be an array in memory or a memory map; only the looked-up pairs are read.
    """

    triangle: np.ndarray  # (V (V - 1) / 2,) float32 metres, packed strict lower triangle
    num_vertices: int

    def __post_init__(self) -> None:
        expected = packed_size(self.num_vertices)
        if self.triangle.shape != (expected,):
            raise ValueError(
                f"distances of {self.num_vertices} vertices need {expected} packed values, got"
                f" shape {self.triangle.shape}"
            )

    @classmethod
    def open(cls, path: str | os.PathLike[str], num_vertices: int) -> GeodesicDistances:
        """Memory-map a .npy file written by :func:`write_geodesics`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a .npy file, or not the size or type ``num_vertices`` asks for.
        """
        try:
            triangle = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(
                f"{path}: not a complete .npy file ({error}); delete it, it is computed again"
            ) from error
        if triangle.dtype != np.float32 or triangle.shape != (packed_size(num_vertices),):
            raise ValueError(
                f"{path}: expected {packed_size(num_vertices)} float32 values for {num_vertices}"
                f" vertices, got shape {triangle.shape} of {triangle.dtype}; delete the file,"
                " it is computed again"
            )
        return cls(triangle, num_vertices)

    def lookup(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances of pairs: (P,) and (P,) vertices -> (P,) float32 metres; any equal shapes.

        Raises:
            ValueError: an index below 0 or not below the number of vertices, or not a whole number.
        """
        a, b = (checked_vertices(index, self.num_vertices) for index in (a, b))
        a, b = np.broadcast_arrays(a, b)
        high, low = np.maximum(a, b), np.minimum(a, b)
        apart = high != low
        distance = np.zeros(a.shape, np.float32)
        distance[apart] = read_scattered(self.triangle, packed_index(high[apart], low[apart]))
        return distance


def checked_vertices(vertex: np.ndarray, num_vertices: int) -> np.ndarray:
    """The same indices as int64.

    Raises:
        ValueError: an index below 0 or not below ``num_vertices``, or not a whole number.
    """
    vertex = np.asarray(vertex)
    if vertex.size and not np.issubdtype(vertex.dtype, np.integer):
        raise ValueError(f"vertex indices must be whole numbers, got {vertex.dtype}")
    vertex = vertex.astype(np.int64)
    if vertex.size and (vertex.min() < 0 or vertex.max() >= num_vertices):
        wrong = vertex.min() if vertex.min() < 0 else vertex.max()
        raise ValueError(
            f"vertex {wrong} is out of range for distances of {num_vertices} vertices;"
            " indices are 0-based"
        )
    return vertex


def packed_size(num_vertices: int) -> int:
    """Number of values in the strict lower triangle."""
    return num_vertices * (num_vertices - 1) // 2


def packed_index(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Place of each pair high > low in the packed triangle."""
    return high * (high - 1) // 2 + low


def write_geodesics(
    path: str | os.PathLike[str], mesh: SurfaceMesh, *, progress: bool = False
) -> None:
    """Compute all distances on a mesh and write them as a packed .npy file, whole or not at all.

    Vertices that no path joins are ``inf`` apart.
    """
    path = Path(path)
    num_vertices = len(mesh.vertices_m)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        packed = np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.float32, shape=(packed_size(num_vertices),)
        )
        _fill_packed(packed, mesh, progress)
        packed.flush()
        del packed
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _fill_packed(packed: np.ndarray, mesh: SurfaceMesh, progress: bool) -> None:
    num_vertices = len(mesh.vertices_m)
    graph = straight_line_graph(mesh.vertices_m, mesh.faces)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not progress, transient=True) as bar:
        task = bar.add_task("distances along the surface", total=num_vertices)
        for start in range(0, num_vertices, SOURCES_PER_CHUNK):
            stop = min(start + SOURCES_PER_CHUNK, num_vertices)
            rows = dijkstra(graph, indices=np.arange(start, stop))
            # Below the diagonal, whole rows of the triangle lie one after another:
            # one stretch of the file.
            below = np.arange(stop)[None, :] < np.arange(start, stop)[:, None]
            packed[packed_size(start) : packed_size(stop)] = rows[:, :stop][below]
            bar.advance(task, stop - start)


def default_cache_dir() -> Path:
    """$DENSEPOSE_CACHE, or ~/.cache/densepose."""
    named = os.environ.get("DENSEPOSE_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "densepose"


def cached_geodesics(
    mesh: SurfaceMesh, cache_dir: str | os.PathLike[str] | None = None, *, progress: bool = True
) -> GeodesicDistances:
    """Distances on a mesh, from the cache or computed into it.

    The file name holds the mesh's fingerprint and the accuracy, so distances of another mesh
    are never read.
    """
    folder = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    num_vertices = len(mesh.vertices_m)
    name = f"geodesics_{mesh_fingerprint(mesh.vertices_m, mesh.faces)}_{MAX_TRIANGLES}.npy"
    path = folder / name
    if not path.exists():
        logger.info("computing the distances between %d vertices into %s", num_vertices, path)
        write_geodesics(path, mesh, progress=progress)
    return GeodesicDistances.open(path, num_vertices)


def template_geodesics(
    cache_dir: str | os.PathLike[str] | None = None, progress: bool = True
) -> GeodesicDistances:
    """Distances on the body shipped with the project, in its rest pose and mean shape."""
    return cached_geodesics(load_template().mesh, cache_dir, progress=progress)
