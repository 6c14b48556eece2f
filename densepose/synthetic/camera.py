"""A pinhole camera.

Frames: world metres, y up; camera x right, y down, z forward; image px as in
``structures.coordinates``: (0, 0) is the
outer corner of the top-left pixel, pixel centres lie at half numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Camera:
    """Perspective camera whose axis meets the middle of the image."""

    position: np.ndarray  # (3,) world
    rotation: np.ndarray  # (3, 3) world -> camera; rows are right, down, forward
    focal_px: float
    width: int
    height: int

    @property
    def centre_px(self) -> np.ndarray:
        """(2,) where the axis meets the image."""
        return np.array([self.width / 2, self.height / 2])

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(P, 3) world points -> (P, 2) image px and (P,) depth in metres, <= 0 behind."""
        local = (np.asarray(points) - self.position) @ self.rotation.T
        depth = local[:, 2]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        return local[:, :2] / safe[:, None] * self.focal_px + self.centre_px, depth

    def rays(self, points_px: np.ndarray) -> np.ndarray:
        """(P, 2) image px -> (P, 3) float32 world directions, one metre deep."""
        # The same as adding (x - cx) / f of right, (y - cy) / f of down and 1 of forward.
        linear = (self.rotation[:2] / self.focal_px).astype(np.float32)
        corner = self.rotation[2] - self.centre_px / self.focal_px @ self.rotation[:2]
        return points_px.astype(np.float32) @ linear + corner.astype(np.float32)

    def pixel_centres(self) -> np.ndarray:
        """(height * width, 2) image px of all pixel centres, row by row."""
        return _pixel_centres(self.height, self.width)

    def mirrored(self) -> Camera:
        """The camera that sees the world mirrored at x = 0 as a left-right flipped image."""
        flip = np.array([-1.0, 1.0, 1.0])
        rotation = self.rotation * flip  # of a mirrored point
        rotation = rotation * flip[:, None]  # image x turned round
        return replace(self, position=self.position * flip, rotation=rotation)


@lru_cache(maxsize=4)
def _pixel_centres(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    centres = np.stack([columns.reshape(-1), rows.reshape(-1)], axis=1).astype(np.float32) + 0.5
    centres.setflags(write=False)
    return centres


def look_at(
    position: np.ndarray,
    target: np.ndarray,
    roll_rad: float,
    focal_px: float,
    width: int,
    height: int,
) -> Camera:
    """Camera at ``position`` whose axis goes through ``target``; up stays up but for the roll.

    Raises:
        ValueError: position and target coincide, or lie above one another.
    """
    forward = np.asarray(target, float) - position
    right = np.cross(forward, [0.0, 1.0, 0.0])
    if np.linalg.norm(right) < 1e-9:
        raise ValueError(f"a camera at {position} cannot look at {target}: no way is up")
    forward = forward / np.linalg.norm(forward)
    right = right / np.linalg.norm(right)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll_rad), np.sin(roll_rad)
    rows = [cosine * right + sine * down, cosine * down - sine * right, forward]
    return Camera(np.asarray(position, float), np.stack(rows), float(focal_px), width, height)
