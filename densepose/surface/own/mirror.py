"""Left and right of a mesh of the user's own: its mirror plane, and what a flip does to charts.

Shapes: V vertices, F triangles. Lengths in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from densepose.structures.body_parts import NUM_PARTS, flipped_coarse, flipped_parts

from ..chart_search import UV_STEPS
from ..charts import ChartAtlas, chart_grid
from ..mesh import SurfaceMesh
from ..nearest_place import NearestPlace
from ..symmetry import ChartSymmetry

# A mesh is symmetric when 95 % of its mirrored vertices are nearer to a vertex than this fraction
# of its size, about a vertex spacing.
TOLERANCE = 0.02
# Rounds of pairing vertices with mirrored ones and moving the plane to the middle of the pairs.
MATCHING_ROUNDS = 30


@dataclass(frozen=True)
class MirrorPlane:
    """A plane across an axis that maps the mesh to itself."""

    axis: int  # 0 x, 1 y, 2 z
    offset_m: float  # the plane is at this coordinate
    vertex: NDArray[np.int64]  # (V,) vertex nearest to the mirror image
    side: NDArray[np.int8]  # (V,) 1, -1, or 0 for a vertex that is its own image
    error_m: float  # 95 % of the images are nearer to a vertex than this
    paired: float  # fraction of vertices that are the image of their image

    def mirrored(self, points_m: NDArray[np.floating]) -> NDArray[np.float64]:
        """(P, 3) points -> (P, 3) their mirror images."""
        points = np.array(points_m, np.float64)
        points[:, self.axis] = 2 * self.offset_m - points[:, self.axis]
        return points


def find_mirror_plane(mesh: SurfaceMesh, axis: int | None = None) -> MirrorPlane | None:
    """The plane across x, y or z that fits best, if one does.

    A few vertices without mirror image do not move it: it lies in the middle of most pairs.

    Args:
        mesh: in a symmetric pose.
        axis: try this one only.
    """
    used = np.unique(mesh.faces)
    size = np.linalg.norm(np.ptp(mesh.vertices_m[used].astype(np.float64), axis=0))
    tree = cKDTree(mesh.vertices_m[used].astype(np.float64))
    planes = [_plane(mesh, used, tree, a) for a in ((0, 1, 2) if axis is None else (axis,))]
    # A body that is symmetric front to back as well has its left and right across the first axis.
    least = min(plane.error_m for plane in planes)
    best = next(plane for plane in planes if plane.error_m <= least + 0.05 * TOLERANCE * size)
    return best if best.error_m <= TOLERANCE * size else None


def _plane(mesh: SurfaceMesh, used: NDArray[np.int64], tree: cKDTree, axis: int) -> MirrorPlane:
    vertices = mesh.vertices_m.astype(np.float64)
    along = vertices[used, axis]
    # The middle of the extremes is where a sound mesh has its plane; one stray vertex moves it, so
    # the middle of the bulk is tried as well.
    starts = (0.5 * (along.min() + along.max()), along.mean(), float(np.median(along)))
    offset = min(_refined(vertices[used], tree, axis, start) for start in starts)[1]
    image = vertices.copy()
    image[:, axis] = 2 * offset - image[:, axis]
    gap, near = tree.query(image)
    vertex = used[near]
    number = np.arange(len(vertex))
    side = np.where(vertex == number, 0, np.sign(vertices[:, axis] - offset)).astype(np.int8)
    return MirrorPlane(
        axis,
        float(offset),
        vertex,
        side,
        float(np.percentile(gap[used], 95)),
        float((vertex[vertex] == number)[used].mean()),
    )


def _refined(
    points: NDArray[np.float64], tree: cKDTree, axis: int, offset: float
) -> tuple[float, float]:
    """After matching: what 95 % of the images are nearer to a point than, and the plane."""
    image = points.copy()
    for _ in range(MATCHING_ROUNDS):
        image[:, axis] = 2 * offset - points[:, axis]
        gap, near = tree.query(image)
        moved = float(np.median(0.5 * (points[:, axis] + points[near, axis])))
        if moved == offset:
            break
        offset = moved
    return float(np.percentile(gap, 95)), offset


def flipped_own_parts(atlas: ChartAtlas, mirror: MirrorPlane) -> NDArray[np.int64] | None:
    """(25,) part on the other side, by where most triangles of a part come to lie.

    Parts without triangles stay. None where that is not an exchange of pairs: left and right are
    divided into different parts.
    """
    vertices = atlas.mesh.vertices_m.astype(np.float64)
    centre = vertices[atlas.mesh.faces].mean(axis=1)
    near = cKDTree(centre).query(mirror.mirrored(centre))[1]
    votes = np.zeros((NUM_PARTS + 1, NUM_PARTS + 1), np.int64)
    np.add.at(votes, (atlas.face_part, atlas.face_part[near]), 1)
    flip = np.where(votes.any(axis=1), votes.argmax(axis=1), np.arange(NUM_PARTS + 1))
    return flip if np.array_equal(flip[flip], np.arange(NUM_PARTS + 1)) else None


def own_chart_symmetry(
    atlas: ChartAtlas, mirror: MirrorPlane, part_flip: NDArray[np.int64]
) -> ChartSymmetry:
    """Left-right maps of charts of any form: a table of all (u, v) steps.

    The place of each step is mirrored, and the nearest place of the part on the other side taken.
    """
    grid, nearest = chart_grid(atlas, UV_STEPS), NearestPlace(atlas, np.arange(NUM_PARTS + 1))
    vertices = atlas.mesh.vertices_m.astype(np.float64)
    table = np.zeros((NUM_PARTS + 1, UV_STEPS + 1, UV_STEPS + 1, 2), np.float32)
    for part in np.unique(atlas.face_part).tolist():
        corners = vertices[atlas.mesh.faces[grid.face[part]]]
        place = np.einsum("ijk,ijkd->ijd", grid.barycentric[part], corners).reshape(-1, 3)
        _, uv = nearest(mirror.mirrored(place), np.full(len(place), part_flip[part]))
        # The table is read at [part, v, u]; positions of the grid are [part, u, v].
        table[part] = uv.reshape(UV_STEPS + 1, UV_STEPS + 1, 2).transpose(1, 0, 2)
    as_densepose = np.array_equal(part_flip, flipped_parts())
    coarse = flipped_coarse()
    coarse = coarse if as_densepose else np.arange(len(coarse))
    return ChartSymmetry(part_flip, coarse, np.ones((NUM_PARTS + 1, 2)), table)
