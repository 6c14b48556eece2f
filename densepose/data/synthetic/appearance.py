"""What a person wears from head to foot: drawn at random, painted on the skin, and how thick it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy, BodyPoints
from .bottoms import (
    Bottom,
    Footwear,
    bottom_region,
    paint_bottom,
    paint_footwear,
    sample_bottom,
    sample_footwear,
    shoe_region,
)
from .head import Head, hair_depth, hat_region, paint_head, sample_head
from .noise import fractal_noise
from .paint import Paint
from .tops import Top, paint_top, sample_jacket, sample_top, top_region

_SHOE_THICKNESS_M = 0.007


@dataclass(frozen=True)
class Appearance:
    """Everything about the look of one person."""

    head: Head
    top: Top
    jacket: Top | None
    bottom: Bottom
    shoes: Footwear
    tucked: bool
    texture_shift: np.ndarray  # (3,) noise units: nobody shares wrinkles with anybody


def sample_appearance(rng: np.random.Generator, sex: float, age: float) -> Appearance:
    """A random outfit; ``sex`` -1 female to 1 male and ``age`` shift the odds only."""
    head = sample_head(rng, sex, age)
    top = sample_top(rng, head.skin, sex)
    bottom = sample_bottom(rng, top.pattern.colors[0], sex)
    return Appearance(
        head=head,
        top=top,
        jacket=sample_jacket(rng, top),
        bottom=bottom,
        shoes=sample_footwear(rng, sex),
        tucked=bool(rng.random() < 0.3),
        texture_shift=rng.uniform(0, 16, 3).astype(np.float32),
    )


def paint_body(look: Appearance, points: BodyPoints, anatomy: Anatomy) -> Paint:
    """Material at points of the skin, clothes over skin, hair over clothes."""
    landmark = anatomy.landmark
    paint = Paint(len(points.part))
    skin = look.head.skin
    tone = 1 + 0.05 * fractal_noise(points.rest * 7.0 + look.texture_shift)
    paint.color[:] = skin * tone[:, None]
    paint.gloss[:] = 0.15
    _paint_bare_skin(paint, skin, points, anatomy)
    paint_footwear(paint, look.shoes, points, landmark)
    wears_trousers = look.top.kind not in ("dress", "swim")
    if wears_trousers and not look.tucked:
        paint_bottom(paint, look.bottom, points)
    if look.top.kind != "bare":
        paint_top(paint, look.top, points, landmark)
    if wears_trousers and look.tucked:
        paint_bottom(paint, look.bottom, points)
    if look.jacket is not None:
        paint_top(paint, look.jacket, points, landmark)
    paint_head(paint, look.head, points, landmark)
    return paint


def _paint_bare_skin(paint: Paint, skin: np.ndarray, points: BodyPoints, anatomy: Anatomy) -> None:
    """What tells front from back on bare skin: navel, nipples, spine, elbows, palms."""
    x, y = points.x, points.y
    back = points.on("back")
    torso = points.on("torso")
    chest = anatomy.landmark["chest"][1]
    paint.put(torso & ~back & (x**2 + (y - chest + 0.1) ** 2 < 0.008**2), skin * 0.35)
    paint.put(
        torso & ~back & ((np.abs(x) - 0.095) ** 2 + (y - chest - 0.125) ** 2 < 0.012**2),
        skin * 0.55,
    )
    paint.shade(torso & back & (np.abs(x) < 0.007), 0.75)
    paint.shade(points.on("arm") & back & (np.abs(points.arm - 1.0) < 0.07), 0.8)
    paint.shade(
        points.on("leg") & ~back & (np.abs(points.leg - 0.98) < 0.07) & (points.forward > 0.3), 0.85
    )


def thickness(look: Appearance, anatomy: Anatomy) -> np.ndarray:
    """(V,) metres that clothes, shoes and hair stand out from each vertex of the body."""
    points = anatomy.vertices()
    landmark = anatomy.landmark
    depth = np.zeros(len(points.part), np.float32)
    billow = np.clip(1 + 0.45 * fractal_noise(points.rest * 3.5 + look.texture_shift), 0.1, 2.2)
    layers = [(look.bottom, bottom_region(look.bottom, points))]
    if look.top.kind in ("dress", "swim"):
        layers = []
    layers += [
        (top, top_region(top, points, landmark))
        for top in (look.top, look.jacket)
        if top is not None
    ]
    for garment, region in layers:
        depth[region] = np.maximum(depth[region], (garment.loose_m * billow)[region])
    depth[shoe_region(look.shoes, points)] += _SHOE_THICKNESS_M
    head = look.head
    if head.cut not in ("bald", "buzz"):
        inside = hair_depth(head, points, landmark)
        on_head = points.on("head")
        full = head.volume_m * (1.3 if head.cut == "quiff" else 1.0)
        ruffled = np.clip(
            1 + 0.3 * fractal_noise(points.rest * 14.0 + look.texture_shift), 0.3, 1.8
        )
        rise = np.clip(inside / 0.03, 0, 1) * full * ruffled
        depth += np.where(on_head, rise, 0.3 * rise).astype(np.float32)
    hat = hat_region(head, points, landmark)
    depth[hat] = np.maximum(depth[hat], {"helmet": 0.03, "band": 0.0}.get(head.hat, 0.012))
    return depth
