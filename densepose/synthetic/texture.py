"""Colours from pictures: read once, made smaller for far away, and recombined.

A texture is recombined region by region: its light and dark stay, the colour of a region becomes
another one or a pattern. Colours are linear RGB; places are (u, v) in [0, 1], v upwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from densepose.errors import InputError

from .materials import Pattern, to_linear

_LARGEST_PX = 1024
_SMALLEST_PX = 16
NUM_REGIONS = 3
# Regions are found in a picture of this width, by about so many of its px.
_REGION_PX, _KMEANS_PX = 320, 9000
_OPAQUE = 0.4
_UINT8_MAX = float(np.iinfo(np.uint8).max)
_LINEAR = to_linear(np.arange(256) / _UINT8_MAX)
_LEAST_LIGHT = 0.02


@dataclass(frozen=True)
class Picture:
    """A picture in several sizes, each half as wide as the one before."""

    levels: tuple[np.ndarray, ...]  # (H, W, 4) uint8 RGBA each
    region: np.ndarray  # (h, w) uint8 number of the region that a place belongs to
    light: np.ndarray  # (NUM_REGIONS,) mean linear brightness of each region
    has_holes: bool  # whether something can be seen through it

    def mean_color(self) -> np.ndarray:
        """(3,) linear RGB."""
        return _LINEAR[self.levels[-1][..., :3].reshape(-1, 3)].mean(axis=0)


@lru_cache(maxsize=256)
def read_picture(path: Path) -> Picture:
    """Read a texture of an item.

    Raises:
        InputError: not readable as an image, cut off, or of more than 8 bits a channel.
    """
    try:
        with Image.open(path) as file:
            if file.mode[0] in "IF":
                raise InputError(f"{path}: expected a texture of 8 bits a channel, got {file.mode}")
            image = np.asarray(file.convert("RGBA"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: not readable as a texture ({error}); copy it again or remove the item"
        ) from error
    largest = max(image.shape[:2])
    if largest > _LARGEST_PX:
        size = [max(1, side * _LARGEST_PX // largest) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    levels = [image]
    while min(levels[-1].shape[:2]) >= 2 * _SMALLEST_PX:
        half = [side // 2 for side in levels[-1].shape[1::-1]]
        levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA))
    has_holes = bool((image[..., 3] < _UINT8_MAX * _OPAQUE).any())
    return Picture(tuple(levels), *_regions(image), has_holes)


def _regions(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of similar colour, by k-means, and the mean brightness of each region."""
    small = cv2.resize(image[..., :3], (_REGION_PX, _REGION_PX), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32)
    lab[:, 0] *= 0.6  # folds change the light more than the colour
    some = lab[:: len(lab) // _KMEANS_PX]
    start = np.empty(len(some), np.int32)
    start[np.argsort(some[:, 0], kind="stable")] = np.arange(len(some)) * NUM_REGIONS // len(some)
    stop = (cv2.TERM_CRITERIA_MAX_ITER, 12, 0)
    start_there = cv2.KMEANS_USE_INITIAL_LABELS
    centre = cv2.kmeans(some, NUM_REGIONS, start[:, None], stop, 1, start_there)[2]
    squared = (centre**2).sum(axis=1) - 2 * lab @ centre.T
    label = squared.argmin(axis=1).astype(np.uint8).reshape(_REGION_PX, _REGION_PX)
    label = cv2.medianBlur(label, 5)
    brightness = _LINEAR[small.reshape(-1, 3)].mean(axis=1)
    count = np.bincount(label.reshape(-1), minlength=NUM_REGIONS)
    light = np.bincount(label.reshape(-1), brightness, NUM_REGIONS) / np.maximum(count, 1)
    return label, np.maximum(light, _LEAST_LIGHT)


@dataclass(frozen=True)
class Texture:
    """A picture on a surface, its colours as they are or others."""

    picture: Picture
    metres: float  # that the width of the picture covers, about
    tint: np.ndarray  # (3,) factor of all colours
    patterns: tuple[Pattern | None, ...] = (None,) * NUM_REGIONS  # in place of a region's colour

    def paint(self, uv: np.ndarray, pixel_m: float) -> np.ndarray:
        """(P, 2) places -> (P, 3) colour; ``pixel_m``: what a pixel of the image covers there."""
        sampled = _LINEAR[self._read(uv, pixel_m)[:, :3]]
        color = sampled * self.tint.astype(np.float32)
        if all(pattern is None for pattern in self.patterns):
            return np.clip(color, 0, 1)
        region = _nearest(self.picture.region, uv)
        for number, pattern in enumerate(self.patterns):
            mine = np.flatnonzero(region == number)
            if pattern is None or len(mine) == 0:
                continue
            light = sampled[mine].mean(axis=1, keepdims=True) / self.picture.light[number]
            flat = np.zeros((len(mine), 3), np.float32)
            flat[:, :2] = uv[mine] * np.float32(self.metres)
            color[mine] = pattern.paint(flat) * np.clip(light, 0, 2.5)
        return np.clip(color, 0, 1).astype(np.float32)

    def opaque(self, uv: np.ndarray, pixel_m: float) -> np.ndarray:
        """(P,) bool: nothing is seen through the texture at (P, 2) places."""
        return self._read(uv, pixel_m)[:, 3] > _UINT8_MAX * _OPAQUE

    def _read(self, uv: np.ndarray, pixel_m: float) -> np.ndarray:
        texels = pixel_m / self.metres * self.picture.levels[0].shape[1]
        level = int(np.clip(np.log2(max(texels, 1e-6)) + 0.3, 0, len(self.picture.levels) - 1))
        return _nearest(self.picture.levels[level], uv)


def _nearest(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    column = np.floor(uv[:, 0] * width).astype(np.int64) % width
    row = np.floor((1 - uv[:, 1]) * height).astype(np.int64) % height
    return image[row, column]
