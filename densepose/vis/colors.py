"""Colours of parts and of chart coordinates. All colours are RGB, uint8."""

from __future__ import annotations

import cv2
import numpy as np

# (part of the person's right or the only one, part of the left): a pair shares a hue. Neighbours on
# the body are neighbours here too, and these get hues that are far apart.
_PART_PAIRS = (
    (2, 2),  # torso, front
    (16, 15),  # upper arms, front
    (11, 12),  # lower legs, back
    (6, 5),  # feet
    (22, 21),  # lower arms, back
    (1, 1),  # torso, back
    (9, 10),  # upper legs, front
    (3, 4),  # hands
    (23, 24),  # head
    (18, 17),  # upper arms, back
    (13, 14),  # lower legs, front
    (20, 19),  # lower arms, front
    (7, 8),  # upper legs, back
)
_LIGHTNESS_RIGHT, _LIGHTNESS_BOTH, _LIGHTNESS_LEFT = 0.58, 0.70, 0.82
_CHROMA = 0.14


def _oklch_to_rgb(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Perceptual lightness, chroma and hue (radians), each (K,), -> (K, 3) uint8.

    The matrices are those of B. Ottosson, "A perceptual color space for image processing" (2020).
    """
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    to_cones = np.array(
        [
            [1.0, 0.3963377774, 0.2158037573],
            [1.0, -0.1055613458, -0.0638541728],
            [1.0, -0.0894841775, -1.2914855480],
        ]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = ((lab @ to_cones.T) ** 3 @ to_linear.T).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * srgb).astype(np.uint8)


def _part_palette() -> np.ndarray:
    pairs = np.array(_PART_PAIRS)
    # Steps of five thirteenths of the circle: neighbours in the list are far apart.
    hue = 2 * np.pi * (np.arange(len(pairs)) * 5 % len(pairs)) / len(pairs)
    chroma = np.full(len(pairs), _CHROMA)
    single = pairs[:, 0] == pairs[:, 1]
    palette = np.zeros((25, 3), np.uint8)
    right = np.where(single, _LIGHTNESS_BOTH, _LIGHTNESS_RIGHT)
    left = np.where(single, _LIGHTNESS_BOTH, _LIGHTNESS_LEFT)
    palette[pairs[:, 0]] = _oklch_to_rgb(right, chroma, hue)
    palette[pairs[:, 1]] = _oklch_to_rgb(left, chroma, hue)
    palette.flags.writeable = False
    return palette


# (25, 3): colour of each part, 0 is black. The two sides of the body share a hue; the person's left
# is the lighter one.
PART_COLORS = _part_palette()


def part_colors(part: np.ndarray) -> np.ndarray:
    """Parts 0..24 of any shape -> colours (*shape, 3)."""
    return PART_COLORS[part]


def value_colors(value: np.ndarray) -> np.ndarray:
    """Values 0..255 (uint8) of any shape -> colours (*shape, 3), dark blue to green to yellow."""
    value = np.asarray(value, np.uint8)
    colors = cv2.applyColorMap(value.reshape(1, -1), cv2.COLORMAP_VIRIDIS)
    return colors[..., ::-1].reshape(*value.shape, 3)


def chart_colors(part: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """The colour of the part, whiter with growing U and darker with growing V.

    Args:
        part: 0..24, any shape.
        uv: (*shape, 2) uint8 steps of 1 / 255.

    Returns:
        (*shape, 3); background is black.
    """
    u, v = np.moveaxis(uv.astype(np.float32) / 255, -1, 0)
    base = PART_COLORS[part].astype(np.float32)
    white = (0.6 * u)[..., None]
    shaded = (base + (255 - base) * white) * (1 - 0.65 * v)[..., None]
    return (shaded * (part > 0)[..., None]).astype(np.uint8)
