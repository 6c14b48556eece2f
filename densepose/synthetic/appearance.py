"""What a person wears from head to foot: drawn at random, painted, and how thick it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from densepose.surface.mesh import vertex_normals

from .anatomy import Anatomy, BodyPoints
from .bottoms import Bottom, bottom_region, paint_bottom, sample_bottom
from .footwear import Footwear, paint_footwear, sample_footwear, shoe_region
from .head import LONGEST_HAIR_M, Head, hair_depth, hat_region, paint_head, sample_head
from .materials import Paint, Pattern, random_pattern
from .noise import fractal_noise
from .tops import ONE_PIECE, Top, paint_top, sample_jacket, sample_top, top_region

_SHOE_THICKNESS_M = 0.014
# Rounds of averaging with the neighbours that cloth and shoes take to hide the forms of the body.
_CLOTH_SMOOTHING, _SHOE_SMOOTHING = 5, 9


@dataclass(frozen=True)
class Appearance:
    """Everything about the look of one person."""

    head: Head
    top: Top
    jacket: Top | None
    bottom: Bottom
    shoes: Footwear
    tucked: bool
    backpack: Pattern | None
    texture_shift: np.ndarray  # (3,) noise units: no two people have the same wrinkles


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
        backpack=random_pattern(rng, ("plain", "melange")) if rng.random() < 0.07 else None,
        texture_shift=rng.uniform(0, 16, 3).astype(np.float32),
    )


def paint_body(look: Appearance, points: BodyPoints) -> Paint:
    """Material at points of the skin, clothes over skin, hair over clothes."""
    paint = Paint(len(points.part))
    tone = 1 + 0.05 * fractal_noise(points.rest * 7.0 + look.texture_shift)
    paint.color[:] = look.head.skin * tone[:, None]
    paint.gloss[:] = 0.15
    _paint_bare_skin(paint, look.head.skin, points)
    for where, apply, garment in _layers(look, points):
        index = np.flatnonzero(where)
        if len(index):
            layer = paint.part(index)
            apply(layer, garment, points[index])
            paint.merge(index, layer)
    return paint


def _layers(look: Appearance, points: BodyPoints) -> list[tuple[np.ndarray, Callable, Any]]:
    """Where something may lie (P,) bool, how it is painted, and what it is; the lowest first."""
    torso = points.on("torso")
    extremity = points.on("foot") | points.on("hand") | (points.leg > 1.2) | (points.arm > 1.7)
    trunk_and_arms = torso | points.on("arm")
    if look.top.skirt > 0:
        trunk_and_arms |= points.on("leg")
    trousers = (torso | points.on("leg"), paint_bottom, look.bottom)
    top = (trunk_and_arms, paint_top, look.top)
    layers = [(extremity, paint_footwear, look.shoes)]
    if look.top.kind in ONE_PIECE:
        layers.append(top)
    elif look.top.kind == "bare":
        layers.append(trousers)
    else:
        layers += [top, trousers] if look.tucked else [trousers, top]
    if look.jacket is not None:
        layers.append((trunk_and_arms, paint_top, look.jacket))
    if look.backpack is not None:
        layers.append((torso, _paint_straps, look.backpack.colors[0] * np.float32(0.6)))
    hairy = points.on("head") | (points.y > points.landmark["l_eye"][1] - LONGEST_HAIR_M)
    layers.append((hairy, paint_head, look.head))
    return layers


def _paint_straps(paint: Paint, color: np.ndarray, points: BodyPoints) -> None:
    beside = np.abs(np.abs(points.x) - 0.095) < 0.021
    high = points.y > points.landmark["chest"][1]
    paint.put(beside & high & ~points.on("back"), color, fold=0.0)


def _paint_bare_skin(paint: Paint, skin: np.ndarray, points: BodyPoints) -> None:
    """What tells front from back on bare skin: navel, nipples, spine, elbows, knees."""
    x, y, side = points.x, points.y, np.abs(points.x)
    torso, back = points.on("torso"), points.on("back")
    chest = points.landmark["chest"][1]
    front = torso & ~back
    paint.put(front & (x**2 + (y - chest + 0.1) ** 2 < 0.008**2), skin * 0.35)
    paint.put(front & ((side - 0.095) ** 2 + (y - chest - 0.125) ** 2 < 0.012**2), skin * 0.55)
    paint.shade(torso & back & (side < 0.007), 0.75)
    paint.shade(points.on("arm") & back & (np.abs(points.arm - 1.0) < 0.07), 0.8)
    knee = points.on("leg") & ~back & (np.abs(points.leg - 0.98) < 0.07)
    paint.shade(knee & (points.forward > 0.3), 0.85)


def clothed_surface(look: Appearance, anatomy: Anatomy, skin: np.ndarray) -> np.ndarray:
    """(V, 3) posed skin -> (V, 3) what is seen, with the forms of clothes, hair and soles."""
    points = anatomy.vertices()
    drape, depth = _cloth(look, points)
    depth += _hair(look, points)
    shoe = shoe_region(look.shoes, points)
    depth[shoe] += _SHOE_THICKNESS_M
    smooth = skin
    surface = skin.copy()
    for step in range(1, _SHOE_SMOOTHING + 1):
        smooth = anatomy.smoothing @ smooth
        if step == _CLOTH_SMOOTHING:
            surface += drape[:, None] * (smooth - surface)
    surface[shoe] = smooth[shoe]
    return surface + vertex_normals(surface, anatomy.template.mesh.faces) * depth[:, None]


def _cloth(look: Appearance, points: BodyPoints) -> tuple[np.ndarray, np.ndarray]:
    """How far (V,) cloth hides the forms under it, 0..1, and how far (V,) it stands out, metres."""
    drape = np.zeros(len(points.part), np.float32)
    depth = np.zeros(len(points.part), np.float32)
    billow = np.clip(1 + 0.45 * fractal_noise(points.rest * 3.5 + look.texture_shift), 0.1, 2.2)
    layers = [(top, top_region(top, points)) for top in (look.top, look.jacket) if top is not None]
    if look.top.kind not in ONE_PIECE:
        layers.append((look.bottom, bottom_region(look.bottom, points)))
    for garment, region in layers:
        depth[region] = np.maximum(depth[region], (garment.loose_m * billow)[region])
        drape[region] = np.maximum(drape[region], min(1.0, garment.loose_m / 0.012))
    return drape, depth


def _hair(look: Appearance, points: BodyPoints) -> np.ndarray:
    """(V,) metres that hair and hats stand out."""
    head = look.head
    depth = np.zeros(len(points.part), np.float32)
    if head.cut not in ("bald", "buzz"):
        inside = hair_depth(head, points)
        full = head.volume_m * (1.3 if head.cut == "quiff" else 1.0)
        ruffled = fractal_noise(points.rest * 14.0 + look.texture_shift)
        rise = np.clip(inside / 0.03, 0, 1) * full * np.clip(1 + 0.3 * ruffled, 0.3, 1.8)
        depth += np.where(points.on("head"), rise, 0.3 * rise).astype(np.float32)
    hat = hat_region(head, points)
    depth[hat] = np.maximum(depth[hat], {"helmet": 0.03, "band": 0.0}.get(head.hat, 0.012))
    return depth
