"""What is behind people: rooms, open ground, abstract pictures, or photos from a folder.

Colours are linear RGB, float32. A background may have a floor at y = 0; then people cast shadows on
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .camera import Camera
from .noise import cloud_image
from .outdoors import outdoor_picture
from .patterns import random_color, to_linear
from .room import room_picture

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
# Every how many-eth photo is kept for the held-out split.
_VAL_PHOTO_STEP = 10


@dataclass(frozen=True)
class Background:
    """The picture behind everything and, per pixel, how far along its ray the floor is."""

    color: np.ndarray  # (H, W, 3) linear RGB
    floor_depth: (
        np.ndarray | None
    )  # (H, W) depth in metres where the floor is seen, inf elsewhere; None: no floor


def photo_files(folder: str | Path, split: str) -> list[Path]:
    """Photos below ``folder`` for one split; the splits share no photo.

    Raises:
        FileNotFoundError: the folder is missing or holds too few photos for two disjoint splits.
    """
    folder = Path(folder)
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)
    if len(found) < 2:
        raise FileNotFoundError(
            f"{folder}: expected at least two photos ({', '.join(PHOTO_SUFFIXES)}), "
            f"found {len(found)}; give another folder or leave --backgrounds out for generated ones"
        )
    held_out = {i for i in range(len(found)) if i % _VAL_PHOTO_STEP == 0}
    return [p for i, p in enumerate(found) if (i in held_out) == (split == "val")]


def photo_background(rng: np.random.Generator, camera: Camera, files: list[Path]) -> Background:
    """A random cut-out of a random photo, at least as wide as half the photo."""
    path = files[rng.integers(len(files))]
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photo is None:
        raise ValueError(
            f"{path}: not readable as an image; remove it from the folder of backgrounds"
        )
    height, width = photo.shape[:2]
    side = rng.uniform(0.5, 1.0) * min(height / camera.height, width / camera.width)
    rows, columns = max(1, int(side * camera.height)), max(1, int(side * camera.width))
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    cut = photo[top : top + rows, left : left + columns, ::-1]
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    small = cv2.resize(
        np.ascontiguousarray(cut), (camera.width, camera.height), interpolation=cv2.INTER_AREA
    )
    return Background(to_linear(small.astype(np.float32) / np.iinfo(np.uint8).max), None)


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
