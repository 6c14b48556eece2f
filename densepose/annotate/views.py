"""Six views of a region of the body: pictures, and what a click on one of them means.

Every view is an orthographic projection of the resting body, VIEW_PX wide. Directions are chosen
from the 26 of a cube's sides, edges and corners, so that each triangle of the region is seen as
frontally as possible in at least one view. Shapes: P points, F triangles of the body.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from densepose.structures.body_parts import NUM_PARTS
from densepose.surface.mesh import face_areas, face_normals, vertex_normals
from densepose.surface.raycast import Hits, RayCaster

from .body import Body

NUM_VIEWS = 6
VIEW_PX = 400  # the page shows them smaller, which smooths outlines
_MARGIN = 1.12
_FAR_M = 10.0
_SAME_M = 0.004  # a point this close behind what is seen is seen
# Where a click is looked for: at its pixel, then on circles up to 6 px around it.
_TURN = np.arange(8) * np.pi / 4
_NEARBY = np.concatenate(
    [r * np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1) for r in (0, 1.5, 3, 6)]
)
# Blue, green, red of the parts of a region, the seam between them, the remaining body.
_COLORS = np.array([(214, 168, 96), (110, 170, 232), (140, 196, 120), (200, 140, 200)], float)
_SEAM, _OTHERS = np.array([60.0, 60, 60]), np.array([170.0, 170, 170])
_OTHERS_ALPHA = 70
# Sides of the template that a direction is named after: x, y, z, below and above 0.
_SIDES = (("right", "left"), ("below", "above"), ("back", "front"))


class Place(NamedTuple):
    """A place on the surface."""

    part: int
    u: float
    v: float
    vertex: int


@dataclass(frozen=True)
class Shown:
    """Where points are in the views."""

    xy: NDArray[np.float64]  # (6, P, 2) in pixels of the picture
    visible: NDArray[np.bool_]  # (6, P)
    frontal: NDArray[np.float64]  # (6, P) cosine of the surface's normal and the direction


class RegionViews:
    """The six views of one region."""

    def __init__(
        self, body: Body, region: int, part_colors: NDArray[np.floating] | None = None
    ) -> None:
        """Chooses the views.

        Args:
            body: the surface.
            region: of it, 1-based.
            part_colors: (25, 3) blue, green, red of the parts; else neighbours differ.
        """
        self._atlas = body.atlas
        mesh = body.atlas.mesh
        vertices = mesh.vertices_m.astype(np.float64)
        self._members = np.flatnonzero(body.region_of_part[body.atlas.face_part] == region)
        faces = mesh.faces[self._members]
        self._facing = face_normals(mesh.vertices_m, faces)
        self.direction = _best_directions(self._facing, face_areas(vertices, faces))
        self.names = [_name(d) if body.is_template else "" for d in self.direction]
        self._rotation = np.stack([_camera(d) for d in self.direction])
        corners = vertices[np.unique(faces)]
        low, high = corners.min(axis=0), corners.max(axis=0)
        self._centre = (low + high) / 2
        across = np.abs((corners - self._centre) @ self._rotation[:, :2].transpose(0, 2, 1)).max()
        self._px_per_m = VIEW_PX / (2 * across * _MARGIN)
        self._normals = vertex_normals(vertices, mesh.faces)
        self._region_rays = RayCaster([(mesh.vertices_m, faces)])
        self._others = np.setdiff1d(np.arange(mesh.num_faces), self._members)
        if part_colors is None:
            part_colors = np.zeros((NUM_PARTS + 1, 3))
            parts = np.unique(body.atlas.face_part[self._members])
            part_colors[parts] = _COLORS[np.arange(len(parts)) % len(_COLORS)]
        self._part_colors = part_colors
        self._pictures: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def _rays(self, view: int, xy: NDArray[np.floating]) -> tuple[NDArray, NDArray]:
        """(P, 2) pixels -> (P, 3) starts and directions of rays."""
        right, down, forward = self._rotation[view]
        offset = (xy - VIEW_PX / 2) / self._px_per_m
        start = self._centre + offset @ np.stack([right, down]) - _FAR_M * forward
        return start, np.broadcast_to(forward, start.shape)

    def place(self, view: int, x: float, y: float) -> Place | None:
        """The place on the region that a click meets, or nearly meets; None beside it."""
        hits = self._region_rays.first_hits(*self._rays(view, np.array([x, y]) + _NEARBY))
        met = np.flatnonzero(self._outside(hits, view))[:1]
        if not len(met):
            return None
        hits = hits[met]
        face = self._members[hits.face]
        part, uv = self._atlas.from_surface(face, hits.barycentric)
        nearest = int(hits.barycentric[0].argmax())
        u, v = uv[0].clip(0, 1)
        return Place(
            int(part[0]), float(u), float(v), int(self._atlas.mesh.faces[face[0], nearest])
        )

    def _outside(self, hits: Hits, view: int) -> NDArray[np.bool_]:
        """(P,) whether rays hit the region from outside, not through its open ends."""
        facing = self._facing[hits.face] @ self.direction[view].astype(np.float32)
        return (hits.mesh >= 0) & (facing > 0)

    def show(self, part: NDArray[np.integer], uv: NDArray[np.floating]) -> Shown:
        """Where (P,) parts with (P, 2) coordinates are in all views."""
        points = self._atlas.to_points(part, uv)
        local = (points - self._centre) @ self._rotation.transpose(0, 2, 1)  # (6, P, 3)
        xy = local[..., :2] * self._px_per_m + VIEW_PX / 2
        depth = np.stack(
            [self._region_rays.first_hits(*self._rays(k, xy[k])).depth for k in range(NUM_VIEWS)]
        )
        visible = local[..., 2] + _FAR_M < depth + _SAME_M
        frontal = self.normals_at(part, uv) @ self.direction.T
        return Shown(xy, visible & np.isfinite(depth) & (frontal.T > 0), frontal.T)

    def normals_at(
        self, part: NDArray[np.integer], uv: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """(P, 3) outward normals of the resting body."""
        face, weight = self._atlas.locate(part, uv)
        normal = np.einsum("pk,pkd->pd", weight, self._normals[self._atlas.mesh.faces[face]])
        return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)

    def picture(self, view: int) -> bytes:
        """One of the views as PNG with a transparent background; drawn once."""
        with self._lock:
            if view not in self._pictures:
                self._pictures[view] = self._picture(view)
            return self._pictures[view]

    @functools.cached_property
    def _other_rays(self) -> RayCaster | None:
        mesh = self._atlas.mesh
        others = mesh.faces[self._others]
        return RayCaster([(mesh.vertices_m, others)]) if len(others) else None

    def _picture(self, view: int) -> bytes:
        rows, columns = np.mgrid[:VIEW_PX, :VIEW_PX].reshape(2, -1)
        start, direction = self._rays(view, np.stack([columns, rows], axis=1) + 0.5)
        hits = self._region_rays.first_hits(start, direction)
        seen = self._outside(hits, view)
        part = np.zeros(len(seen), np.int64)
        part[seen] = self._atlas.face_part[self._members[hits.face[seen]]]
        image = np.zeros((len(seen), 4))
        light = self._light(hits[seen], self._members, view)
        image[seen, :3] = self._part_colors[part[seen]] * light
        image[seen, 3] = 255
        if self._other_rays is not None:
            rest = np.flatnonzero(~seen)
            hits = self._other_rays.first_hits(start[rest], direction[rest])
            met = hits.mesh >= 0
            image[rest[met], :3] = _OTHERS * self._light(hits[met], self._others, view)
            image[rest[met], 3] = _OTHERS_ALPHA
        square = (VIEW_PX, VIEW_PX)
        image = _with_seams(image.reshape(*square, 4), part.reshape(square))
        return cv2.imencode(".png", np.rint(image).astype(np.uint8))[1].tobytes()

    def _light(self, hits: Hits, members: NDArray[np.integer], view: int) -> NDArray[np.float64]:
        """(P, 1) brightness of what rays hit: a lamp at the camera."""
        corners = self._normals[self._atlas.mesh.faces[members[hits.face]]]
        normal = np.einsum("pk,pkd->pd", hits.barycentric, corners)
        bright = 0.35 + 0.65 * np.clip(normal @ self.direction[view], 0, 1) ** 1.3
        return bright[:, None]


def _with_seams(image: NDArray[np.float64], part: NDArray[np.integer]) -> NDArray[np.float64]:
    """The picture with a thin dark line where two parts of the region meet."""
    shape = np.ones((2, 2), np.uint8)
    as_float = part.astype(np.float32)
    least = cv2.erode(np.where(part == 0, 99, as_float).astype(np.float32), shape)
    seam = (cv2.dilate(as_float, shape) != least) & (part > 0)
    # Only between two parts, not along the outline.
    seam &= cv2.erode((part > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    image[seam, :3] = _SEAM
    return image


def _best_directions(
    normals: NDArray[np.floating], areas: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(6, 3) unit vectors towards the cameras, in the order of a walk around the body."""
    candidates = np.array([d for d in product((-1, 0, 1), repeat=3) if any(d)], np.float64)
    candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
    frontal = np.clip(candidates @ normals.T, 0, 1)
    seen = np.zeros(len(normals))
    chosen: list[int] = []
    for _ in range(NUM_VIEWS):
        gain = np.maximum(frontal, seen) @ areas
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        seen = np.maximum(seen, frontal[chosen[-1]])
    found = candidates[chosen]
    # From the front over the person's left; views from straight above and below come last.
    steep = np.abs(found[:, 1]) > 0.99
    around = np.arctan2(found[:, 0], found[:, 2]) % (2 * np.pi)
    return found[np.lexsort((-found[:, 1], around, steep))]


def _camera(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) rows right, down and forward of a camera that ``direction`` points to."""
    up = np.array([0.0, 1, 0])
    if abs(direction[1]) > 0.99:
        up = np.array([0.0, 0, -direction[1]])
    right = np.cross(up, direction)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, direction), -direction])


def _name(direction: NDArray[np.float64]) -> str:
    """``front left`` and the like, of a direction from the template."""
    order = (1, 2, 0)  # above or below first
    return " ".join(_SIDES[k][int(direction[k] > 0)] for k in order if abs(direction[k]) > 1e-6)
