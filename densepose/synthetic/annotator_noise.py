"""Imperfect annotators: points moved along the surface by a given distance.

In the paper people place a point 2 to 7 cm off, depending on the part.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from densepose.surface.charts import ChartAtlas

from .truth import NUM_REGIONS, REGION_OF_PART

_SAMPLES = 60_000
_SAMPLE_SEED = 0


class SurfaceNoise:
    """Moves points by ``noise_m`` times a normal deviate in two directions, within their region."""

    def __init__(self, atlas: ChartAtlas, noise_m: float) -> None:
        """``noise_m``: standard deviation in metres on the resting mean body, at least 0."""
        if noise_m < 0:
            raise ValueError(f"annotator noise must be at least 0 metres, got {noise_m}")
        self.atlas = atlas
        self.noise_m = noise_m
        self._samples = _surface_samples(atlas)

    def __call__(
        self, part: np.ndarray, uv: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """(P,) parts and (P, 2) coordinates -> the same, displaced; points keep their region."""
        points = self.atlas.to_points(part, uv)
        face, _ = self.atlas.locate(part, uv)
        corner = self.atlas.mesh.vertices_m[self.atlas.mesh.faces[face]]
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        step = rng.normal(0, self.noise_m, points.shape)
        step -= (step * normal).sum(axis=1, keepdims=True) * normal
        new_part, new_uv = part.copy(), uv.copy()
        region = REGION_OF_PART[part]
        for number in range(1, NUM_REGIONS + 1):
            mine = region == number
            tree, sample_part, sample_uv = self._samples[number]
            nearest = tree.query((points + step)[mine])[1]
            new_part[mine], new_uv[mine] = sample_part[nearest], sample_uv[nearest]
        return new_part, new_uv


def _surface_samples(atlas: ChartAtlas) -> dict[int, tuple[cKDTree, np.ndarray, np.ndarray]]:
    """Region -> search tree over evenly drawn points of it, their parts and coordinates."""
    rng = np.random.default_rng(_SAMPLE_SEED)
    corner = atlas.mesh.vertices_m[atlas.mesh.faces].astype(np.float64)
    area = np.linalg.norm(
        np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1
    )
    face = rng.choice(len(area), _SAMPLES, p=area / area.sum())
    root, along = np.sqrt(rng.random(_SAMPLES)), rng.random(_SAMPLES)
    weight = np.stack([1 - root, root * (1 - along), root * along], axis=1)
    points = np.einsum("pck,pc->pk", corner[face], weight)
    part, uv = atlas.from_surface(face, weight)
    region = REGION_OF_PART[part]
    found = {}
    for number in range(1, NUM_REGIONS + 1):
        mine = region == number
        found[number] = (cKDTree(points[mine]), part[mine], uv[mine])
    return found
