"""Trousers, shorts, skirts: their cut, how front and back differ, and painted.

Lengths in metres on the resting mean body; trouser lengths in units of ``BodyPoints.leg`` (1 knee,
2 ankle).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .anatomy import BodyPoints
from .materials import Paint, Pattern, contrasting, random_color, random_pattern, to_linear
from .noise import fractal_noise

_TAILORED = ("jeans", "trousers", "shorts")
_ANY_CLOTH = ("plain", "plain", "plain", "stripes", "checks", "camouflage")


@dataclass(frozen=True)
class _Cut:
    """The range that the garments of a kind are drawn from."""

    odds: float
    length: tuple[float, float] = (1.8, 2.02)
    loose_m: float = 0.014
    fold: float = 0.32
    cloths: tuple[str, ...] = _ANY_CLOTH


_CUTS = {
    "jeans": _Cut(0.3, loose_m=0.008, cloths=("mottled", "melange")),
    "trousers": _Cut(0.22, cloths=("plain", "melange")),
    "shorts": _Cut(0.2, length=(0.45, 1.05)),
    "leggings": _Cut(0.1, loose_m=0.0, fold=0.04),
    "track": _Cut(0.1),
    "skirt": _Cut(0.06, length=(0.35, 1.3), loose_m=0.03),
    "briefs": _Cut(0.02, length=(-0.05, 0.1), loose_m=0.0, fold=0.0),
}
KINDS = tuple(_CUTS)

# Places of details: |x| and heights relative to the waist.
_POCKET_X, _POCKET_LOW, _POCKET_HIGH = 0.085, -0.13, -0.03
_BELT_WIDTH, _BUCKLE, _LOOP_STEP = 0.032, 0.024, 0.09


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
    odds = np.array([cut.odds * (1 - 0.9 * sex if k == "skirt" else 1) for k, cut in _CUTS.items()])
    kind = KINDS[rng.choice(len(KINDS), p=odds / odds.sum())]
    cut = _CUTS[kind]
    color = _sample_color(rng, kind, top_color)
    pattern = random_pattern(rng, cut.cloths)
    of_one_colour = kind in ("jeans", "trousers")
    second = color * rng.uniform(0.75, 1.2) if of_one_colour else contrasting(rng, color)
    colors = np.stack([color, second, color * 0.6])
    striped = ("track", "leggings", "shorts")
    return Bottom(
        kind=kind,
        pattern=replace(pattern, colors=colors, period_m=float(rng.uniform(0.03, 0.12))),
        trim=color * 0.5 if rng.random() < 0.7 else contrasting(rng, color),
        length=float(rng.uniform(*cut.length)),
        waist_y=float(rng.uniform(0.94, 1.04)),
        belt=random_color(rng) * 0.5 if kind in _TAILORED and rng.random() < 0.6 else None,
        side_stripe=contrasting(rng, color) if kind in striped and rng.random() < 0.5 else None,
        wear=float(rng.uniform(0, 0.6)) if kind == "jeans" else 0.0,
        torn=float(rng.uniform(0.5, 1.0)) if kind == "jeans" and rng.random() < 0.12 else 0.0,
        loose_m=float(cut.loose_m * rng.uniform(0.5, 1.6)),
        fold=float(cut.fold * rng.uniform(0.6, 1.4)),
    )


def _sample_color(rng: np.random.Generator, kind: str, top_color: np.ndarray) -> np.ndarray:
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
    return color


def bottom_region(bottom: Bottom, points: BodyPoints) -> np.ndarray:
    """(P,) bool: covered by the garment."""
    hips = points.on("torso") & (points.y < bottom.waist_y)
    if bottom.kind == "briefs":  # cut high at the hips
        legs = points.y > 0.80 + 0.45 * np.abs(points.x)
        return (hips & (points.y > 0.0)) | (points.on("leg") & legs)
    wave = 0.01 * fractal_noise(points.rest * 9.0)
    return hips | (points.on("leg") & (points.leg + wave < bottom.length))


def paint_bottom(paint: Paint, bottom: Bottom, points: BodyPoints) -> None:
    """Trousers with fly, pockets, seams, knees."""
    region = bottom_region(bottom, points)
    if not region.any():
        return
    paint.put(region, bottom.pattern.paint(points.rest[region]), gloss=0.05, fold=bottom.fold)
    on_leg = region & points.on("leg")
    back, front = region & points.on("back"), region & ~points.on("back")
    outer = points.outward > 0
    if bottom.wear > 0:
        _paint_wear(paint, bottom, points, front, back)
    if bottom.kind == "trousers":
        crease = on_leg & (np.abs(points.outward) < 0.1) & (points.leg > 0.15)
        paint.shade(crease & front, 1.3)
        paint.shade(crease & back, 0.85)
    if bottom.kind in _TAILORED:
        _paint_tailoring(paint, bottom, points, front, back)
    paint.put(on_leg & (np.abs(points.forward) < 0.07) & outer, bottom.trim)
    if bottom.side_stripe is not None:
        paint.put(region & (np.abs(points.forward) < 0.24) & outer, bottom.side_stripe)
    if bottom.torn > 0:
        hole = front & (np.abs(points.leg - 1.0) < 0.05 * bottom.torn) & (points.forward > 0.3)
        paint.put(hole, to_linear(np.array([0.75, 0.6, 0.5])), fold=0.0)
    paint.shade(on_leg & (points.leg > bottom.length - 0.05), 0.8)
    _paint_waist(paint, bottom, points, region, front)


def _paint_wear(
    paint: Paint, bottom: Bottom, points: BodyPoints, front: np.ndarray, back: np.ndarray
) -> None:
    """Faded knees, thighs and seat."""
    ahead = np.clip(points.forward, 0, 1)
    knee = front * np.clip(1 - ((points.leg - 0.95) / 0.35) ** 2, 0, 1) * ahead
    thigh = front * np.clip(1 - np.abs(points.leg - 0.4) / 0.4, 0, 1) * ahead
    seat = back * np.clip(1 - ((points.y - 0.86) / 0.08) ** 2, 0, 1)
    pale = np.clip(bottom.pattern.colors[0] * 2.2 + 0.05, 0, 1)
    paint.tint(bottom.wear * np.clip(knee + 0.7 * thigh + 0.6 * seat, 0, 1), pale)


def _paint_tailoring(
    paint: Paint, bottom: Bottom, points: BodyPoints, front: np.ndarray, back: np.ndarray
) -> None:
    """Fly, pockets, label and seams."""
    side, y, waist = np.abs(points.x), points.y, bottom.waist_y
    fly = front & (np.abs(points.x - 0.008) < 0.007) & (y > waist - 0.2) & (y < waist - 0.02)
    paint.put(fly, bottom.trim)
    pocket = front & (np.abs(side - _POCKET_X - 0.55 * (waist - y + _POCKET_HIGH)) < 0.007)
    paint.put(pocket & (y < waist + _POCKET_HIGH) & (y > waist + _POCKET_LOW), bottom.trim)
    across, down = np.abs(side - _POCKET_X), y - (waist + _POCKET_LOW)
    if bottom.kind == "jeans":
        patch = back & (across < 0.05) & (np.abs(down) < 0.06 + 0.02 * (1 - across / 0.05))
        inner = (across < 0.041) & (np.abs(down) < 0.052)
        paint.put(patch & ~inner, bottom.trim)
        label = back & (np.abs(points.x + 0.075) < 0.03) & (np.abs(y - waist + 0.022) < 0.016)
        paint.put(label, to_linear(np.array([0.55, 0.35, 0.2])))
        paint.put(back & (np.abs(y - waist + 0.055 + 0.15 * side) < 0.004), bottom.trim)
    else:
        paint.shade(back & (across < 0.05) & (np.abs(down - 0.03) < 0.007), 0.45)
    paint.shade(back & (side < 0.006) & (y < waist), 0.6)


def _paint_waist(
    paint: Paint, bottom: Bottom, points: BodyPoints, region: np.ndarray, front: np.ndarray
) -> None:
    side, depth = np.abs(points.x), bottom.waist_y - points.y
    band = region & points.on("torso") & (depth < _BELT_WIDTH)
    if bottom.belt is None:
        paint.shade(band, 0.8)
        if bottom.kind == "track":
            cord = front & (np.abs(side - 0.012) < 0.005) & (depth > 0.02) & (depth < 0.1)
            paint.put(cord, to_linear(np.full(3, 0.9)))
        return
    paint.put(band, bottom.belt, gloss=0.4, fold=0.05)
    paint.put(band & front & (side < _BUCKLE), to_linear(np.array([0.8, 0.75, 0.6])), gloss=0.9)
    paint.put(band & front & (side < 0.014) & (np.abs(depth - 0.016) < 0.009), bottom.belt)
    paint.put(band & (np.mod(points.x + 0.035, _LOOP_STEP) < 0.012), bottom.pattern.colors[0])
