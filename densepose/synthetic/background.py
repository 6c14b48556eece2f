"""What is behind people: rooms, open ground, abstract pictures.

Colours are linear RGB, float32. A background may have a floor at y = 0; then people cast shadows on
it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Camera
from .noise import cloud_image
from .outdoors import outdoor_picture
from .patterns import random_color
from .room import room_picture


@dataclass(frozen=True)
class Background:
    """The picture behind everything and, per pixel, how far along its ray the floor is."""

    color: np.ndarray  # (H, W, 3) linear RGB
    floor_depth: (
        np.ndarray | None
    )  # (H, W) depth in metres where the floor is seen, inf elsewhere; None: no floor


def random_background(rng: np.random.Generator, camera: Camera) -> Background:
    """A generated background: half rooms, a third outdoors, the rest abstract."""
    draw = rng.random()
    if draw < 0.5:
        color, floor_depth = room_picture(rng, camera)
        return Background(color, floor_depth)
    if draw < 0.82:
        color, floor_depth = outdoor_picture(rng, camera)
        return Background(color, floor_depth)
    return _abstract(rng, camera)


def _blend(image: np.ndarray, mask: np.ndarray, color: np.ndarray, alpha: float = 1.0) -> None:
    weight = (mask * np.float32(alpha))[..., None].astype(np.float32)
    image += weight * (color.astype(np.float32) - image)


def _random_shapes(
    rng: np.random.Generator, image: np.ndarray, count: int, *, low: float, high: float
) -> None:
    """Draw filled shapes of ``low``..``high`` of the image height, in place."""
    height, width = image.shape[:2]
    for _ in range(count):
        color = random_color(rng)
        size = rng.uniform(low, high, 2) * height
        centre = rng.uniform(0, 1, 2) * (width, height)
        mask = np.zeros((height, width), np.float32)
        kind = rng.integers(4)
        if kind == 0:
            corners = cv2.boxPoints(
                (tuple(centre), tuple(size), float(rng.choice([0, rng.uniform(0, 90)])))
            )
            cv2.fillConvexPoly(mask, corners.astype(np.int32), 1.0, cv2.LINE_AA)
        elif kind == 1:
            cv2.ellipse(
                mask, (tuple(centre), tuple(size), float(rng.uniform(0, 180))), 1.0, -1, cv2.LINE_AA
            )
        elif kind == 2:
            ends = (centre + rng.uniform(-1, 1, (2, 2)) * 2 * size.max()).astype(np.int32)
            thickness = int(rng.integers(1, max(2, int(height * 0.06))))
            cv2.line(
                mask,
                tuple(map(int, ends[0])),
                tuple(map(int, ends[1])),
                1.0,
                thickness,
                cv2.LINE_AA,
            )
        else:
            corners = centre + rng.uniform(-0.5, 0.5, (int(rng.integers(3, 7)), 2)) * size * 2
            cv2.fillPoly(mask, [corners.astype(np.int32)], 1.0, cv2.LINE_AA)
        shade = color * rng.uniform(0.6, 1.0)
        ramp = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
        _blend(image, mask, color + ramp * (shade - color), float(rng.uniform(0.6, 1.0)))


def _abstract(rng: np.random.Generator, camera: Camera) -> Background:
    height, width = camera.height, camera.width
    clouds = cloud_image(rng, height, width, cells=rng.uniform(1, 8), octaves=5)[..., None]
    first, second = random_color(rng), random_color(rng)
    image = (first + clouds * (second - first)).astype(np.float32)
    _random_shapes(rng, image, int(rng.integers(3, 14)), low=0.05, high=0.6)
    blur = rng.uniform(0.0, 3.0)
    if blur > 0.5:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    return Background(image, None)
