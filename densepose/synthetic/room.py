"""The inside of a box around the scene: floor, ceiling, walls with doors and cupboards.

Colours are linear RGB, float32.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .camera import Camera
from .noise import fractal_noise
from .patterns import (
    Pattern,
    contrasting,
    near_color,
    random_color,
    random_pattern,
    to_linear,
)

# Display colours of walls and of floors (wood, tiles, carpet).
_WALLS = np.array(
    [
        *([0.88, 0.87, 0.83], [0.93, 0.93, 0.94], [0.80, 0.76, 0.68], [0.66, 0.70, 0.74]),
        *([0.62, 0.66, 0.58], [0.76, 0.62, 0.52], [0.42, 0.45, 0.50], [0.55, 0.35, 0.30]),
    ]
)
_FLOORS = np.array(
    [
        *([0.60, 0.43, 0.28], [0.42, 0.28, 0.19], [0.74, 0.62, 0.46], [0.66, 0.65, 0.63]),
        *([0.36, 0.37, 0.39], [0.55, 0.50, 0.44], [0.35, 0.40, 0.50], [0.50, 0.26, 0.24]),
    ]
)


def room_picture(rng: np.random.Generator, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) colour and (H, W) depth of the floor, inf elsewhere."""
    heading = rng.uniform(0, np.pi / 2)
    cosine, sine = np.cos(heading), np.sin(heading)
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]], np.float32)
    origin = (turn @ camera.position).astype(np.float32)
    rays = camera.rays(camera.pixel_centres()) @ turn.T
    size = rng.uniform(1.2, 4.5, 4)
    low = np.minimum([-size[0], 0.0, -size[1]], origin - [0.3, 0.0, 0.3])
    high = np.maximum([size[2], rng.uniform(2.3, 3.4), size[3]], origin + 0.3)
    # Distance at which each ray leaves the pair of planes of each axis.
    leave = [_leave(rays[:, k], low[k] - origin[k], high[k] - origin[k]) for k in range(3)]
    depth = np.minimum(np.minimum(leave[0], leave[1]), leave[2])
    axis = np.where(depth == leave[0], 0, np.where(depth == leave[1], 1, 2)).astype(np.int8)
    points = origin + rays * depth[:, None]
    along = np.where(axis == 0, rays[:, 0], np.where(axis == 1, rays[:, 1], rays[:, 2]))
    side = 2 * axis + (along > 0)
    color = _paint_sides(rng, points, side)
    gaps = [np.minimum(points[:, k] - low[k], high[k] - points[:, k]) for k in range(3)]
    gaps = [np.where(axis == k, np.inf, gap) for k, gap in enumerate(gaps)]
    # Corners are darker: distance to the nearest other wall, in metres.
    gap = np.minimum(np.minimum(gaps[0], gaps[1]), gaps[2]).astype(np.float32)
    color *= (0.72 + 0.28 * np.clip(gap / 0.4, 0, 1))[:, None]
    shape = (camera.height, camera.width)
    image = np.clip(color, 0, 1).reshape(*shape, 3)
    return image, np.where(side == 2, depth, np.float32(np.inf)).reshape(shape)


def _leave(ray: np.ndarray, low: float, high: float) -> np.ndarray:
    """(R,) components of rays -> how far until they have passed ``low`` < 0 or ``high`` > 0."""
    bound = np.where(ray > 0, np.float32(high), np.float32(low))
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
        color[mine] = painted * np.float32(rng.uniform(0.7, 1.0))  # its own share of the light
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
