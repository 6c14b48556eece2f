"""Shirts, sweaters, jackets and dresses: their cut, how front and back differ, and painted.

Lengths in metres on the resting mean body; sleeve and skirt lengths in units of ``BodyPoints.arm``
and ``leg``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .anatomy import BodyPoints
from .materials import (
    Paint,
    Pattern,
    contrasting,
    ellipse,
    random_color,
    random_pattern,
    to_linear,
)
from .noise import fractal_noise


@dataclass(frozen=True)
class _Cut:
    """The range that the garments of a kind are drawn from."""

    odds: float
    sleeve: tuple[float, float]  # arm units
    hem: tuple[float, float]
    neck_depth: tuple[float, float]
    neck_width: float
    fold: float = 0.3
    closure: str = "none"


# fmt: off
_CUTS = {
    "tee": _Cut(0.28, (0.35, 0.75), (0.86, 0.96), (0.0, 0.03), 0.06),
    "shirt": _Cut(0.14, (1.75, 1.97), (0.84, 0.98), (0.01, 0.05), 0.03, closure="buttons"),
    "polo": _Cut(0.07, (0.45, 0.75), (0.88, 0.97), (0.01, 0.06), 0.03, closure="placket"),
    "tank": _Cut(0.07, (-0.2, -0.05), (0.88, 1.0), (0.04, 0.12), 0.08, fold=0.12),
    "sweater": _Cut(0.1, (1.8, 2.0), (0.86, 0.95), (-0.04, 0.04), 0.06, fold=0.35),
    "hoodie": _Cut(0.08, (1.8, 2.02), (0.85, 0.93), (0.0, 0.03), 0.05, fold=0.4),
    "blouse": _Cut(0.06, (0.3, 1.95), (0.86, 1.02), (0.03, 0.11), 0.07, closure="placket"),
    "jersey": _Cut(0.07, (0.5, 0.95), (0.84, 0.93), (0.0, 0.05), 0.05, fold=0.3),
    "dress": _Cut(0.09, (-0.2, 1.9), (0.7, 0.72), (0.0, 0.12), 0.08),
    "swim": _Cut(0.02, (-0.3, -0.15), (0.7, 0.72), (0.08, 0.16), 0.1, fold=0.03),
    "bare": _Cut(0.02, (-1.0, -0.9), (1.6, 1.7), (0.0, 0.01), 0.05, fold=0.0),
}
# fmt: on
KINDS = tuple(_CUTS)
ONE_PIECE = ("dress", "swim")  # nothing is worn below them
JACKETS = ("none", "zip", "blazer", "open", "vest")
PRINTS = ("none", "block", "circle", "text", "number")
_PRINT_ODDS, _JERSEY_PRINT_ODDS = (0.36, 0.2, 0.15, 0.22, 0.07), (0.2, 0.15, 0.15, 0.2, 0.3)
_CLOTHS = ("plain",) * 5 + ("stripes", "checks", "dots", "mottled", "melange", "camouflage")
_JACKET_CLOTHS = ("plain", "plain", "melange", "checks")

# Details: centres and half sizes, metres; heights relative to the chest joint, on the back to the
# neck joint.
_BUTTON_STEP, _BUTTON_RADIUS, _STRIP = 0.085, 0.0085, 0.016
_CHEST_POCKET_X, _CHEST_POCKET_Y = 0.085, 0.115  # on the wearer's left, as in life
_CHEST_POCKET_HALF = (0.042, 0.05)
_SIDE_POCKET_Y = (0.93, 1.06)  # above the soles
_CORD_X, _CORD_Y = 0.03, 0.08
_YOKE_Y, _SEAM = -0.11, 0.006
_FRONT_PRINT_Y, _BACK_PRINT_Y, _BACK_PRINT_SIZE = 0.1, -0.16, 1.35
_LINE_STEP, _LETTER_STEP = 0.032, 0.014


@dataclass(frozen=True)
class Top:
    """One garment of the upper body."""

    kind: str
    pattern: Pattern
    trim: np.ndarray  # (3,) collar, cuffs, buttons, zip
    sleeve: float  # arm units; below 0: shoulders bare
    hem_y: float  # metres above the soles where it ends
    skirt: float  # leg units; 0: no skirt
    neck_depth: float  # metres the neckline dips in front
    neck_width: float
    neck_back: float  # metres it dips at the back
    opening: float  # half width of an open front, 0: closed
    closure: str  # none | buttons | zip | placket
    collar: bool
    hood: bool
    chest_pocket: bool
    print_kind: str  # one of PRINTS
    print_color: np.ndarray
    back_print: bool
    sleeve_color: np.ndarray | None  # other sleeves than body
    tie: np.ndarray | None
    loose_m: float
    fold: float

    def open_half_width(self, points: BodyPoints) -> np.ndarray:
        """(P,) half width of an open front, wider towards the hem."""
        below = np.clip(points.landmark["chest"][1] - points.y, 0, 0.4)
        return self.opening + 0.25 * below * self.opening / 0.05


def sample_top(rng: np.random.Generator, skin: np.ndarray, sex: float) -> Top:
    """A random garment; dresses and swimsuits for ``sex`` below 0 mostly, bare chests above."""
    odds = np.array([cut.odds for cut in _CUTS.values()])
    odds = odds * np.where(np.isin(KINDS, ["dress", "swim", "blouse"]), 1 - 0.9 * sex, 1.0)
    odds = odds * np.where(np.isin(KINDS, ["bare"]), 1 + 0.99 * sex, 1.0)
    kind = KINDS[rng.choice(len(KINDS), p=odds / odds.sum())]
    cut = _CUTS[kind]
    pattern = _upright_pattern(rng, random_pattern(rng, _CLOTHS, period_m=(0.025, 0.14)))
    if np.abs(np.power(pattern.colors[0], 0.45) - np.power(skin, 0.45)).max() < 0.15:
        pattern = replace(pattern, colors=np.stack([contrasting(rng, skin), *pattern.colors[1:]]))
    trim = contrasting(rng, pattern.colors[0]) if rng.random() < 0.55 else pattern.colors[0] * 0.55
    odds = _JERSEY_PRINT_ODDS if kind == "jersey" else _PRINT_ODDS
    printed = kind in ("tee", "hoodie", "sweater", "tank", "jersey")
    raglan = kind in ("tee", "jersey", "sweater") and rng.random() < 0.25
    low_back = kind in ("dress", "tank", "swim")
    return Top(
        kind=kind,
        pattern=pattern,
        trim=trim,
        sleeve=float(rng.uniform(*cut.sleeve)),
        hem_y=float(rng.uniform(*cut.hem)),
        skirt=float(rng.uniform(0.4, 1.7)) if kind == "dress" else 0.0,
        neck_depth=float(rng.uniform(*cut.neck_depth)),
        neck_width=float(cut.neck_width * rng.uniform(0.7, 1.3)),
        neck_back=float(rng.choice([0.0, rng.uniform(0, 0.15)])) if low_back else 0.0,
        opening=0.0,
        closure="zip" if kind == "hoodie" and rng.random() < 0.4 else cut.closure,
        collar=kind in ("shirt", "polo"),
        hood=kind == "hoodie",
        chest_pocket=kind in ("shirt", "polo", "tee") and bool(rng.random() < 0.45),
        print_kind=PRINTS[rng.choice(len(PRINTS), p=odds)] if printed else "none",
        print_color=contrasting(rng, pattern.colors[0]),
        back_print=bool(rng.random() < (0.8 if kind == "jersey" else 0.2)),
        sleeve_color=random_color(rng) if raglan else None,
        tie=random_color(rng, dull=0.2) if kind == "shirt" and rng.random() < 0.2 else None,
        loose_m=float(rng.uniform(0.002, 0.02)) if kind not in ("swim", "bare") else 0.0,
        fold=float(cut.fold * rng.uniform(0.6, 1.4)),
    )


def sample_jacket(rng: np.random.Generator, inner: Top) -> Top | None:
    """An open or zipped jacket over ``inner``, or none."""
    if inner.kind in ("swim", "bare", "tank") or rng.random() < 0.72:
        return None
    kind = JACKETS[rng.integers(1, len(JACKETS))]
    first = contrasting(rng, inner.pattern.colors[0], 0.3)
    pattern = random_pattern(rng, _JACKET_CLOTHS, period_m=(0.03, 0.1))
    pattern = replace(pattern, colors=np.stack([first, contrasting(rng, first, 0.15), first]))
    return replace(
        inner,
        kind="jacket" if kind != "vest" else "vest",
        pattern=_upright_pattern(rng, pattern),
        trim=first * 0.45 if rng.random() < 0.6 else contrasting(rng, first),
        sleeve=float(rng.uniform(1.8, 2.0)) if kind != "vest" else 0.02,
        hem_y=float(rng.uniform(0.78, 0.93)),
        skirt=0.0,
        neck_depth={"zip": 0.0, "vest": 0.1}.get(kind, 0.13),
        neck_width=0.055,
        neck_back=0.0,
        opening=0.0 if kind == "zip" else float(rng.uniform(0.012, 0.085)),
        closure="zip" if kind == "zip" else "none",
        collar=kind in ("blazer", "zip"),
        hood=False,
        chest_pocket=kind == "blazer",
        print_kind="none",
        back_print=bool(rng.random() < 0.2),
        sleeve_color=None,
        tie=None,
        loose_m=float(rng.uniform(0.012, 0.03)),
        fold=float(rng.uniform(0.2, 0.5)),
    )


def _upright_pattern(rng: np.random.Generator, pattern: Pattern) -> Pattern:
    """Cloth patterns run along or across the body."""
    axes = np.array([[0, 1.0, 0], [1.0, 0, 0], [0, 0, 1.0]])
    return replace(pattern, axes=axes if rng.random() < 0.6 else axes[[1, 0, 2]])


def neckline_height(top: Top, points: BodyPoints) -> np.ndarray:
    """(P,) metres above the neckline: positive on the bare neck."""
    neck = points.landmark["neck"]
    # The ring of a crew neck: low at the pit of the throat, higher at the nape.
    ring = neck[1] - 0.05 - 0.65 * (points.z - neck[2] - 0.065)
    # Shoulders are nearly level: without this the ring would slide out to them.
    height = points.y - ring - 0.8 * np.clip(np.abs(points.x) - 0.05 - top.neck_width / 3, 0, 1)
    dip = np.clip(1 - np.abs(points.x) / (2 * top.neck_width), 0, 1)
    pointed = top.kind in ("shirt", "polo", "jacket", "vest")
    reach = top.neck_depth * (dip if pointed else np.sqrt(dip))
    return height + np.where(points.z > neck[2], reach, top.neck_back * np.sqrt(dip))


def top_region(top: Top, points: BodyPoints) -> np.ndarray:
    """(P,) bool: covered by the garment."""
    wave = 0.006 * fractal_noise(points.rest * 12.0)
    torso = points.on("torso") & (neckline_height(top, points) < 0)
    torso &= points.y + wave > top.hem_y
    shoulder = points.landmark["l_shoulder"]
    if top.sleeve < 0:
        inset = shoulder[0] - 0.03 + 0.25 * top.sleeve * np.clip(points.y - shoulder[1] + 0.1, 0, 1)
        torso &= (np.abs(points.x) < inset) | (points.y < shoulder[1] - 0.13)
    sleeves = points.on("arm") & (points.arm + 2 * wave < top.sleeve)
    skirt = (points.on("leg") | points.on("torso")) & (points.y < top.hem_y + 0.05)
    skirt &= (points.leg + wave < top.skirt) & (top.skirt > 0)
    region = torso | sleeves | skirt
    if top.opening > 0:
        gap = np.abs(points.x) < top.open_half_width(points)
        region &= ~(gap & ~points.on("back") & points.on("torso"))
    return region


def paint_top(paint: Paint, top: Top, points: BodyPoints) -> None:
    """The garment with everything on it."""
    region = top_region(top, points)
    if not region.any():
        return
    paint.put(region, top.pattern.paint(points.rest[region]), gloss=0.04, fold=top.fold)
    if top.sleeve_color is not None:
        paint.put(region & points.on("arm"), top.sleeve_color)
    _paint_edges(paint, top, points, region)
    _paint_front(paint, top, points, region & points.on("torso") & ~points.on("back"))
    _paint_back(paint, top, points, region & points.on("torso") & points.on("back"))


def _paint_edges(paint: Paint, top: Top, points: BodyPoints, region: np.ndarray) -> None:
    height = neckline_height(top, points)
    torso, arm = region & points.on("torso"), region & points.on("arm")
    if top.collar:
        tips = 0.25 * np.clip(0.06 - np.abs(points.x), 0, 0.06) * (points.z > 0)
        color = top.trim if top.kind != "jacket" else top.pattern.colors[0] * 0.7
        paint.put(torso & (height > -0.035 - tips), color)
        paint.shade(torso & (np.abs(height + 0.04) < 0.006), 0.6)
    else:
        paint.put(torso & (height > -0.014), top.trim)
    if top.kind in ("sweater", "hoodie", "jersey") or top.trim.sum() > 0.3:
        paint.shade(arm & (points.arm > top.sleeve - 0.09), 0.72)
        paint.shade(torso & (points.y < top.hem_y + 0.035), 0.75)
    # The seam between sleeve and body, and the elbow.
    paint.shade(arm & (np.abs(points.arm - 0.03) < 0.02), 0.75)
    paint.shade(arm & points.on("back") & (np.abs(points.arm - 1.0) < 0.14), 0.85)


def _paint_front(paint: Paint, top: Top, points: BodyPoints, front: np.ndarray) -> None:
    x, y, side = points.x, points.y, np.abs(points.x)
    chest = points.landmark["chest"][1]
    _paint_closure(paint, top, points, front)
    if top.chest_pocket:
        from_middle = np.abs(x - _CHEST_POCKET_X)
        square = (from_middle < _CHEST_POCKET_HALF[0]) & (
            np.abs(y - chest - _CHEST_POCKET_Y) < _CHEST_POCKET_HALF[1]
        )
        edge = (from_middle > 0.036) | (y > chest + 0.152)
        centre = (_CHEST_POCKET_X, chest + _CHEST_POCKET_Y)
        paint.shade(front & square & edge, 0.6)
        paint.shade(front & square & (ellipse(x, y, centre, (0.045, 0.05)) < 1), 0.95)
    if top.kind in ("hoodie", "jacket", "vest"):
        low, high = _SIDE_POCKET_Y
        slit = np.abs(side - 0.06 - 0.45 * (high - y)) < 0.007
        paint.shade(front & slit & (y > low) & (y < high), 0.45)
    if top.kind == "hoodie":
        paint.put(front & (np.abs(side - _CORD_X) < 0.005) & (y > chest + _CORD_Y), top.trim)
    if top.tie is not None:
        width = 0.012 + 0.07 * np.clip(points.landmark["neck"][1] - y, 0, 0.4) / 1.2
        paint.put(front & (side < width) & (y > 1.0), top.tie, gloss=0.2)
    if top.opening > 0:
        half = top.open_half_width(points)
        lapel = 0.02 + 0.10 * np.clip(y - chest - 0.02, 0, 0.3)
        paint.shade(front & (side < half + lapel), 0.78)
        paint.put(front & (side < half + 0.007), top.trim)
    if top.print_kind != "none":
        _paint_print(paint, top, top.print_kind, x, y - chest - _FRONT_PRINT_Y, front)


def _paint_closure(paint: Paint, top: Top, points: BodyPoints, front: np.ndarray) -> None:
    if top.closure == "none":
        return
    x, y = points.x, points.y
    low = points.landmark["chest"][1] + 0.08 if top.closure == "placket" else 0.0
    strip = front & (np.abs(x) < _STRIP) & (y > low)
    if top.closure == "zip":
        paint.put(front & (np.abs(x) < 0.007), top.trim, gloss=0.5)
        return
    paint.shade(strip, 0.82)
    from_button = np.mod(y, _BUTTON_STEP) - 0.04
    paint.put(strip & (x**2 + from_button**2 < _BUTTON_RADIUS**2), top.trim, gloss=0.4)


def _paint_back(paint: Paint, top: Top, points: BodyPoints, back: np.ndarray) -> None:
    x, y = points.x, points.y
    neck = points.landmark["neck"][1]
    if top.kind in ("shirt", "jacket", "polo"):
        # A yoke with its seam, a pleat below it.
        paint.shade(back & (np.abs(y - neck - _YOKE_Y) < _SEAM), 0.6)
        paint.shade(back & (np.abs(x) < _SEAM) & (y < neck + _YOKE_Y), 0.75)
    if top.hood:
        fallen = back & (ellipse(x, y, (0.0, neck - 0.05), (0.12, 0.12)) < 1)
        paint.shade(fallen, 0.72)
        paint.put(fallen & (ellipse(x, y, (0.0, neck - 0.03), (0.07, 0.07)) < 1), top.trim * 0.6)
    if top.kind in ("tee", "dress", "blouse"):
        label = back & (np.abs(x) < 0.012) & (np.abs(y - neck + 0.02) < 0.01)
        paint.put(label, to_linear(np.full(3, 0.9)))
    if top.kind == "dress":
        paint.shade(back & (np.abs(x) < 0.005) & (y > 0.95), 0.5)
    if top.back_print:
        kind = top.print_kind if top.print_kind != "none" else "text"
        right, up = -x / _BACK_PRINT_SIZE, (y - neck - _BACK_PRINT_Y) / _BACK_PRINT_SIZE
        _paint_print(paint, top, kind, right, up, back)


def _paint_print(
    paint: Paint, top: Top, kind: str, right: np.ndarray, up: np.ndarray, where: np.ndarray
) -> None:
    """A picture, a badge, lines of text or a number; ``right`` and ``up`` (P,) as a reader sees."""
    if kind == "circle":
        distance = ellipse(right, up, (0.0, 0.0), (0.07, 0.07))
        paint.put(where & (distance < 1), top.print_color)
        paint.put(where & (distance < 0.35), top.trim)
    elif kind == "block":
        inside = (np.abs(right) < 0.085) & (np.abs(up) < 0.09)
        paint.put(where & inside, top.print_color)
        at = np.stack([right * 18, up * 18, np.full_like(up, top.neck_width * 90)], 1)
        paint.put(where & inside & (fractal_noise(at) > 0.3), top.trim)
    elif kind == "text":
        line, within = np.floor(up / _LINE_STEP), np.mod(up, _LINE_STEP)
        letter = np.floor(right / _LETTER_STEP)
        on = np.mod(np.sin(letter * 12.99 + line * 78.2) * 43758.5, 1.0) > 0.25
        inside = (np.abs(right) < 0.095) & (np.abs(up) < 0.05) & (within < 0.022) & on
        paint.put(where & inside & (np.mod(right, _LETTER_STEP) < 0.010), top.print_color)
    else:
        ring = ellipse(right, up, (-0.045, 0.0), (0.038, 0.075))
        paint.put(where & (ring < 1) & (ring > 0.35), top.print_color)
        stroke = (np.abs(right - 0.045) < 0.013) & (np.abs(up) < 0.075)
        paint.put(where & stroke, top.print_color)
