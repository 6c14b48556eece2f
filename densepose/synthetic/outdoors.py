"""Open ground up to the horizon, a sky, and houses, trees or hills; linear RGB, float32."""

from __future__ import annotations

import numpy as np

from .camera import Camera
from .noise import fractal_noise
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
    slope = rays[:, 1] / np.hypot(rays[:, 0], rays[:, 2])
    color = np.zeros_like(rays)
    above, ground = np.flatnonzero(slope >= 0), np.flatnonzero(slope < 0)
    if len(above):
        color[above] = _sky_and_skyline(rng, rays[above], slope[above])
    depth = np.full(len(rays), np.inf, np.float32)
    depth[ground] = -np.float32(camera.position[1]) / rays[ground, 1]
    if len(ground):
        points = camera.position.astype(np.float32) + rays[ground] * depth[ground, None]
        color[ground] = _ground_color(rng, points, depth[ground])
    return np.clip(color, 0, 1).reshape(*shape, 3), depth.reshape(shape)


def _sky_and_skyline(rng: np.random.Generator, rays: np.ndarray, slope: np.ndarray) -> np.ndarray:
    low = to_linear(rng.uniform([0.65, 0.7, 0.75], 1.0))
    high = to_linear(rng.uniform([0.3, 0.45, 0.6], 1.0))
    color = low + np.clip(slope * 1.5, 0, 1)[:, None] * (high - low)
    azimuth = np.arctan2(rays[:, 0], rays[:, 2])
    at = np.stack([azimuth * 3, slope * 9, np.full_like(slope, rng.uniform(0, 50))], axis=1)
    clouds = np.clip(fractal_noise(at, 3) - 0.2, 0, 1.5)
    color += clouds[:, None] * np.float32(rng.uniform(0, 0.3))
    for _ in range(rng.integers(1, 4)):
        _skyline(rng, color, azimuth, slope)
    return color


def _ground_color(rng: np.random.Generator, points: np.ndarray, depth: np.ndarray) -> np.ndarray:
    known = near_color(rng, _GROUNDS[rng.integers(len(_GROUNDS))])
    base = known if rng.random() < 0.8 else random_color(rng)
    kinds = ("mottled", "mottled", "mottled", "plain", "checks", "stripes", "camouflage")
    contrast = float(rng.choice([0.15, 0.35, 0.8], p=[0.5, 0.35, 0.15]))
    pattern = random_pattern(rng, kinds, period_m=(0.05, 2.0), base=base, contrast=contrast)
    grain, stain = np.float32(rng.uniform(4, 25)), np.float32(rng.uniform(0.3, 1.5))
    # Far away the pattern is finer than a pixel: fade to its mean instead of flicker.
    fade = np.clip((depth - 4) / 12, 0, 1)
    near = np.flatnonzero(fade < 1)
    if len(near) == 0:
        return np.broadcast_to(base, points.shape)
    at = points[near]
    tone = 1 + 0.1 * fractal_noise(at * grain, 2) + 0.1 * fractal_noise(at * stain)
    detail = pattern.paint(at) * tone[:, None]
    color = np.empty_like(points)
    color[:] = detail.mean(axis=0)
    color[near] = detail + fade[near, None] * (color[near] - detail)
    return color


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
        # The outline depends on the direction only: draw it once on a fine ring.
        ring = np.linspace(-np.pi, np.pi, 2048, dtype=np.float32)
        at = np.stack(
            [ring * rng.uniform(1, 6), np.full_like(ring, rng.uniform(0, 16)), 0 * ring], 1
        )
        outline = top * np.clip(0.6 + 0.25 * fractal_noise(at, 3), 0, None)
        edge = np.interp(azimuth, ring, outline)
    inside = np.flatnonzero(slope < edge)
    if len(inside) == 0:
        return
    flat = np.zeros(len(inside), np.float32)
    points = np.stack([azimuth[inside] * 8, slope[inside] * 8, flat], axis=1)
    palette = _HOUSES if houses else _TREES
    base = near_color(rng, palette[rng.integers(len(palette))])
    kinds = (
        ("plain", "checks", "stripes", "dots") if houses else ("mottled", "melange", "camouflage")
    )
    pattern = random_pattern(rng, kinds, period_m=(0.1, 0.8), base=base, contrast=0.4)
    color[inside] = pattern.paint(points)
