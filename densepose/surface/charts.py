"""The atlas: 24 charts that give every point of the body a part and coordinates (u, v).

Shapes: V mesh vertices, F triangles, M chart vertices, P points. A mesh vertex on the border
between parts has one chart vertex in each of them. Units: (u, v) in [0, 1], points in metres.
Indices are 0-based; part 0 is background and has no chart.

Conventions of the template's charts: each fills the unit square from 0 to 1 in both directions, so
the scale differs between parts and between u and v. Seen from outside the body with v upwards, u
grows to the right; mirroring the body maps (u, v) to (1 - u, v) of the part on the other side.
v grows upwards in the rest pose, on feet from heel to toes.

An IUV image is (..., 3) uint8 in the order I, U, V: the part, then u and v in steps of 1 / 255.
There are only 24 x 256 x 256 such values, so ``surface_of``, ``vertices_of`` and ``points_of`` read
tables that are made once; ``locate``, ``nearest_vertex`` and ``to_points`` give the same answers
for any (u, v).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densepose.errors import InputError
from densepose.structures.body_parts import NUM_PARTS

from .body import BodyTemplate, load_template, read_baked
from .chart_search import (
    UV_STEPS,
    TriangleSearch,
    VertexSearch,
    gather,
    gather_triples,
    interpolate,
    unknown_part,
)
from .mesh import SurfaceMesh, mesh_fingerprint

SCHEMA = 1
ASSET = Path(__file__).parent / "assets" / "atlas.npz"


@dataclass(frozen=True)
class ChartAtlas:
    """Charts of a mesh. The arrays are not copied and must not be written to."""

    mesh: SurfaceMesh
    face_part: NDArray[np.integer]  # (F,) part of each triangle, 1 to 24
    uv: NDArray[np.float32]  # (M, 2) in [0, 1]
    uv_part: NDArray[np.integer]  # (M,) part of each chart vertex, 1 to 24
    uv_vertex_mesh: NDArray[np.integer]  # (M,) mesh vertex of each chart vertex
    uv_faces: NDArray[np.integer]  # (F, 3) chart vertices of each triangle, corners as in mesh

    def __post_init__(self) -> None:
        self._check_shapes()
        if not np.array_equal(self.uv_vertex_mesh[self.uv_faces], self.mesh.faces):
            raise InputError(
                "atlas: the triangles of the charts do not join the vertices of the mesh's"
            )
        if not np.array_equal(
            self.uv_part[self.uv_faces], np.repeat(self.face_part[:, None], 3, axis=1)
        ):
            raise InputError("atlas: a triangle and its chart vertices belong to different parts")

    def _check_shapes(self) -> None:
        count, faces = len(self.uv), len(self.mesh.faces)
        expected = {
            "uv": (count, 2),
            "uv_part": (count,),
            "uv_vertex_mesh": (count,),
            "uv_faces": (faces, 3),
            "face_part": (faces,),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise InputError(
                    f"atlas: {name} must have shape {shape}, got {getattr(self, name).shape}"
                )
        if count and not (np.min(self.uv) >= 0 and np.max(self.uv) <= 1):
            raise InputError("atlas: u and v must lie in [0, 1]")
        if faces and not (self.uv_faces.min() >= 0 and self.uv_faces.max() < count):
            raise InputError(f"atlas: uv_faces must lie in 0 to {count - 1}")
        if faces and not (self.face_part.min() >= 1 and self.face_part.max() <= NUM_PARTS):
            raise InputError(f"atlas: parts of triangles must be 1 to {NUM_PARTS}")

    @functools.cached_property
    def _triangles(self) -> TriangleSearch:
        return TriangleSearch(self.uv, self.uv_faces, self.face_part)

    @functools.cached_property
    def _vertices(self) -> VertexSearch:
        return VertexSearch(self.uv, self.uv_part)

    def locate(
        self, part: ArrayLike, uv: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Triangle and place in it of each point.

        Args:
            part: (P,) 0 to 24.
            uv: (P, 2); a point outside its chart is moved to the nearest point of the chart.

        Returns:
            (P,) triangles and (P, 3) barycentric coordinates; -1 and zeros for part 0.

        Raises:
            ValueError: a part out of range or without triangles, (u, v) not finite, wrong shapes.
        """
        face, barycentric, _ = self._triangles(*self._checked(part, uv))
        return face, barycentric

    def to_points(
        self, part: ArrayLike, uv: ArrayLike, vertices: NDArray[np.floating] | None = None
    ) -> NDArray[np.float64]:
        """(P,) parts and (P, 2) coordinates -> (P, 3) points; nan for part 0.

        Args:
            part: as for :meth:`locate`.
            uv: as for :meth:`locate`.
            vertices: (V, 3) of the body in another shape or pose; None is the atlas's own mesh.
        """
        vertices = self.mesh.vertices_m if vertices is None else np.asarray(vertices)
        if vertices.shape != self.mesh.vertices_m.shape:
            raise ValueError(
                f"vertices must have shape {self.mesh.vertices_m.shape}, got {vertices.shape}"
            )
        face, barycentric = self.locate(part, uv)
        corners = vertices[self.mesh.faces[face]].astype(np.float64)
        points = np.einsum("pk,pkd->pd", barycentric, corners)
        points[face < 0] = np.nan
        return points

    def nearest_vertex(self, part: ArrayLike, uv: ArrayLike) -> NDArray[np.int64]:
        """Mesh vertex whose place in the part's chart is nearest: what the evaluation takes.

        (P,) parts and (P, 2) coordinates -> (P,); -1 for part 0; the lowest of equally near ones.
        """
        part, uv = self._checked(part, uv)
        return np.where(part == 0, -1, self.uv_vertex_mesh[self._vertices(part, uv)])

    def from_surface(
        self, face: ArrayLike, barycentric: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(P,) triangles and (P, 3) barycentric coordinates -> (P,) parts and (P, 2) coordinates.

        Triangle -1 stands for background: part 0 at (0, 0).
        """
        face, barycentric = np.asarray(face), np.asarray(barycentric, np.float64)
        if barycentric.shape != (*face.shape, 3) or face.ndim != 1:
            raise ValueError(
                "triangles and barycentric coordinates must have shapes (P,) and (P, 3), got"
                f" {face.shape} and {barycentric.shape}"
            )
        num_faces = len(self.uv_faces)
        if face.size and (face.min() < -1 or face.max() >= num_faces):
            raise ValueError(
                f"triangles must be -1 to {num_faces - 1}, got {face.min()} to {face.max()}"
            )
        body = face >= 0
        part = np.where(body, self.face_part[face], 0).astype(np.int64)
        uv = np.einsum("pk,pkd->pd", barycentric, self.uv[self.uv_faces[face]].astype(np.float64))
        return part, np.where(body[:, None], uv, 0.0)

    def from_vertices(self, vertex: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(P,) mesh vertices -> (P,) parts and (P, 2) coordinates; part 0 at (0, 0) for vertex -1.

        A vertex on a border lies in several charts; the one of the lowest part is taken.

        Raises:
            ValueError: a vertex out of range, or one that no triangle uses.
        """
        vertex = np.asarray(vertex)
        if vertex.ndim != 1 or (vertex.size and not np.issubdtype(vertex.dtype, np.integer)):
            raise ValueError(f"vertices must be (P,) integers, got {vertex.shape} {vertex.dtype}")
        num_vertices = self.mesh.num_vertices
        if vertex.size and (vertex.min() < -1 or vertex.max() >= num_vertices):
            raise ValueError(
                f"vertices must be -1 to {num_vertices - 1}, got {vertex.min()} to {vertex.max()}"
            )
        # Written from the highest part to the lowest, so that the lowest stays.
        order = np.lexsort((np.arange(len(self.uv)), self.uv_part))[::-1]
        row = np.full(num_vertices + 1, -1)  # the last entry is background's, vertex -1
        row[self.uv_vertex_mesh[order]] = order
        found = row[vertex]
        lost = (found < 0) & (vertex >= 0)
        if lost.any():
            raise ValueError(
                f"vertex {vertex[lost][0]} belongs to no triangle, so it is in no chart"
            )
        part = np.where(vertex >= 0, np.asarray(self.uv_part, np.int64)[found], 0)
        uv = np.where((vertex >= 0)[:, None], self.uv[found].astype(np.float64), 0.0)
        return part, uv

    def surface_of(self, iuv: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Triangle and place in it of the pixels of an IUV image.

        Args:
            iuv: (..., 3) uint8; a value outside its chart is moved to the nearest point of it.

        Returns:
            (...) triangles and (..., 3) barycentric coordinates; -1 and zeros for background.

        Raises:
            ValueError: not (..., 3) uint8, or a part that has no chart.
        """
        iuv = self._checked_iuv(iuv)
        face, weight = np.empty(iuv.shape[:-1], np.int32), np.empty(iuv.shape, np.float32)
        gather(iuv.reshape(-1, 3), self._iuv_grid.face, face.reshape(-1))
        gather_triples(iuv.reshape(-1, 3), self._iuv_grid.barycentric, weight.reshape(-1, 3))
        return face, weight

    def vertices_of(self, iuv: ArrayLike) -> NDArray[np.int32]:
        """(..., 3) uint8 -> (...) nearest mesh vertex, -1 for background. See ``surface_of``."""
        iuv = self._checked_iuv(iuv)
        vertex = np.empty(iuv.shape[:-1], np.int32)
        gather(iuv.reshape(-1, 3), self._iuv_vertex, vertex.reshape(-1))
        return vertex

    def points_of(
        self, iuv: ArrayLike, vertices_m: NDArray[np.floating] | None = None
    ) -> NDArray[np.float32]:
        """(..., 3) uint8 -> (..., 3) points in metres; nan for background.

        Args:
            iuv: as for ``surface_of``.
            vertices_m: (V, 3) of the body in another shape or pose; the atlas's mesh if None.

        Raises:
            ValueError: as for ``surface_of``, or vertices of another shape.
        """
        iuv = self._checked_iuv(iuv)
        mesh = self.mesh if vertices_m is None else self.mesh.with_vertices(vertices_m)
        points = np.empty(iuv.shape, np.float32)
        interpolate(
            iuv.reshape(-1, 3),
            self._iuv_grid.face,
            self._iuv_grid.barycentric,
            np.ascontiguousarray(mesh.faces),
            np.ascontiguousarray(mesh.vertices_m),
            points.reshape(-1, 3),
        )
        return points

    def _checked_iuv(self, iuv: ArrayLike) -> NDArray[np.uint8]:
        iuv = np.asarray(iuv)
        if iuv.ndim < 1 or iuv.shape[-1] != 3 or iuv.dtype != np.uint8:
            raise ValueError(f"IUV must be (..., 3) uint8, got {iuv.shape} {iuv.dtype}")
        iuv = np.ascontiguousarray(iuv)
        unknown = unknown_part(iuv.reshape(-1, 3), self._has_chart)
        self._require_charts([unknown] if unknown else [])
        return iuv

    @functools.cached_property
    def _has_chart(self) -> NDArray[np.bool_]:
        """(256,) True for background as well."""
        return np.isin(np.arange(256), self._known_parts)

    @functools.cached_property
    def _iuv_grid(self) -> ChartGrid:
        return chart_grid(self, UV_STEPS)

    @functools.cached_property
    def _iuv_vertex(self) -> NDArray[np.int32]:
        """(25, 256, 256)."""
        table = np.full((NUM_PARTS + 1, UV_STEPS + 1, UV_STEPS + 1), -1, np.int32)
        uv = _grid_positions(UV_STEPS)
        for part in self._known_parts[1:]:
            table[part].flat = self.nearest_vertex(np.full(len(uv), part), uv)
        return table

    def _checked(
        self, part: ArrayLike, uv: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        part, uv = np.asarray(part), np.asarray(uv, np.float64)
        if part.ndim != 1 or uv.shape != (len(part), 2):
            raise ValueError(
                f"parts and (u, v) must have shapes (P,) and (P, 2), got {part.shape} and"
                f" {uv.shape}"
            )
        whole = part.astype(np.int64)
        self._require_charts(part[(whole != part) | ~np.isin(whole, self._known_parts)])
        if not np.isfinite(uv).all():
            row = int(np.flatnonzero(~np.isfinite(uv).all(axis=1))[0])
            raise ValueError(f"(u, v) of point {row} is not finite: {uv[row].tolist()}")
        return whole, uv

    def _require_charts(self, unknown: Sequence[float]) -> None:
        if len(unknown):
            raise InputError(
                f"part {unknown[0]} has no chart; expected 0 (background) or one of"
                f" {self._known_parts[1:].tolist()}"
            )

    @functools.cached_property
    def _known_parts(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.unique(self.face_part)]).astype(np.int64)


@functools.lru_cache(maxsize=1)
def load_template_atlas() -> ChartAtlas:
    """The charts of the body shipped with the project; read once, then shared."""
    return read_atlas(ASSET, load_template())


def read_atlas(path: Path, template: BodyTemplate) -> ChartAtlas:
    """Read charts baked for ``template``.

    Raises:
        InputError: no such file; another schema, or baked for another body.
    """
    keys = {"body", "uv", "uv_part", "uv_vertex_mesh", "uv_faces"}
    arrays = read_baked(path, SCHEMA, keys, "tools/assets/bake_atlas")
    if str(arrays["body"]) != body_fingerprint(template):
        raise InputError(
            f"{path}: baked for body {arrays['body']}, but the body here is"
            f" {body_fingerprint(template)}; bake it again with tools/assets/bake_atlas"
        )
    atlas = ChartAtlas(
        mesh=template.mesh,
        face_part=template.face_part,
        uv=arrays["uv"],
        uv_part=arrays["uv_part"].astype(np.int64),
        uv_vertex_mesh=arrays["uv_vertex_mesh"].astype(np.int64),
        uv_faces=arrays["uv_faces"].astype(np.int64),
    )
    for array in (atlas.uv, atlas.uv_part, atlas.uv_vertex_mesh, atlas.uv_faces):
        array.setflags(write=False)
    return atlas


def body_fingerprint(template: BodyTemplate) -> str:
    """Changes with the rest pose, the triangles or their parts: what an atlas is baked for."""
    return mesh_fingerprint(template.mesh.vertices_m, template.mesh.faces, template.face_part)


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
    border = np.full(shape, -1, np.int8)
    uv = _grid_positions(steps)
    for part in np.unique(atlas.face_part).tolist():
        found = atlas._triangles(np.full(len(uv), part), uv)
        for table, values in zip((face, weight, border), found, strict=True):
            table[part] = values.reshape(table[part].shape)
    return ChartGrid(face, weight, border)


def _grid_positions(steps: int) -> NDArray[np.float64]:
    """((steps + 1)^2, 2) positions (i, j) / steps, j running fastest."""
    step = np.arange(steps + 1) / steps
    return np.stack(np.meshgrid(step, step, indexing="ij"), axis=-1).reshape(-1, 2)


def vertex_iuv(atlas: ChartAtlas, vertex: ArrayLike) -> NDArray[np.uint8]:
    """(P,) mesh vertices -> (P, 3) uint8 I, U, V; zeros for -1. See ``from_vertices``."""
    part, uv = atlas.from_vertices(vertex)
    return np.column_stack([part, np.rint(uv * UV_STEPS)]).astype(np.uint8)
