"""Which place of a body's surface is nearest to a point in space, among the parts it may lie in.

Shapes: P points, F triangles, S samples of the surface. Units: metres.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from densepose.structures.body_parts import NUM_PARTS

from .charts import ChartAtlas

# Samples along each edge of a triangle less one: they say which triangles may be nearest.
_STEPS = 3
# Samples whose triangles are compared exactly.
_CANDIDATES = 4
# Groups of parts lie this far apart in the tree: no body is as large.
_FAR_M = 1e4


class NearestPlace:
    """Nearest part and (u, v) to points in space."""

    def __init__(self, atlas: ChartAtlas, group_of_part: NDArray[np.integer]) -> None:
        """Sample the surface.

        Args:
            atlas: whose mesh and charts are meant.
            group_of_part: (25,) a number for each part; a point is placed within its group.

        Raises:
            ValueError: not one number for each part.
        """
        group_of_part = np.asarray(group_of_part)
        if group_of_part.shape != (NUM_PARTS + 1,):
            raise ValueError(
                f"one group for each of the parts 0 to {NUM_PARTS} is needed, got an array of"
                f" shape {group_of_part.shape}"
            )
        self._atlas = atlas
        self._corners = atlas.mesh.vertices_m[atlas.mesh.faces].astype(np.float64)  # (F, 3, 3)
        shares = np.array(
            [(i, j, _STEPS - i - j) for i in range(_STEPS + 1) for j in range(_STEPS + 1 - i)],
            np.float64,
        )
        # Samples on an edge would belong to several triangles.
        shares = 0.9 * shares / _STEPS + 0.1 / 3
        self._face = np.repeat(np.arange(len(self._corners)), len(shares))
        samples = np.einsum("sk,fkd->fsd", shares, self._corners).reshape(-1, 3)
        group = group_of_part[atlas.face_part[self._face]]
        self._tree = cKDTree(np.concatenate([samples, _FAR_M * group[:, None]], axis=1))

    def __call__(
        self, points_m: NDArray[np.floating], group: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(P, 3) points and (P,) groups -> (P,) parts and (P, 2) coordinates.

        Part 0 at (0, 0) for a group that no triangle belongs to.

        Raises:
            ValueError: a point is not finite.
        """
        points_m = np.asarray(points_m, np.float64)
        if not np.isfinite(points_m).all():
            row = int(np.flatnonzero(~np.isfinite(points_m).all(axis=1))[0])
            raise ValueError(f"point {row} is not finite: {points_m[row].tolist()}")
        if len(points_m) == 0:
            return np.zeros(0, np.int64), np.zeros((0, 2))
        distance, sample = self._tree.query(
            np.concatenate([points_m, _FAR_M * np.asarray(group)[:, None]], axis=1),
            k=_CANDIDATES,
        )
        candidates = self._face[sample]
        barycentric, squared = closest_on_triangles(self._corners[candidates], points_m[:, None])
        # A farther sample may lie in another group already.
        squared[distance > _FAR_M / 2] = np.inf
        best = squared.argmin(axis=1)
        number = np.arange(len(best))
        found = np.isfinite(squared[number, best])
        face = np.where(found, candidates[number, best], -1)
        return self._atlas.from_surface(face, barycentric[number, best])


def closest_on_triangles(
    corners: NDArray[np.floating], points: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The point of each triangle that is nearest to a point.

    Args:
        corners: (..., 3 corners, 3).
        points: (..., 3), broadcast against the triangles.

    Returns:
        (..., 3) barycentric coordinates and (...) squared distance. A triangle without area is
        the edges that it has.
    """
    a, b, c = (corners[..., k, :] for k in range(3))
    to_b, to_c, here = b - a, c - a, points - a
    bb, bc, cc = _dot(to_b, to_b), _dot(to_b, to_c), _dot(to_c, to_c)
    pb, pc = _dot(here, to_b), _dot(here, to_c)
    area = bb * cc - bc**2
    flat = area <= 1e-12 * bb * cc
    safe = np.where(flat, 1.0, area)
    at_b, at_c = (cc * pb - bc * pc) / safe, (bb * pc - bc * pb) / safe
    plane = np.stack([1 - at_b - at_c, at_b, at_c], axis=-1)
    inside = (plane >= 0).all(axis=-1) & ~flat
    choices = [plane]
    for first, second in ((0, 1), (1, 2), (2, 0)):
        start, along = corners[..., first, :], corners[..., second, :] - corners[..., first, :]
        length = np.maximum(_dot(along, along), np.finfo(np.float64).tiny)
        share = (_dot(points - start, along) / length).clip(0, 1)
        edge = np.zeros_like(plane)
        edge[..., first], edge[..., second] = 1 - share, share
        choices.append(edge)
    every = np.stack(choices, axis=-2)  # (..., 4 choices, 3)
    nearest = np.einsum("...ek,...kd->...ed", every, corners)
    squared = ((nearest - points[..., None, :]) ** 2).sum(axis=-1)
    squared[..., 0] = np.where(inside, squared[..., 0], np.inf)
    best = squared.argmin(axis=-1)[..., None]
    barycentric = np.take_along_axis(every, best[..., None], axis=-2)[..., 0, :]
    return barycentric, np.take_along_axis(squared, best, axis=-1)[..., 0]


def _dot(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    return (a * b).sum(axis=-1)
