"""Real photos behind rendered people, and light on the people that fits the photo.

Colours are linear RGB, float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from densepose.errors import InputError

from .backgrounds import Background
from .camera import Camera
from .light import Light
from .materials import to_linear

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
# Every how many-eth photo, or folder of photos, is kept for the held-out split.
_VAL_PHOTO_STEP = 10
# How often the floor of the scene shows in the photo, as the shadows of people.
_SHADOWS = 0.6
_OUT_OF_FOCUS = 0.35
# Linear brightness of a photo that is exposed as usual.
_USUAL = 0.2
_BLACK = 0.002


def photo_files(folder: str | Path, split: str) -> list[Path]:
    """Photos below ``folder`` for one split; the splits share no photo and no subfolder.

    Photos in one subfolder may show the same place, so they stay together; where there is only one
    subfolder, its own subfolders or photos are divided.

    Raises:
        InputError: the folder is missing or holds too few photos for two disjoint splits.
    """
    folder = Path(folder)
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)
    if len(found) < 2:
        raise InputError(
            f"{folder}: expected at least two photos ({', '.join(PHOTO_SUFFIXES)}), "
            f"found {len(found)}; give another folder, or omit --backgrounds for generated ones"
        )
    groups = _groups([path.relative_to(folder).parts for path in found])
    held_out = set(sorted(set(groups))[::_VAL_PHOTO_STEP])
    return [
        path
        for path, group in zip(found, groups, strict=True)
        if (group in held_out) == (split == "val")
    ]


def _groups(parts: Sequence[tuple[str, ...]]) -> list[str]:
    """The first part of each path in which they differ at all."""
    depth = 0
    while len({names[depth] for names in parts}) == 1:
        depth += 1
    return [names[depth] for names in parts]


def photo_background(rng: np.random.Generator, camera: Camera, files: Sequence[Path]) -> Background:
    """A random cut-out of a random photo, at least as wide as half the photo.

    Sometimes it is out of focus, and sometimes people cast shadows on it.
    """
    path = files[rng.integers(len(files))]
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photo is None:
        raise InputError(
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
    color = to_linear(small.astype(np.float32) / np.iinfo(np.uint8).max)
    if rng.random() < _OUT_OF_FOCUS:
        # Of linear light, so that lamps grow to bright discs rather than to grey clouds.
        color = cv2.GaussianBlur(color, (0, 0), rng.uniform(0.002, 0.012) * camera.height)
    return Background(color, camera.floor_depth() if rng.random() < _SHADOWS else None)


def light_of_photo(light: Light, color: np.ndarray) -> Light:
    """The light in the brightness and the colours of a photo.

    The upper third of the photo stands for the sky, the lower third for the ground, its brightest
    pixels for the lamp; their colours are taken half-way, for they are also those of paint.

    Args:
        light: random; its direction, its shadow and the fraction of the lamp stay.
        color: (H, W, 3) linear RGB of the photo.
    """
    third = max(1, len(color) // 3)
    pixels = color.reshape(-1, 3)
    brightness = pixels.mean(axis=1)
    brightest = pixels[brightness >= np.quantile(brightness, 0.95)].mean(axis=0)
    # Eyes and cameras adapt: a photo half as bright does not halve the light.
    gain = float(np.clip(np.sqrt(brightness.mean() / _USUAL), 0.6, 1.4))
    return replace(
        light,
        lamp=gain * light.lamp.mean() * _tint(brightest),
        sky=gain * light.sky.mean() * _tint(color[:third].mean(axis=(0, 1))),
        ground=gain * light.ground.mean() * _tint(color[-third:].mean(axis=(0, 1))),
    )


def _tint(color: np.ndarray) -> np.ndarray:
    """(3,) gains around 1: half the colour, none of the brightness."""
    # What is nearly black has no visible colour.
    return 0.5 + 0.5 * (color.astype(np.float64) + _BLACK) / (float(color.mean()) + _BLACK)
