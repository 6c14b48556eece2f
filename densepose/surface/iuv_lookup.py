"""From the pixels of an IUV image to the body and from its vertices to IUV, by tables.

An IUV image is (..., 3) uint8 in the order I, U, V: the part (0 background), then u and v in steps
of 1 / 255. There are only 24 x 256 x 256 such values, so triangle, place in it and nearest vertex
are worked out once for all of them; a picture then takes milliseconds. Coordinates that are not
whole steps are the business of :class:`ChartAtlas`, which gives the same answers one by one.

Frames: points in metres, in the frame of the mesh they lie on.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import chart_kernels
from .chart_lookup import INSIDE_TOLERANCE, UV_STEPS, border_edges
from .charts import NUM_PARTS, ChartAtlas, load_template_atlas


@dataclass(frozen=True)
class ChartGrid:
    """Where the positions of a regular grid over each chart lie on the surface.

    S steps: position (i, j) of part p is at u = i / S, v = j / S. Parts without a chart, and part
    0, have triangle -1.
    """

    face: NDArray[np.int32]  # (25, S + 1, S + 1)
    barycentric: NDArray[np.float32]  # (25, S + 1, S + 1, 3)
    border_corner: NDArray[np.int8]  # (25, S + 1, S + 1) see below

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(25, S + 1, S + 1) whether the position lies in its chart.

        Others were moved to the nearest point of the chart's border; ``border_corner`` is the
        corner of ``face`` from which the side with that point runs.
        """
        return (self.border_corner < 0) & (self.face >= 0)


def chart_grid(atlas: ChartAtlas, steps: int) -> ChartGrid:
    """What ``atlas.locate`` says at all positions of a grid of ``steps`` x ``steps`` cells."""
    if steps < 1:
        raise ValueError(f"a grid needs at least 1 step, got {steps}")
    shape = (NUM_PARTS + 1, steps + 1, steps + 1)
    face, weight = np.full(shape, -1, np.int32), np.zeros((*shape, 3), np.float32)
    border, depth = np.full(shape, -1, np.int8), np.full(shape, -np.inf)
    part = np.asarray(atlas.face_part, np.int64)
    corners = np.asarray(atlas.uv, np.float64)[atlas.uv_faces]
    chart_kernels.fill_triangles(corners, part, steps, INSIDE_TOLERANCE, face, weight, depth)
    owner, corner = border_edges(np.asarray(atlas.uv_faces, np.int64))
    order = np.argsort(part[owner], kind="stable")
    owner, corner = owner[order], corner[order]
    edge = np.stack([corners[owner, corner], corners[owner, (corner + 1) % 3]], axis=1)
    first = np.searchsorted(part[owner], np.arange(NUM_PARTS + 2))
    chart_kernels.fill_outside(edge, corner, owner, first, steps, face, weight, border)
    return ChartGrid(face, weight, border)


class IuvLookup:
    """Places on the body of the pixels of IUV images; tables are made at the first question."""

    def __init__(self, atlas: ChartAtlas) -> None:
        self.atlas = atlas
        self._has_chart = np.zeros(256, bool)
        self._has_chart[np.unique(atlas.face_part)] = True

    def surface(self, iuv: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Triangle and place in it of each pixel.

        Args:
            iuv: (..., 3) uint8; a value outside its chart is moved to the nearest point of it.

        Returns:
            (...) triangles and (..., 3) barycentric coordinates; -1 and zeros for background.

        Raises:
            ValueError: not (..., 3) uint8, or a part that has no chart.
        """
        iuv, flat = self._checked(iuv)
        face, weight = np.empty(len(flat), np.int32), np.empty((len(flat), 3), np.float32)
        grid = self._grid
        self._require_charts(
            chart_kernels.gather_surface(
                flat, self._has_chart, grid.face, grid.barycentric, face, weight
            )
        )
        return face.reshape(iuv.shape[:-1]), weight.reshape(iuv.shape)

    def vertices(self, iuv: ArrayLike) -> NDArray[np.int32]:
        """(..., 3) uint8 -> (...) nearest mesh vertex, as ``ChartAtlas.nearest_vertex`` finds it.

        -1 for background. Errors as for :meth:`surface`.
        """
        iuv, flat = self._checked(iuv)
        vertex = np.empty(len(flat), np.int32)
        self._require_charts(
            chart_kernels.gather_vertices(flat, self._has_chart, self._vertex_table, vertex)
        )
        return vertex.reshape(iuv.shape[:-1])

    def points(
        self, iuv: ArrayLike, vertices_m: NDArray[np.floating] | None = None
    ) -> NDArray[np.float32]:
        """(..., 3) uint8 -> (..., 3) points in metres; nan for background.

        Args:
            iuv: as for :meth:`surface`.
            vertices_m: (V, 3) of the body in another shape or pose; the atlas's mesh if left out.

        Raises:
            ValueError: as for :meth:`surface`, or vertices of another shape.
        """
        iuv, flat = self._checked(iuv)
        mesh = self.atlas.mesh if vertices_m is None else self.atlas.mesh.with_vertices(vertices_m)
        points = np.empty((len(flat), 3), np.float32)
        grid = self._grid
        faces, vertices = np.ascontiguousarray(mesh.faces), np.ascontiguousarray(mesh.vertices_m)
        self._require_charts(
            chart_kernels.gather_points(
                flat, self._has_chart, grid.face, grid.barycentric, faces, vertices, points
            )
        )
        return points.reshape(iuv.shape)

    def _checked(self, iuv: ArrayLike) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The image and its (P, 3) pixels one after another."""
        iuv = np.asarray(iuv)
        if iuv.ndim < 1 or iuv.shape[-1] != 3 or iuv.dtype != np.uint8:
            raise ValueError(f"IUV must be (..., 3) uint8, got {iuv.shape} {iuv.dtype}")
        return iuv, np.ascontiguousarray(iuv).reshape(-1, 3)

    def _require_charts(self, unknown: int) -> None:
        """Complain of the part without a chart that a loop came upon, if it did."""
        if unknown:
            raise ValueError(
                f"part {unknown} has no chart; expected 0 (background) or one of"
                f" {np.flatnonzero(self._has_chart).tolist()}"
            )

    @functools.cached_property
    def _grid(self) -> ChartGrid:
        return chart_grid(self.atlas, UV_STEPS)

    @functools.cached_property
    def _vertex_table(self) -> NDArray[np.int32]:
        part = np.asarray(self.atlas.uv_part, np.int64)
        order = np.argsort(part, kind="stable")
        table = np.full((NUM_PARTS + 1, UV_STEPS + 1, UV_STEPS + 1), -1, np.int32)
        chart_kernels.fill_vertices(
            np.asarray(self.atlas.uv, np.float64)[order],
            np.asarray(self.atlas.uv_vertex_mesh, np.int64)[order],
            np.searchsorted(part[order], np.arange(NUM_PARTS + 2)),
            UV_STEPS,
            table,
        )
        return table


def vertex_charts(
    atlas: ChartAtlas, vertex: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Part and coordinates of mesh vertices.

    A vertex on a border lies in several charts; the one of the lowest part is taken.

    Args:
        atlas: charts of a mesh with V vertices.
        vertex: (P,) 0 to V - 1; -1 stands for background.

    Returns:
        (P,) parts and (P, 2) coordinates in [0, 1]; part 0 at (0, 0) for background.

    Raises:
        ValueError: a vertex out of range, or one that no triangle uses.
    """
    vertex = np.asarray(vertex)
    if vertex.ndim != 1 or (vertex.size and not np.issubdtype(vertex.dtype, np.integer)):
        raise ValueError(f"vertices must be (P,) integers, got {vertex.shape} {vertex.dtype}")
    num_vertices = atlas.mesh.num_vertices
    if vertex.size and (vertex.min() < -1 or vertex.max() >= num_vertices):
        raise ValueError(
            f"vertices must be -1 to {num_vertices - 1}, got {vertex.min()} to {vertex.max()}"
        )
    # Written from the highest part to the lowest, so that the lowest stays.
    order = np.lexsort((np.arange(len(atlas.uv)), atlas.uv_part))[::-1]
    row = np.full(num_vertices + 1, -1)  # the last entry is background's, vertex -1
    row[atlas.uv_vertex_mesh[order]] = order
    found = row[vertex]
    lost = (found < 0) & (vertex >= 0)
    if lost.any():
        raise ValueError(f"vertex {vertex[lost][0]} belongs to no triangle, so it is in no chart")
    part = np.where(vertex >= 0, np.asarray(atlas.uv_part, np.int64)[found], 0)
    uv = np.where((vertex >= 0)[:, None], atlas.uv[found].astype(np.float64), 0.0)
    return part, uv


def vertex_iuv(atlas: ChartAtlas, vertex: ArrayLike) -> NDArray[np.uint8]:
    """(P,) mesh vertices -> (P, 3) uint8 I, U, V; zeros for vertex -1. See ``vertex_charts``."""
    part, uv = vertex_charts(atlas, vertex)
    return np.column_stack([part, np.rint(uv * UV_STEPS)]).astype(np.uint8)


@functools.lru_cache(maxsize=1)
def template_iuv_lookup() -> IuvLookup:
    """Tables of the body shipped with the project; made once, then shared."""
    return IuvLookup(load_template_atlas())
