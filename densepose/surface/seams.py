"""Where the charts of two parts meet: the same line of the surface, seen in both.

A *seam* is a side of a triangle that is on the border of its chart while the mesh continues behind
it: in another part, or in the same part where a chart was cut open. Coordinates (u, v) in [0, 1],
lengths in metres. Shapes: E seam sides, each counted from both of its ends; P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .charts import ChartAtlas, chart_grid
from .mesh import adjacent_triangles, border_sides, face_normals


@dataclass(frozen=True)
class Seams:
    """Both sides of each seam; corner k of a triangle starts the side to corner k + 1."""

    face: NDArray[np.int64]  # (E,) triangle
    corner: NDArray[np.int64]  # (E,) corner its side starts from
    other_face: NDArray[np.int64]  # (E,) triangle behind the side
    other_corner: NDArray[np.int64]  # (E,) where the same side starts there, at its other end


@dataclass(frozen=True)
class PairedPoints:
    """Points that are in the charts of two parts, or beyond the border of the first."""

    part: NDArray[np.int64]  # (P,)
    uv: NDArray[np.float64]  # (P, 2)
    other_part: NDArray[np.int64]  # (P,)
    other_uv: NDArray[np.float64]  # (P, 2)


def find_seams(atlas: ChartAtlas) -> Seams:
    """All sides at which the atlas is cut, from both sides; borders of the mesh itself are none."""
    face, corner = border_sides(atlas.uv_faces)
    other, side = (table[face, corner] for table in adjacent_triangles(atlas.mesh.faces))
    has = other >= 0
    return Seams(face[has], corner[has], other[has], side[has])


def points_beyond_seams(
    atlas: ChartAtlas, steps: int, reach: float
) -> tuple[PairedPoints, NDArray[np.int64]]:
    """Grid positions outside a chart but near a seam, and where the surface continues there.

    The neighbour's triangle is laid flat against the seam, and the way from the seam to the
    position is walked on it: to first order, what the chart would show if it did not end.

    Args:
        atlas: charts.
        steps: S; position (i, j) of a part is u = i / S, v = j / S.
        reach: largest distance from the chart, in u and v.

    Returns:
        The positions with their places in the neighbours' charts, moved to [0, 1]^2 where they are
        outside of it, and (P, 2) their i and j.
    """
    grid = chart_grid(atlas, steps)
    part, i, j = np.nonzero(grid.border_corner >= 0)
    face, corner = grid.face[part, i, j].astype(np.int64), grid.border_corner[part, i, j]
    corner = corner.astype(np.int64)
    weight, uv = grid.barycentric[part, i, j], np.stack([i, j], axis=1) / steps
    offset = uv - np.einsum("pk,pkd->pd", weight, atlas.uv[atlas.uv_faces[face]])
    seams = find_seams(atlas)
    behind = np.full((len(atlas.uv_faces), 3), -1)
    behind[seams.face, seams.corner] = seams.other_face
    other = behind[face, corner]
    kept = np.flatnonzero((other >= 0) & (np.linalg.norm(offset, axis=1) <= reach))
    part, face, corner, other = part[kept], face[kept], corner[kept], other[kept]
    point = _unfolded(atlas, face, corner, other, weight[kept], offset[kept])
    other_uv = np.clip(chart_position(atlas, other, point), 0, 1)
    other_part = atlas.face_part[other].astype(np.int64)
    paired = PairedPoints(part.astype(np.int64), uv[kept], other_part, other_uv)
    return paired, np.stack([i[kept], j[kept]], axis=1)


def _unfolded(
    atlas: ChartAtlas,
    face: NDArray[np.int64],
    corner: NDArray[np.int64],
    other: NDArray[np.int64],
    weight: NDArray[np.floating],
    offset: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(P, 3) points in the planes of the other triangles, ``offset`` in (u, v) from the seam."""
    mesh = atlas.mesh
    vertices = mesh.vertices_m.astype(np.float64)
    corners = vertices[mesh.faces[face]]
    sides_m = corners[:, 1:] - corners[:, :1]
    uv = atlas.uv[atlas.uv_faces[face]].astype(np.float64)
    to_metres = np.linalg.pinv(uv[:, 1:] - uv[:, :1]) @ sides_m  # (P, 2, 3)
    move = np.einsum("pa,pad->pd", offset, to_metres)
    row = np.arange(len(face))
    along = corners[row, (corner + 1) % 3] - corners[row, corner]
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), np.finfo(float).tiny)
    normal = face_normals(vertices, mesh.faces)
    outward = np.cross(along, normal[face])  # the triangle is at the left of its side
    onward = np.cross(along, normal[other])
    seam = np.einsum("pk,pkd->pd", weight, corners)
    return (
        seam
        + np.einsum("pd,pd->p", move, along)[:, None] * along
        + np.einsum("pd,pd->p", move, outward)[:, None] * onward
    )


def chart_position(
    atlas: ChartAtlas, face: NDArray[np.int64], points_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(P, 2) coordinates of points in the planes of triangles, by each one's linear map."""
    corners = atlas.mesh.vertices_m.astype(np.float64)[atlas.mesh.faces[face]]
    uv = atlas.uv[atlas.uv_faces[face]].astype(np.float64)
    sides_m = corners[:, 1:] - corners[:, :1]
    weight = (points_m - corners[:, 0])[:, None] @ np.linalg.pinv(sides_m)
    return uv[:, 0] + (weight @ (uv[:, 1:] - uv[:, :1]))[:, 0]
