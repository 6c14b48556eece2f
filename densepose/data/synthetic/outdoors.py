"""Open ground up to the horizon, a sky, and houses, trees or hills in between. Colours are linear RGB, float32."""

from __future__ import annotations

import numpy as np

from .camera import Camera
from .noise import cloud_image, fractal_noise
from .patterns import near_color, random_color, random_pattern, to_linear

# Display colours: grass, dry grass, asphalt, concrete, sand, earth, snow, water.
_GROUNDS = np.array(
    [
        *([0.36, 0.48, 0.22], [0.55, 0.54, 0.32], [0.33, 0.33, 0.35], [0.62, 0.61, 0.58]),
        *([0.80, 0.72, 0.56], [0.46, 0.36, 0.28], [0.90, 0.92, 0.95], [0.30, 0.45, 0.52]),
    ]
)
_TREES = np.array([[0.20, 0.32, 0.16], [0.30, 0.38, 0.20], [0.42, 0.36, 0.20], [0.36, 0.42, 0.46]])
_HOUSES = np.array([[0.70, 0.66, 0.60], [0.55, 0.36, 0.30], [0.45, 0.46, 0.50], [0.86, 0.84, 0.80]])


def outdoor_picture(rng: np.random.Generator, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) colour and (H, W) depth of the ground, inf elsewhere."""
    rays = camera.rays(camera.pixel_centres())
    shape = (camera.height, camera.width)
    low = to_linear(rng.uniform([0.65, 0.7, 0.75], 1.0))
    high = to_linear(rng.uniform([0.3, 0.45, 0.6], 1.0))
    slope = rays[:, 1] / np.hypot(rays[:, 0], rays[:, 2])
    color = low + np.clip(slope * 1.5, 0, 1)[:, None] * (high - low)
    clouds = cloud_image(rng, *shape, cells=3.0).reshape(-1, 1)
    color += np.clip(clouds - 0.55, 0, 1) * np.float32(rng.uniform(0, 1.5))
    azimuth = np.arctan2(rays[:, 0], rays[:, 2])
    for _ in range(rng.integers(1, 4)):
        _skyline(rng, color, azimuth, slope)
    ground = slope < 0
    depth = np.full(len(rays), np.inf, np.float32)
    depth[ground] = -np.float32(camera.position[1]) / rays[ground, 1]
    points = camera.position.astype(np.float32) + rays[ground] * depth[ground, None]
    near = _ground_color(rng, points)
    if len(near):
        # Far away the pattern is finer than a pixel: fade to its mean instead of flicker.
        fade = np.clip((depth[ground] - 4) / 12, 0, 1)[:, None]
        color[ground] = near + fade * (near.mean(axis=0) - near)
    image = np.clip(color, 0, 1).reshape(*shape, 3).astype(np.float32)
    return image, depth.reshape(shape)


def _ground_color(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    known = near_color(rng, _GROUNDS[rng.integers(len(_GROUNDS))])
    base = known if rng.random() < 0.8 else random_color(rng)
    kinds = ("mottled", "mottled", "mottled", "plain", "checks", "stripes", "camouflage")
    contrast = float(rng.choice([0.15, 0.35, 0.8], p=[0.5, 0.35, 0.15]))
    pattern = random_pattern(rng, kinds, period_m=(0.05, 2.0), base=base, contrast=contrast)
    grain = fractal_noise(points * np.float32(rng.uniform(4, 25)), 2)
    stains = fractal_noise(points * np.float32(rng.uniform(0.3, 1.5)))
    return pattern.paint(points) * (1 + 0.1 * grain + 0.1 * stains)[:, None]


def _skyline(
    rng: np.random.Generator, color: np.ndarray, azimuth: np.ndarray, slope: np.ndarray
) -> None:
    """Houses (steps) or trees and hills (noise) standing on the horizon, in place."""
    top = rng.uniform(0.05, 0.5)
    houses = rng.random() < 0.5
    if houses:
        steps = rng.uniform(0.15, 1.0, 64)
        edge = top * steps[np.floor(azimuth * rng.uniform(3, 12)).astype(int) % len(steps)]
    else:
        at = np.stack([azimuth * rng.uniform(1, 6), np.full_like(azimuth, rng.uniform(0, 16))], 1)
        at = np.concatenate([at, np.zeros((len(at), 1))], axis=1).astype(np.float32)
        edge = top * np.clip(0.6 + 0.25 * fractal_noise(at, 3), 0, None)
    inside = (slope >= 0) & (slope < edge)
    if not inside.any():
        return
    points = np.stack([azimuth[inside] * 8, slope[inside] * 8, np.zeros(inside.sum())], axis=1)
    palette = _HOUSES if houses else _TREES
    base = near_color(rng, palette[rng.integers(len(palette))])
    kinds = (
        ("plain", "checks", "stripes", "dots") if houses else ("mottled", "melange", "camouflage")
    )
    pattern = random_pattern(rng, kinds, period_m=(0.1, 0.8), base=base, contrast=0.4)
    color[inside] = pattern.paint(points.astype(np.float32))
