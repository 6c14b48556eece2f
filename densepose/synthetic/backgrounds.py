"""What is behind people: rooms, open ground, abstract pictures.

Colours are linear RGB, float32. A background may have a floor at y = 0; then people cast shadows on
it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .camera import Camera
from .materials import (
    Pattern,
    contrasting,
    near_color,
    random_color,
    random_pattern,
    to_linear,
)
from .noise import cloud_image, fractal_noise
from .objects import turn_about_y

# Display colours.
# fmt: off
_WALLS = np.array([
    [0.88, 0.87, 0.83], [0.93, 0.93, 0.94], [0.80, 0.76, 0.68], [0.66, 0.70, 0.74],
    [0.62, 0.66, 0.58], [0.76, 0.62, 0.52], [0.42, 0.45, 0.50], [0.55, 0.35, 0.30],
])
_FLOORS = np.array([  # wood, tiles, carpet
    [0.60, 0.43, 0.28], [0.42, 0.28, 0.19], [0.74, 0.62, 0.46], [0.66, 0.65, 0.63],
    [0.36, 0.37, 0.39], [0.55, 0.50, 0.44], [0.35, 0.40, 0.50], [0.50, 0.26, 0.24],
])
_GROUNDS = np.array([  # grass, dry grass, asphalt, concrete, sand, earth, snow, water
    [0.36, 0.48, 0.22], [0.55, 0.54, 0.32], [0.33, 0.33, 0.35], [0.62, 0.61, 0.58],
    [0.80, 0.72, 0.56], [0.46, 0.36, 0.28], [0.90, 0.92, 0.95], [0.30, 0.45, 0.52],
])
_TREES = np.array([[0.20, 0.32, 0.16], [0.30, 0.38, 0.20], [0.42, 0.36, 0.20], [0.36, 0.42, 0.46]])
_HOUSES = np.array([[0.70, 0.66, 0.60], [0.55, 0.36, 0.30], [0.45, 0.46, 0.50], [0.86, 0.84, 0.80]])
# fmt: on


@dataclass(frozen=True)
class Background:
    """The picture behind everything and, per pixel, how far along its ray the floor is."""

    color: np.ndarray  # (H, W, 3) linear RGB
    floor_depth: np.ndarray | None  # (H, W) metres, inf where no floor is seen; None: no floor


def random_background(rng: np.random.Generator, camera: Camera) -> Background:
    """A generated background: half rooms, a third outdoors, the others abstract."""
    draw = rng.random()
    return (_room if draw < 0.5 else _outdoors if draw < 0.82 else _abstract)(rng, camera)


def _abstract(rng: np.random.Generator, camera: Camera) -> Background:
    height, width = camera.height, camera.width
    clouds = cloud_image(rng, height, width, cells=rng.uniform(1, 8), octaves=5)[..., None]
    first, second = random_color(rng), random_color(rng)
    image = (first + clouds * (second - first)).astype(np.float32)
    for _ in range(rng.integers(3, 14)):
        _draw_shape(rng, image)
    blur = rng.uniform(0.0, 3.0)
    if blur > 0.5:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    return Background(image, None)


def _draw_shape(rng: np.random.Generator, image: np.ndarray) -> None:
    """A box, ellipse, line or polygon of 5 to 60 % of the image height, in place."""
    height, width = image.shape[:2]
    color = random_color(rng)
    size = rng.uniform(0.05, 0.6, 2) * height
    centre = rng.uniform(0, 1, 2) * (width, height)
    mask = np.zeros((height, width), np.float32)
    kind = rng.integers(4)
    if kind == 0:
        angle = float(rng.choice([0, rng.uniform(0, 90)]))
        corners = cv2.boxPoints((tuple(centre), tuple(size), angle))
        cv2.fillConvexPoly(mask, corners.astype(np.int32), 1.0, cv2.LINE_AA)
    elif kind == 1:
        turned = (tuple(centre), tuple(size), float(rng.uniform(0, 180)))
        cv2.ellipse(mask, turned, 1.0, -1, cv2.LINE_AA)
    elif kind == 2:
        ends = (centre + rng.uniform(-1, 1, (2, 2)) * 2 * size.max()).astype(np.int32)
        thickness = int(rng.integers(1, max(2, int(height * 0.06))))
        cv2.line(mask, *ends.tolist(), 1.0, thickness, cv2.LINE_AA)
    else:
        corners = centre + rng.uniform(-0.5, 0.5, (int(rng.integers(3, 7)), 2)) * size * 2
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1.0, cv2.LINE_AA)
    shade = color * rng.uniform(0.6, 1.0)
    ramp = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    weight = (mask * np.float32(rng.uniform(0.6, 1.0)))[..., None].astype(np.float32)
    image += weight * ((color + ramp * (shade - color)).astype(np.float32) - image)


def _room(rng: np.random.Generator, camera: Camera) -> Background:
    """The inside of a box: floor, ceiling, walls with doors, pictures and cupboards."""
    heading = rng.uniform(0, np.pi / 2)
    turn = turn_about_y(heading).astype(np.float32)
    origin = (turn @ camera.position).astype(np.float32)
    rays = camera.rays(camera.pixel_centres()) @ turn.T
    size = rng.uniform(1.2, 4.5, 4)
    low = np.minimum([-size[0], 0.0, -size[1]], origin - [0.3, 0.0, 0.3])
    high = np.maximum([size[2], rng.uniform(2.3, 3.4), size[3]], origin + 0.3)
    # Distance at which each ray leaves the pair of planes of each axis.
    leave = _leave(rays, low - origin, high - origin)
    axis, depth = leave.argmin(axis=1)[:, None], leave.min(axis=1)
    points = origin + rays * depth[:, None]
    side = (2 * axis + (np.take_along_axis(rays, axis, 1) > 0))[:, 0]
    color = _paint_sides(rng, points, side)
    # Corners are darker: distance to the nearest other wall, in metres.
    gaps = np.minimum(points - low, high - points)
    np.put_along_axis(gaps, axis, np.inf, 1)
    gap = gaps.min(axis=1).astype(np.float32)
    color *= (0.72 + 0.28 * np.clip(gap / 0.4, 0, 1))[:, None]
    shape = (camera.height, camera.width)
    image = np.clip(color, 0, 1).reshape(*shape, 3)
    return Background(image, np.where(side == 2, depth, np.float32(np.inf)).reshape(shape))


def _leave(ray: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(R, 3) rays -> (R, 3) how far until they have passed ``low`` < 0 or ``high`` > 0, (3,)."""
    bound = np.where(ray > 0, high.astype(np.float32), low.astype(np.float32))
    return bound / np.where(np.abs(ray) < 1e-6, np.copysign(np.float32(1e-6), ray), ray)


def _paint_sides(rng: np.random.Generator, points: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Colour of points on the sides 2 * axis + (1 at its upper end); 2 is the floor."""
    color = np.empty_like(points)
    wall = random_pattern(
        rng,
        ("plain", "plain", "plain", "mottled", "stripes", "dots"),
        period_m=(0.1, 0.5),
        base=near_color(rng, _WALLS[rng.integers(len(_WALLS))]),
        contrast=float(rng.choice([0.12, 0.4, 1.0], p=[0.55, 0.3, 0.15])),
    )
    for number in np.flatnonzero(np.bincount(side, minlength=6)):
        mine = np.flatnonzero(side == number)
        if number == 2:
            painted = _floor_color(rng, points[mine])
        elif number == 3:
            painted = np.full((len(mine), 3), rng.uniform(0.55, 0.8), np.float32)
        else:
            painted = _wall_color(rng, points[mine], 2 - 2 * (number // 4), wall)
        color[mine] = painted * np.float32(rng.uniform(0.7, 1.0))  # its own fraction of the light
    return color


def _floor_color(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    floor = random_pattern(
        rng,
        ("plain", "checks", "mottled", "planks", "planks", "planks", "stripes", "melange"),
        period_m=(0.12, 0.8),
        base=near_color(rng, _FLOORS[rng.integers(len(_FLOORS))]),
        contrast=float(rng.choice([0.12, 0.3, 0.9], p=[0.5, 0.35, 0.15])),
    )
    # Planks and tiles lie along the walls.
    floor = replace(floor, axes=np.eye(3)[[0, 2, 1]])
    stains = fractal_noise(points * np.float32(rng.uniform(0.5, 2.0)))
    return floor.paint(points) * (1 + 0.1 * stains)[:, None]


def _wall_color(
    rng: np.random.Generator, points: np.ndarray, along: int, base: Pattern
) -> np.ndarray:
    """One wall; ``along`` is the axis (0 or 2) that runs along it."""
    color = base.paint(points)
    x, y = points[:, along], points[:, 1]
    skirting = to_linear(np.full(3, rng.uniform(0.2, 0.95)))
    color[y < rng.uniform(0.05, 0.13)] = skirting
    if rng.random() < 0.25:
        color[y < rng.uniform(0.7, 1.2)] = near_color(rng, _WALLS[rng.integers(len(_WALLS))])
    for _ in range(rng.integers(1, 6)):
        _put_panel(rng, color, x, y)
    return color


def _put_panel(rng: np.random.Generator, color: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """A picture, door, window, shelf or cupboard with its frame, in place."""
    left, width = rng.uniform(-4.0, 4.0), rng.uniform(0.3, 1.6)
    bottom, height = rng.choice([0.0, rng.uniform(0.4, 1.6)]), rng.uniform(0.3, 2.1)
    inside = (x > left) & (x < left + width) & (y > bottom) & (y < bottom + height)
    if not inside.any():
        return
    frame = rng.uniform(0.015, 0.06)
    core = inside & (x > left + frame) & (x < left + width - frame)
    core &= (y > bottom + frame) & (y < bottom + height - frame)
    color[inside] = random_color(rng, dull=0.8)
    ground = random_color(rng, dull=0.65)
    pattern = random_pattern(rng, base=ground, contrast=float(rng.choice([0.2, 0.6, 1.0])))
    at = np.stack([x[core], y[core], np.zeros(core.sum(), np.float32)], axis=1)
    color[core] = pattern.paint(at)
    if rng.random() < 0.3:
        # Doors of a cupboard, boards of a shelf.
        step = rng.uniform(0.25, 0.6)
        value = x - left if rng.random() < 0.5 else y - bottom
        color[core & (np.mod(value, step) < 0.02)] = contrasting(rng, ground)


def _outdoors(rng: np.random.Generator, camera: Camera) -> Background:
    """Open ground up to the horizon, a sky, and houses, trees or hills."""
    rays = camera.rays(camera.pixel_centres())
    slope = rays[:, 1] / np.hypot(rays[:, 0], rays[:, 2])
    color = np.zeros_like(rays)
    above, ground = np.flatnonzero(slope >= 0), np.flatnonzero(slope < 0)
    if len(above):
        color[above] = _sky_and_skyline(rng, rays[above], slope[above])
    depth = camera.floor_depth()
    if len(ground):
        to_ground = depth.reshape(-1)[ground]
        points = camera.position.astype(np.float32) + rays[ground] * to_ground[:, None]
        color[ground] = _ground_color(rng, points, to_ground)
    return Background(np.clip(color, 0, 1).reshape(*depth.shape, 3), depth)


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
