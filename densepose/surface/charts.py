"""The atlas: 24 charts that give every point of the body a part and coordinates (u, v).

Shapes: V mesh vertices, F triangles, M chart vertices, P points. A mesh vertex on the border
between parts has one chart vertex in each of them. Units: (u, v) in [0, 1], points in metres.
Indices are 0-based; part 0 is background and has no chart.

Conventions of the template's charts: each fills the unit square from 0 to 1 in both directions, so
the scale differs between parts and between u and v. Seen from outside the body with v upwards, u
grows to the right; mirroring the body maps (u, v) to (1 - u, v) of the part on the other side.
v grows upwards in the rest pose, on feet from heel to toes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .chart_lookup import NearestVertexFinder, TriangleFinder
from .fingerprint import mesh_fingerprint
from .mesh import SurfaceMesh
from .template import BodyTemplate, load_template

SCHEMA = 1
NUM_PARTS = 24
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
            raise ValueError(
                "atlas: the triangles of the charts do not join the vertices of the mesh's"
            )
        if not np.array_equal(
            self.uv_part[self.uv_faces], np.repeat(self.face_part[:, None], 3, axis=1)
        ):
            raise ValueError("atlas: a triangle and its chart vertices belong to different parts")

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
                raise ValueError(
                    f"atlas: {name} must have shape {shape}, got {getattr(self, name).shape}"
                )
        if count and not (np.min(self.uv) >= 0 and np.max(self.uv) <= 1):
            raise ValueError("atlas: u and v must lie in [0, 1]")
        if faces and not (self.uv_faces.min() >= 0 and self.uv_faces.max() < count):
            raise ValueError(f"atlas: uv_faces must lie in 0 to {count - 1}")
        if faces and not (self.face_part.min() >= 1 and self.face_part.max() <= NUM_PARTS):
            raise ValueError(f"atlas: parts of triangles must be 1 to {NUM_PARTS}")

    @functools.cached_property
    def _triangles(self) -> TriangleFinder:
        return TriangleFinder(self.uv, self.uv_faces, self.face_part)

    @functools.cached_property
    def _vertices(self) -> NearestVertexFinder:
        return NearestVertexFinder(self.uv, self.uv_part)

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
        part, uv = self._checked(part, uv)
        face = np.full(len(part), -1)
        barycentric = np.zeros((len(part), 3))
        body = np.flatnonzero(part)
        face[body], barycentric[body] = self._triangles(part[body], uv[body])
        return face, barycentric

    def to_points(
        self, part: ArrayLike, uv: ArrayLike, vertices: NDArray[np.floating] | None = None
    ) -> NDArray[np.float64]:
        """(P,) parts and (P, 2) coordinates -> (P, 3) points; nan for part 0.

        Args:
            part: as for :meth:`locate`.
            uv: as for :meth:`locate`.
            vertices: (V, 3) of the body in another shape or pose; the atlas's own mesh if left out.
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
        vertex = np.full(len(part), -1, np.int64)
        body = np.flatnonzero(part)
        vertex[body] = self.uv_vertex_mesh[self._vertices(part[body], uv[body])]
        return vertex

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
        unknown = (whole != part) | ~np.isin(whole, self._known_parts)
        if unknown.any():
            raise ValueError(
                f"part {part[unknown][0]} has no chart; expected 0 (background) or one of"
                f" {self._known_parts[1:].tolist()}"
            )
        if not np.isfinite(uv).all():
            row = int(np.flatnonzero(~np.isfinite(uv).all(axis=1))[0])
            raise ValueError(f"(u, v) of point {row} is not finite: {uv[row].tolist()}")
        return whole, uv

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
        FileNotFoundError: no such file.
        ValueError: another schema, or baked for another body.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no baked atlas here; reinstall the package or run tools/bake_atlas.py"
        )
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if int(arrays.get("schema", 0)) != SCHEMA:
        raise ValueError(
            f"{path}: schema {arrays.get('schema')}, this version reads schema {SCHEMA};"
            " bake it again with tools/bake_atlas.py"
        )
    for name in ("body", "uv", "uv_part", "uv_vertex_mesh", "uv_faces"):
        if name not in arrays:
            raise ValueError(f"{path}: {name} is missing; bake it again with tools/bake_atlas.py")
    if str(arrays["body"]) != body_fingerprint(template):
        raise ValueError(
            f"{path}: baked for body {arrays['body']}, but the body here is"
            f" {body_fingerprint(template)}; bake it again with tools/bake_atlas.py"
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
