"""Cast rays at the meshes of a scene: what is seen, where on it, and what is in shadow.

Shapes: R rays. Directions have depth 1 (``Camera.rays``): distance along a ray is depth in metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from embreex import rtcore, rtcore_scene
from embreex.mesh_construction import TriangleMesh

# Rays start this far from the surface they leave.
_OFFSET_M = 0.008


@dataclass(frozen=True)
class Hits:
    """First hit of each of R rays."""

    mesh: np.ndarray  # (R,) int32, -1: nothing
    face: np.ndarray  # (R,) int32 of that mesh
    barycentric: np.ndarray  # (R, 3) float32
    depth: np.ndarray  # (R,) float32, inf: nothing

    def __getitem__(self, index: np.ndarray) -> Hits:
        return Hits(self.mesh[index], self.face[index], self.barycentric[index], self.depth[index])

    def joined(self, more: Hits) -> Hits:
        """These and then those."""
        pairs = zip(vars(self).values(), vars(more).values(), strict=True)
        return Hits(*(np.concatenate(pair) for pair in pairs))


class RayCaster:
    """Acceleration structure over meshes that stay where they are."""

    def __init__(self, meshes: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """``meshes``: vertices (V, 3) float32 and faces (F, 3) int32 of each; at least one."""
        self._device = rtcore.EmbreeDevice()
        self._scene = rtcore_scene.EmbreeScene(self._device)
        self._meshes = [
            TriangleMesh(
                self._scene, np.ascontiguousarray(v, np.float32), np.ascontiguousarray(f, np.int32)
            )
            for v, f in meshes
        ]

    def first_hits(
        self, origin: np.ndarray, directions: np.ndarray, index: np.ndarray | None = None
    ) -> Hits:
        """Rays from ``origin`` (3,) along (R, 3) ``directions``; of ``index`` only, if given."""
        count = len(directions)
        if index is not None:
            directions = directions[index]
        if len(directions) == 0:
            return _nothing(count)
        start = np.broadcast_to(origin.astype(np.float32), directions.shape)
        directions = np.ascontiguousarray(directions, np.float32)
        found = self._scene.run(np.ascontiguousarray(start), directions, output=True)
        u, v = found["u"], found["v"]
        hits = Hits(
            found["geomID"],
            found["primID"],
            np.stack([1 - u - v, u, v], axis=1),
            np.where(found["geomID"] >= 0, found["tfar"], np.float32(np.inf)),
        )
        if index is None:
            return hits
        everywhere = _nothing(count)
        for name, values in vars(hits).items():
            getattr(everywhere, name)[index] = values
        return everywhere

    def in_shadow(
        self, points: np.ndarray, normals: np.ndarray, to_light: np.ndarray
    ) -> np.ndarray:
        """(R,) bool: something is between (R, 3) ``points`` and a lamp along ``to_light`` (3,)."""
        if len(points) == 0:
            return np.zeros(len(points), bool)
        start = np.ascontiguousarray(points + _OFFSET_M * normals, np.float32)
        direction = np.ascontiguousarray(np.broadcast_to(to_light, points.shape), np.float32)
        return self._scene.run(start, direction, query="OCCLUDED") != -1

    def open_fraction(
        self, points: np.ndarray, normals: np.ndarray, directions: np.ndarray
    ) -> np.ndarray:
        """(R,) fraction of an even light from all sides that reaches (R, 3) ``points``.

        Args:
            points: where.
            normals: (R, 3) unit normals, outwards.
            directions: (D, 3) unit vectors; each is turned to the side that the normal is on, and
                counts as much as light from there would.
        """
        total = np.zeros(len(points), np.float32)
        reached = np.zeros(len(points), np.float32)
        start = np.ascontiguousarray(points + _OFFSET_M * normals, np.float32)
        for direction in directions:
            along = normals @ direction
            outwards = np.ascontiguousarray(np.sign(along)[:, None] * direction, np.float32)
            is_open = self._scene.run(start, outwards, query="OCCLUDED") == -1
            total += np.abs(along)
            reached += np.abs(along) * is_open
        return reached / np.maximum(total, 1e-6)


def even_directions(count: int) -> np.ndarray:
    """(count, 3) float32 unit vectors, evenly over a half sphere: a spiral from its top down."""
    index = np.arange(count) + 0.5
    up = 1 - index / count
    around = index * np.pi * (3 - np.sqrt(5))  # the golden angle
    flat = np.sqrt(1 - up**2)
    return np.stack([flat * np.cos(around), up, flat * np.sin(around)], 1).astype(np.float32)


def _nothing(count: int) -> Hits:
    return Hits(
        np.full(count, -1, np.int32),
        np.zeros(count, np.int32),
        np.zeros((count, 3), np.float32),
        np.full(count, np.inf, np.float32),
    )
