"""Light of a scene: one lamp, and light from all sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Light:
    """One distant lamp and light from all sides."""

    to_lamp: np.ndarray  # (3,) unit vector
    lamp: np.ndarray  # (3,) linear RGB
    sky: np.ndarray  # (3,) on surfaces that face up
    ground: np.ndarray  # (3,) on surfaces that face down
    shadow: float  # fraction of the lamp that shadows take
    harmonics: np.ndarray | None = None  # (9, 3) light by direction, in place of sky and ground
    yaw: float = 0.0  # that these are turned by

    def ambient(self, normal: np.ndarray) -> np.ndarray:
        """(N, 3) light from all sides on surfaces with (N, 3) unit normals."""
        if self.harmonics is None:
            up = (0.5 + 0.5 * normal[:, 1:2]).astype(np.float32)
            return self.ground + up * (self.sky - self.ground)
        terms = harmonics(turned(normal, -self.yaw)).astype(np.float32)
        return np.maximum(terms @ self.harmonics.astype(np.float32), 0)


def harmonics(direction: np.ndarray) -> np.ndarray:
    """(N, 3) unit vectors -> (N, 9) real spherical harmonics up to the second order."""
    x, y, z = direction.T
    first = [np.full_like(x, 0.282095), 0.488603 * y, 0.488603 * z, 0.488603 * x]
    second = [1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1)]
    second += [1.092548 * x * z, 0.546274 * (x * x - y * y)]
    return np.stack(first + second, axis=1)


def turned(points: np.ndarray, yaw: float) -> np.ndarray:
    """(N, 3) points turned about y, the front (z) towards x."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    x, y, z = points.T
    return np.stack([cosine * x + sine * z, y, cosine * z - sine * x], axis=1)


def sample_light(rng: np.random.Generator) -> Light:
    """From hard sun to dull indoor light."""
    height, around = np.radians(rng.uniform(20, 80)), rng.uniform(0, 2 * np.pi)
    to_lamp = np.array(
        [np.cos(height) * np.sin(around), np.sin(height), np.cos(height) * np.cos(around)]
    )
    warmth = rng.normal(0, 0.08)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    strength = rng.uniform(0.25, 0.95)
    ambient = rng.uniform(0.75, 1.05) - 0.55 * strength
    return Light(
        to_lamp=to_lamp,
        lamp=strength * tint,
        sky=ambient * (2 - tint),
        ground=ambient * rng.uniform(0.35, 0.75) * tint,
        shadow=float(rng.uniform(0.4, 1.0)),
    )
