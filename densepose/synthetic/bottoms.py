"""Trousers, shorts, skirts: their cut, and how front and back differ.

Lengths in metres on the resting mean body; trouser lengths in units of ``BodyPoints.leg`` (1 knee,
2 ankle).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .anatomy import BodyPoints
from .materials import Paint, Pattern, contrasting, random_color, random_pattern, to_linear
from .noise import fractal_noise

KINDS = ("jeans", "trousers", "shorts", "leggings", "track", "skirt", "briefs")


@dataclass(frozen=True)
class Bottom:
    """Trousers and the like."""

    kind: str
    pattern: Pattern
    trim: np.ndarray  # seams, pockets
    length: float  # leg units
    waist_y: float
    belt: np.ndarray | None
    side_stripe: np.ndarray | None
    wear: float  # faded knees and seat
    torn: float  # bare knee
    loose_m: float
    fold: float


def sample_bottom(rng: np.random.Generator, top_color: np.ndarray, sex: float) -> Bottom:
    """Random trousers, different from the top more often than not."""
    odds = np.array([0.3, 0.22, 0.2, 0.1, 0.1, 0.06 * (1 - 0.9 * sex), 0.02])
    kind = KINDS[rng.choice(len(KINDS), p=odds / odds.sum())]
    if kind == "jeans":
        blue = np.array([0.22, 0.30, 0.45]) * rng.uniform(0.4, 1.9) * rng.normal(1, 0.08, 3)
        color = to_linear(blue if rng.random() < 0.8 else np.full(3, rng.uniform(0.1, 0.8)))
    elif kind == "trousers":
        tone = rng.uniform(0.1, 0.75) * np.array([1.0, 0.94, 0.84]) * rng.normal(1, 0.05, 3)
        color = to_linear(tone)
    else:
        color = random_color(rng)
    if rng.random() < 0.6:
        for _ in range(3):
            if np.abs(np.power(color, 0.45) - np.power(top_color, 0.45)).max() > 0.2:
                break
            color = contrasting(rng, top_color, 0.3)
    kinds = {"jeans": ("mottled", "melange"), "trousers": ("plain", "melange")}
    pattern = random_pattern(
        rng, kinds.get(kind, ("plain", "plain", "plain", "stripes", "checks", "camouflage"))
    )
    second = color * rng.uniform(0.75, 1.2) if kind in kinds else contrasting(rng, color)
    pattern = replace(
        pattern,
        colors=np.stack([color, second, color * 0.6]),
        period_m=float(rng.uniform(0.03, 0.12)),
    )
    length = {"shorts": (0.45, 1.05), "skirt": (0.35, 1.3), "briefs": (-0.05, 0.1)}.get(
        kind, (1.8, 2.02)
    )
    loose = {"leggings": 0.0, "briefs": 0.0, "jeans": 0.008, "skirt": 0.03}.get(kind, 0.014)
    return Bottom(
        kind=kind,
        pattern=pattern,
        trim=color * 0.5 if rng.random() < 0.7 else contrasting(rng, color),
        length=float(rng.uniform(*length)),
        waist_y=float(rng.uniform(0.94, 1.04)),
        belt=random_color(rng) * 0.5
        if kind in ("jeans", "trousers", "shorts") and rng.random() < 0.6
        else None,
        side_stripe=contrasting(rng, color)
        if kind in ("track", "leggings", "shorts") and rng.random() < 0.5
        else None,
        wear=float(rng.uniform(0, 0.6)) if kind == "jeans" else 0.0,
        torn=float(rng.uniform(0.5, 1.0)) if kind == "jeans" and rng.random() < 0.12 else 0.0,
        loose_m=float(loose * rng.uniform(0.5, 1.6)),
        fold=float({"leggings": 0.04, "briefs": 0.0}.get(kind, 0.32) * rng.uniform(0.6, 1.4)),
    )


def bottom_region(bottom: Bottom, points: BodyPoints) -> np.ndarray:
    """(P,) bool: covered by the garment."""
    wave = 0.01 * fractal_noise(points.rest * 9.0)
    hips = points.on("torso") & (points.y < bottom.waist_y)
    legs = points.on("leg") & (points.leg + wave < bottom.length)
    if bottom.kind == "briefs":
        # Cut high at the hips.
        hips &= points.y > 0.0
        legs = points.on("leg") & (points.y > 0.80 + 0.45 * np.abs(points.x))
    return hips | legs


def paint_bottom(paint: Paint, bottom: Bottom, points: BodyPoints) -> None:
    """Trousers with fly, pockets, seams, knees."""
    region = bottom_region(bottom, points)
    if not region.any():
        return
    paint.put(region, bottom.pattern.paint(points.rest[region]), gloss=0.05, fold=bottom.fold)
    side, y = np.abs(points.x), points.y
    back = points.on("back") & region
    front = region & ~points.on("back")
    tailored = bottom.kind in ("jeans", "trousers", "shorts")
    if bottom.wear > 0:
        knee = (
            front
            * np.clip(1 - ((points.leg - 0.95) / 0.35) ** 2, 0, 1)
            * np.clip(points.forward, 0, 1)
        )
        thigh = (
            front
            * np.clip(1 - np.abs(points.leg - 0.4) / 0.4, 0, 1)
            * np.clip(points.forward, 0, 1)
        )
        seat = back * np.clip(1 - ((y - 0.86) / 0.08) ** 2, 0, 1)
        pale = np.clip(bottom.pattern.colors[0] * 2.2 + 0.05, 0, 1)
        paint.tint(bottom.wear * np.clip(knee + 0.7 * thigh + 0.6 * seat, 0, 1), pale)
    if bottom.kind == "trousers":
        crease = region & points.on("leg") & (np.abs(points.outward) < 0.1) & (points.leg > 0.15)
        paint.shade(crease & ~back, 1.3)
        paint.shade(crease & back, 0.85)
    if tailored:
        _paint_tailoring(paint, bottom, points, front, back)
    seam = region & points.on("leg") & (np.abs(points.forward) < 0.07)
    paint.put(seam & (points.outward > 0), bottom.trim)
    if bottom.side_stripe is not None:
        paint.put(
            region & (np.abs(points.forward) < 0.24) & (points.outward > 0), bottom.side_stripe
        )
    if bottom.torn > 0:
        hole = front & (np.abs(points.leg - 1.0) < 0.05 * bottom.torn) & (points.forward > 0.3)
        paint.put(hole, to_linear(np.array([0.75, 0.6, 0.5])), fold=0.0)
    paint.shade(region & points.on("leg") & (points.leg > bottom.length - 0.05), 0.8)
    _paint_waist(paint, bottom, points, region, side, front)


def _paint_tailoring(
    paint: Paint, bottom: Bottom, points: BodyPoints, front: np.ndarray, back: np.ndarray
) -> None:
    side, y = np.abs(points.x), points.y
    top = bottom.waist_y
    fly = front & (np.abs(points.x - 0.008) < 0.007) & (y > top - 0.2) & (y < top - 0.02)
    paint.put(fly, bottom.trim)
    pocket = front & (np.abs(side - 0.085 - 0.55 * (top - y - 0.03)) < 0.007)
    paint.put(pocket & (y < top - 0.03) & (y > top - 0.13), bottom.trim)
    across, down = np.abs(side - 0.085), y - (top - 0.13)
    patch = back & (across < 0.05) & (np.abs(down) < 0.06 + 0.02 * (1 - across / 0.05))
    inner = (across < 0.041) & (down < 0.052) & (down > -0.052)
    if bottom.kind == "jeans":
        paint.put(patch & ~inner, bottom.trim)
        label = back & (np.abs(points.x + 0.075) < 0.03) & (np.abs(y - top + 0.022) < 0.016)
        paint.put(label, to_linear(np.array([0.55, 0.35, 0.2])))
        paint.put(back & (np.abs(y - top + 0.055 + 0.15 * side) < 0.004), bottom.trim)
    else:
        slit = back & (across < 0.05) & (np.abs(down - 0.03) < 0.007)
        paint.shade(slit, 0.45)
    paint.shade(back & (np.abs(points.x) < 0.006) & (y < top), 0.6)


def _paint_waist(
    paint: Paint,
    bottom: Bottom,
    points: BodyPoints,
    region: np.ndarray,
    side: np.ndarray,
    front: np.ndarray,
) -> None:
    depth = bottom.waist_y - points.y
    band = region & points.on("torso") & (depth < 0.032)
    if bottom.belt is None:
        paint.shade(band, 0.8)
        if bottom.kind == "track":
            cord = front & (np.abs(side - 0.012) < 0.005) & (depth > 0.02) & (depth < 0.1)
            paint.put(cord, to_linear(np.full(3, 0.9)))
        return
    paint.put(band, bottom.belt, gloss=0.4, fold=0.05)
    metal = to_linear(np.array([0.8, 0.75, 0.6]))
    paint.put(band & front & (side < 0.024), metal, gloss=0.9)
    paint.put(band & front & (side < 0.014) & (np.abs(depth - 0.016) < 0.009), bottom.belt)
    loops = band & (np.mod(points.x + 0.035, 0.09) < 0.012)
    paint.put(loops, bottom.pattern.colors[0])
