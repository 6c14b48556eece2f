"""Imperfect annotators: points moved along the surface by a given distance.

In the paper people place a point 2 to 7 cm off, depending on the part. They look at the body from
one side, so a point stays on the side it was on.

Shapes: P points, F triangles.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from densepose.structures.body_parts import COARSE_OF_PART
from densepose.surface.charts import ChartAtlas
from densepose.surface.mesh import face_normals, half_edges

# A walk of a few centimetres crosses a few dozen triangles; what goes round in circles stops here.
_MOST_CROSSINGS = 500
# (K,) indices of points and (K,) triangles -> (K,) bool
MayEnter = Callable[[np.ndarray, np.ndarray], np.ndarray]
_INSIDE = np.float32(0.01)  # smallest barycentric coordinate of a moved point


class SurfaceNoise:
    """Moves points by ``noise_m`` times a normal deviate in each of two directions.

    A point walks straight ahead along the surface. It stops early at the edge of its region, and
    where the surface begins to face the other way than where it started.
    """

    def __init__(self, atlas: ChartAtlas, noise_m: float) -> None:
        """``noise_m``: standard deviation in metres on the resting mean body, at least 0."""
        self.atlas = atlas
        self.noise_m = noise_m
        self._walker = SurfaceWalker(atlas.mesh.vertices_m, atlas.mesh.faces)

    def __call__(
        self, part: np.ndarray, uv: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """(P,) parts and (P, 2) coordinates -> the same, displaced; points keep their region."""
        region = COARSE_OF_PART[self.atlas.face_part]
        start, barycentric = self.atlas.locate(part, uv)
        side = self._walker.normal[start]

        def may_enter(point: np.ndarray, face: np.ndarray) -> np.ndarray:
            same_region = region[face] == region[start[point]]
            return same_region & ((self._walker.normal[face] * side[point]).sum(axis=1) > 0)

        step = rng.normal(0, self.noise_m, (len(start), 3))
        step -= (step * side).sum(axis=1, keepdims=True) * side
        face, place = self._walker.walk(start, barycentric, step, may_enter)
        # Off the very edge, where rounding of (u, v) decides on which side a point lies.
        place = np.maximum(place, _INSIDE)
        return self.atlas.from_surface(face, place / place.sum(axis=1, keepdims=True))


class SurfaceWalker:
    """Straight walks over a triangle mesh: across an edge, the next triangle is unfolded."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        """``vertices`` (V, 3) metres, ``faces`` (F, 3) with the outside seen counter-clockwise."""
        self._faces = np.asarray(faces, np.int64)
        self._corner = np.asarray(vertices, np.float64)[self._faces]
        self.normal = face_normals(np.asarray(vertices, np.float64), self._faces)  # (F, 3)
        self._neighbour = _neighbours(self._faces)

    def walk(
        self, face: np.ndarray, barycentric: np.ndarray, step: np.ndarray, may_enter: MayEnter
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where (P,) points end that start at ``barycentric`` (P, 3) of ``face`` (P,).

        Args:
            face: triangles the points start in.
            barycentric: where in them.
            step: (P, 3) way to go in metres, in the plane of the triangle.
            may_enter: a point stops at the edge of a triangle it may not enter.

        Returns:
            (P,) triangles and (P, 3) barycentric coordinates.
        """
        face, place, step = face.copy(), np.array(barycentric, np.float64), step.copy()
        walking = np.arange(len(face))
        for _ in range(_MOST_CROSSINGS):
            change = self._barycentric_change(face[walking], step[walking])
            # How much of its step each point can go until a coordinate is 0: it is at that edge.
            with np.errstate(divide="ignore", invalid="ignore"):
                part = np.where(change < 0, -place[walking] / change, np.inf)
            corner = part.argmin(axis=1)
            part = np.clip(part.min(axis=1), 0, 1)[:, None]
            place[walking] = np.clip(place[walking] + part * change, 0, 1)
            step[walking] *= 1 - part
            over = self._neighbour[face[walking], corner]
            goes_on = (part[:, 0] < 1) & (over >= 0)
            goes_on[goes_on] = may_enter(walking[goes_on], over[goes_on])
            walking, corner, over = walking[goes_on], corner[goes_on], over[goes_on]
            if len(walking) == 0:
                break
            self._cross(face, place, step, walking, corner, over)
        return face, (place / place.sum(axis=1, keepdims=True)).astype(np.float32)

    def _barycentric_change(self, face: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(K, 3) change of the barycentric coordinates along (K, 3) steps in the triangles."""
        first = self._corner[face, 1] - self._corner[face, 0]
        second = self._corner[face, 2] - self._corner[face, 0]
        normal = np.cross(first, second)
        size = np.maximum((normal**2).sum(axis=1), 1e-30)
        b = (np.cross(step, second) * normal).sum(axis=1) / size
        c = (np.cross(first, step) * normal).sum(axis=1) / size
        return np.stack([-b - c, b, c], axis=1)

    def _cross(
        self,
        face: np.ndarray,
        place: np.ndarray,
        step: np.ndarray,
        walking: np.ndarray,
        corner: np.ndarray,
        over: np.ndarray,
    ) -> None:
        """Put the points ``walking`` into the triangles ``over``, in place.

        Each is on the edge opposite to ``corner``, its remaining step is turned about that edge.
        """
        old = face[walking]
        start = self._corner[old, (corner + 1) % 3]
        along = self._corner[old, (corner + 2) % 3] - start
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-15)
        # In a counter-clockwise triangle, the inside is to the left of an edge: normal x edge. The
        # next triangle sees the edge the other way round.
        out_of_old = -np.cross(self.normal[old], along)
        into_new = np.cross(self.normal[over], -along)
        forward = (step[walking] * along).sum(axis=1, keepdims=True)
        across = (step[walking] * out_of_old).sum(axis=1, keepdims=True)
        step[walking] = forward * along + np.maximum(across, 0) * into_new
        matches = self._faces[old][:, :, None] == self._faces[over][:, None, :]
        place[walking] = np.einsum("ki,kij->kj", place[walking], matches)
        face[walking] = over


def _neighbours(faces: np.ndarray) -> np.ndarray:
    """(F, 3) triangle across the edge opposite to each corner; -1 where there is none."""
    # Rows of half_edges: edges 0-1, 1-2, 2-0 of all triangles, opposite to corners 2, 0, 1.
    sides = half_edges(faces)
    number = sides.max() + 1
    key, reverse = sides @ [number, 1], sides @ [1, number]
    order = np.argsort(key)
    at = np.minimum(np.searchsorted(key[order], reverse), len(key) - 1)
    twin = np.where(key[order][at] == reverse, order[at] % len(faces), -1)
    return twin.reshape(3, len(faces)).T[:, [1, 2, 0]]
