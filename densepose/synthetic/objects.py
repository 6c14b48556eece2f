"""Things around people: boxes, cylinders, plates and simple furniture.

Meshes: vertices (V, 3) float32 metres, faces (F, 3) int32, outside seen counter-clockwise. An
object stands on y = 0 with its middle at x = z = 0 until it is placed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .materials import Pattern, random_color, random_pattern
from .texture import Texture

_BOX_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
# fmt: off
_BOX_FACES = np.array([
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
    [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
], np.int32)
# fmt: on


def turn_about_y(angle_rad: float) -> np.ndarray:
    """(3, 3) rotation that takes the front (z) towards x."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


Mesh = tuple[np.ndarray, np.ndarray]  # vertices and faces


@dataclass(frozen=True)
class Thing:
    """A mesh with one material, in the scene or worn by a person."""

    vertices: np.ndarray  # (V, 3) world
    faces: np.ndarray  # (F, 3)
    local: np.ndarray  # (V, 3) the vertices at rest, where the pattern is painted
    pattern: Pattern | Texture  # a texture reads x and y of ``local`` as u and v
    gloss: float  # 0..1
    smooth: bool = True  # vertex normals are interpolated
    fold: float = 0.0  # how much the wrinkles of cloth disturb the normal
    is_person: bool = False  # pixels count as those of who wears it


def box(size: np.ndarray, centre: np.ndarray) -> Mesh:
    """Box of ``size`` (3,) around ``centre`` (3,) -> vertices (8, 3), faces (12, 3)."""
    return (_BOX_CORNERS * np.asarray(size) / 2 + centre).astype(np.float32), _BOX_FACES


def quads(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """(2 Q, 3) int32 faces of Q quads with the corners a, b, c, d, (Q,) each."""
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)


def cylinder(
    radius: float, height: float, centre: np.ndarray, sides: int = 24, taper: float = 1.0
) -> Mesh:
    """Upright closed cylinder; ``taper`` is the ratio of the upper radius to the lower."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.stack([np.cos(angle), np.zeros(sides), -np.sin(angle)], axis=1) * radius
    low, high = ring - [0, height / 2, 0], ring * taper + [0, height / 2, 0]
    ends = np.array([[0, -height / 2, 0], [0, height / 2, 0]])
    vertices = np.concatenate([low, high, ends]) + centre
    here = np.arange(sides)
    after = (here + 1) % sides
    bottom, top = np.full(sides, 2 * sides), np.full(sides, 2 * sides + 1)
    walls = quads(here, after, sides + after, sides + here)
    lids = [np.stack([bottom, after, here], 1), np.stack([top, sides + here, sides + after], 1)]
    return vertices.astype(np.float32), np.concatenate([walls, *lids]).astype(np.int32)


def ball(radius: float, centre: np.ndarray, rings: int = 10) -> Mesh:
    """Sphere from a grid of ``rings`` x ``2 rings`` quads."""
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1), indexing="ij"
    )
    grid = [np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)]
    vertices = np.stack(grid, axis=-1).reshape(-1, 3) * radius + centre
    width = 2 * rings + 1
    corner = (np.arange(rings)[:, None] * width + np.arange(2 * rings)).reshape(-1)
    faces = quads(corner, corner + 1, corner + width + 1, corner + width)
    return vertices.astype(np.float32), faces


def join(meshes: list[Mesh]) -> Mesh:
    """Several meshes as one."""
    vertices, faces = zip(*meshes, strict=True)
    first = np.cumsum([0, *map(len, vertices[:-1])])
    moved = [face + start for face, start in zip(faces, first, strict=True)]
    return np.concatenate(vertices), np.concatenate(moved).astype(np.int32)


def _legs(width: float, depth: float, height: float, thick: float) -> list:
    size = np.array([thick, height, thick])
    x, z = width / 2 - thick, depth / 2 - thick
    return [box(size, np.array([sx * x, height / 2, sz * z])) for sx in (-1, 1) for sz in (-1, 1)]


def table(rng: np.random.Generator) -> Mesh:
    """A table top on four legs or on one column."""
    width, depth, height = rng.uniform(0.5, 1.6), rng.uniform(0.4, 0.8), rng.uniform(0.45, 0.95)
    top = box(np.array([width, 0.04, depth]), np.array([0, height, 0]))
    if rng.random() < 0.5:
        return join([top, *_legs(width, depth, height, rng.uniform(0.03, 0.08))])
    return join([top, cylinder(rng.uniform(0.04, 0.15), height, np.array([0, height / 2, 0]))])


def chair(width: float, seat_height: float, depth: float, back: float) -> Mesh:
    """Seat from z = -depth to 0 (people face +z), legs, and a back of height ``back`` (0: none)."""
    seat = box(np.array([width, 0.05, depth]), np.array([0, seat_height - 0.025, 0]))
    parts = [seat, *_legs(width, depth, seat_height - 0.05, 0.04)]
    if back > 0:
        centre = np.array([0, seat_height + back / 2, -depth / 2])
        parts.append(box(np.array([width, back, 0.03]), centre))
    vertices, faces = join(parts)
    return vertices - np.array([0, 0, depth / 2], np.float32), faces


def _crate(rng: np.random.Generator) -> Mesh:
    size = rng.uniform([0.2, 0.2, 0.2], [0.8, 1.1, 0.6])
    return box(size, np.array([0, size[1] / 2, 0]))


def _barrel(rng: np.random.Generator) -> Mesh:
    height = rng.uniform(0.3, 1.2)
    return cylinder(
        rng.uniform(0.08, 0.3), height, np.array([0, height / 2, 0]), 24, rng.uniform(0.7, 1.2)
    )


def _pole(rng: np.random.Generator) -> Mesh:
    return cylinder(rng.uniform(0.02, 0.09), 3.2, np.array([0, 1.6, 0]))


def _plate(rng: np.random.Generator) -> Mesh:
    size = np.array([rng.uniform(0.2, 0.9), rng.uniform(0.3, 1.3), 0.02])
    return box(size, np.array([0, size[1] / 2 + rng.choice([0.0, rng.uniform(0.2, 0.9)]), 0]))


def _ball(rng: np.random.Generator) -> Mesh:
    radius = rng.uniform(0.08, 0.3)
    return ball(radius, np.array([0, radius + rng.choice([0.0, rng.uniform(0.2, 1.2)]), 0]))


def _fence(rng: np.random.Generator) -> Mesh:
    height, thick, gap = rng.uniform(0.5, 1.1), rng.uniform(0.02, 0.05), rng.uniform(0.12, 0.25)
    posts = [box([thick, height, thick], [x, height / 2, 0]) for x in np.arange(-1.2, 1.21, gap)]
    rails = [box([2.6, thick, thick], [0, y * height, 0]) for y in (0.25, 0.95)]
    return join(posts + rails)


_MAKERS = (table, _crate, _barrel, _pole, _plate, _ball, _fence)
_WEIGHTS = (0.22, 0.2, 0.15, 0.13, 0.14, 0.1, 0.06)
_SMOOTH = (_barrel, _pole, _ball)


def place(
    mesh: Mesh,
    position: np.ndarray,
    heading_rad: float,
    pattern: Pattern,
    *,
    gloss: float = 0.2,
    smooth: bool = False,
) -> Thing:
    """Turn a mesh about y by ``heading_rad`` and move it to ``position`` (3,)."""
    vertices, faces = mesh
    world = (vertices @ turn_about_y(heading_rad).T + position).astype(np.float32)
    return Thing(world, faces, vertices, pattern, gloss, smooth)


def random_object(rng: np.random.Generator, position: np.ndarray) -> Thing:
    """Any of the things this file knows, standing at ``position``."""
    maker = _MAKERS[rng.choice(len(_MAKERS), p=_WEIGHTS)]
    mesh = maker(rng)
    heading = rng.uniform(0, 2 * np.pi)
    gloss = rng.choice([0.05, 0.2, 0.6])
    kinds = ("plain", "plain", "plain", "mottled", "stripes", "checks", "dots", "planks")
    contrast = float(rng.choice([0.2, 0.5, 1.0]))
    pattern = random_pattern(rng, kinds, base=random_color(rng, dull=0.65), contrast=contrast)
    return place(mesh, position, heading, pattern, gloss=gloss, smooth=maker in _SMOOTH)
