"""Faces, hair, beards, glasses and hats: drawn at random, where they lie, and painted.

The drawing is made relative to the landmarks of the template (eyes, nose, ears), in metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .anatomy import BodyPoints
from .materials import Paint, ellipse, random_color, to_linear
from .noise import fractal_noise

# Display colours of skin from light to dark, and of hair.
_SKIN = np.array(
    [
        *([0.96, 0.83, 0.74], [0.93, 0.76, 0.65], [0.88, 0.69, 0.55], [0.80, 0.60, 0.46]),
        *([0.70, 0.50, 0.37], [0.57, 0.39, 0.28], [0.44, 0.29, 0.21], [0.31, 0.21, 0.16]),
    ]
)
_HAIR = np.array(
    [
        *([0.07, 0.06, 0.05], [0.13, 0.09, 0.07], [0.25, 0.16, 0.10], [0.38, 0.25, 0.15]),
        *(
            [0.58, 0.42, 0.24],
            [0.80, 0.67, 0.42],
            [0.55, 0.24, 0.11],
            [0.62, 0.61, 0.60],
            [0.86, 0.85, 0.83],
        ),
    ]
)
_IRIS = np.array(
    [
        [0.25, 0.14, 0.08],
        [0.35, 0.22, 0.10],
        [0.25, 0.42, 0.55],
        [0.35, 0.48, 0.30],
        [0.1, 0.07, 0.05],
    ]
)
HAIR_CUTS = ("bald", "buzz", "short", "quiff", "bob", "long", "tied")
LONGEST_HAIR_M = 0.31  # below the eyes
HATS = ("none", "cap", "beanie", "helmet", "band")

# Hairline seen from the side: z relative to the eye corners -> y relative to the eyes, both in
# metres.
_LINE_Z = np.array([-0.20, -0.115, -0.10, -0.075, -0.062, -0.05, -0.03, -0.005, 0.05])
_LINE_Y = np.array([-0.075, -0.07, -0.03, 0.008, -0.02, 0.0, 0.042, 0.064, 0.070])


@dataclass(frozen=True)
class Head:
    """How a head looks; colours are linear RGB."""

    skin: np.ndarray
    lips: np.ndarray
    hair: np.ndarray
    brows: np.ndarray
    iris: np.ndarray
    cut: str  # one of HAIR_CUTS
    hairline: float  # metres the hairline is higher than usual
    volume_m: float  # thickness of the hair
    parting: float  # 0 none, else x in metres
    beard: float  # 0 none, up to 1 full
    moustache: float
    makeup: float  # 0..1
    mouth_open: float  # 0..1
    eyes_open: float  # 0.2..1
    glasses: int  # 0 none, 1 clear, 2 dark
    hat: str  # one of HATS
    hat_color: np.ndarray
    freckles: float


def sample_head(rng: np.random.Generator, sex: float, age: float) -> Head:
    """Draw a head; ``sex`` (-1 female, 1 male) and ``age`` (-1 to 1.6) only shift the odds."""
    at = rng.uniform(0, len(_SKIN) - 1)
    low = int(at)
    skin = _SKIN[low] + (at - low) * (_SKIN[min(low + 1, len(_SKIN) - 1)] - _SKIN[low])
    skin = to_linear(skin * rng.normal(1.0, 0.025, 3))
    grey = rng.random() < 0.12 + 0.3 * max(age, 0)
    choice = rng.integers(7, 9) if grey else rng.choice(7, p=_hair_odds(at))
    hair = to_linear(_HAIR[choice] * rng.normal(1.0, 0.06, 3))
    if rng.random() < 0.04:
        hair = random_color(rng, dull=0.0)
    male = rng.random() < 0.5 + 0.45 * sex
    cuts = (
        (0.1, 0.17, 0.4, 0.2, 0.02, 0.06, 0.05)
        if male
        else (0.01, 0.02, 0.15, 0.07, 0.25, 0.32, 0.18)
    )
    bearded = male and rng.random() < 0.4
    return Head(
        skin=skin,
        lips=skin * to_linear(np.array([0.95, 0.68, 0.70])) * rng.uniform(0.85, 1.1),
        hair=hair,
        brows=hair * 0.75 * (0.4 + 0.6 * float(skin.mean() > 0.1)),
        iris=to_linear(_IRIS[rng.integers(len(_IRIS))]),
        cut=HAIR_CUTS[rng.choice(len(HAIR_CUTS), p=cuts)],
        hairline=float(abs(rng.normal(0, 0.012))) * (1.6 if male else 0.6),
        volume_m=float(rng.uniform(0.004, 0.03)),
        parting=float(rng.choice([0.0, rng.uniform(-0.04, 0.04)])),
        beard=float(rng.uniform(0.3, 1.0)) if bearded else 0.0,
        moustache=float(rng.uniform(0.3, 1.0)) if bearded or (male and rng.random() < 0.1) else 0.0,
        makeup=float(rng.uniform(0.2, 1.0)) if not male and rng.random() < 0.5 else 0.0,
        mouth_open=float(rng.choice([0.0, rng.uniform(0.2, 1.0)], p=[0.65, 0.35])),
        eyes_open=float(rng.uniform(0.55, 1.0)) if rng.random() < 0.93 else 0.2,
        glasses=int(rng.choice(3, p=[0.78, 0.12, 0.10])),
        hat=HATS[rng.choice(len(HATS), p=[0.78, 0.08, 0.06, 0.05, 0.03])],
        hat_color=random_color(rng),
        freckles=float(rng.random() < 0.1),
    )


def _hair_odds(skin_index: float) -> np.ndarray:
    fair = np.clip(1 - skin_index / 4, 0.03, 1)
    odds = np.array([0.35, 0.3, 0.25, 0.2 * fair, 0.2 * fair, 0.2 * fair, 0.1 * fair])
    return odds / odds.sum()


def hair_depth(head: Head, points: BodyPoints, landmark: Mapping[str, np.ndarray]) -> np.ndarray:
    """(P,) metres inside the hair-covered region, negative on bare skin."""
    eye = landmark["l_eye"]
    z, y = points.z - eye[2], points.y - eye[1]
    line_y = _LINE_Y + head.hairline * np.clip((_LINE_Z + 0.08) / 0.06, 0, 1)
    if head.cut in ("bob", "long"):
        reach = {"bob": -0.12, "long": -0.30}[head.cut]
        line_y = np.where(_LINE_Z < -0.065, reach, line_y)
    if head.cut == "bald":
        line_y = np.where(_LINE_Z > -0.09, 0.2, np.where(_LINE_Z < -0.1, line_y, 0.03))
    edge = 0.003 * fractal_noise(points.rest * 60.0)
    depth = y - np.interp(z, _LINE_Z, line_y) + edge
    # Below the head only the middle of the back can be under long hair.
    width = 0.105 + 0.1 * np.clip(-(y + 0.12), 0, 0.1)
    below = y < -0.1
    return np.where(below & ((np.abs(points.x) > width) | (z > -0.07)), -0.05, depth).astype(
        np.float32
    )


def hat_region(head: Head, points: BodyPoints, landmark: Mapping[str, np.ndarray]) -> np.ndarray:
    """(P,) bool: under the hat."""
    eye = landmark["l_eye"]
    y, z = points.y - eye[1], points.z - eye[2]
    on = points.on("head")
    if head.hat == "beanie":
        return on & (y > 0.03 - 0.02 * np.clip(-z / 0.15, 0, 1))
    if head.hat == "cap":
        return on & (y > 0.045 - 0.03 * np.clip(-z / 0.15, 0, 1))
    if head.hat == "helmet":
        return on & (y > 0.05 - 0.09 * np.clip(-z / 0.12, 0, 1))
    if head.hat == "band":
        return on & (np.abs(y - 0.055) < 0.013)
    return np.zeros(len(y), bool)


def paint_head(
    paint: Paint, head: Head, points: BodyPoints, landmark: Mapping[str, np.ndarray]
) -> None:
    """Face, hair and hat onto the points of the head (and long hair onto the back)."""
    _paint_face(paint, head, points, landmark)
    depth = hair_depth(head, points, landmark)
    covered = (depth > 0) & (points.on("head") | (head.cut == "long"))
    if head.cut in ("bob", "long"):
        covered &= points.on("head") | points.on("back")
    if covered.any():
        _paint_hair(paint, head, points, covered, landmark)
    hat = hat_region(head, points, landmark)
    if hat.any():
        paint.put(hat, head.hat_color, gloss=0.5 if head.hat == "helmet" else 0.05, fold=0.1)
        eye = landmark["l_eye"]
        # Badge on the front, seam over the top, strap at the back.
        y, z = points.y - eye[1], points.z - eye[2]
        other = 1 - head.hat_color
        paint.put(hat & (ellipse(points.x, y, (0, 0.075), (0.02, 0.014)) < 1) & (z > -0.06), other)
        paint.put(hat & (y < 0.03) & (z < -0.13) & (np.abs(points.x) < 0.03), head.hat_color * 0.35)


def _paint_hair(
    paint: Paint,
    head: Head,
    points: BodyPoints,
    covered: np.ndarray,
    landmark: Mapping[str, np.ndarray],
) -> None:
    at = points.rest[covered]
    # Strands: noise stretched from the crown downwards.
    crown = landmark["head"] + np.array([0.0, 0.13, -0.03])
    away = at - crown
    angle = np.arctan2(away[:, 0], away[:, 2])
    strand = np.stack([angle * 9.0, away[:, 1] * 6.0, np.hypot(away[:, 0], away[:, 2]) * 6], axis=1)
    tone = 1 + 0.28 * fractal_noise(strand.astype(np.float32), 2)
    color = head.hair * tone[:, None]
    if head.cut == "buzz" or head.cut == "bald":
        color = 0.6 * color + 0.4 * head.skin * 0.7
    if head.parting:
        line = np.abs(at[:, 0] - head.parting) < 0.003
        color[line & (away[:, 2] > -0.02)] = head.skin * 0.7
    paint.put(covered, np.clip(color, 0, 1), gloss=0.25, fold=0.35)


def _paint_face(
    paint: Paint, head: Head, points: BodyPoints, landmark: Mapping[str, np.ndarray]
) -> None:
    index = np.flatnonzero(points.on("head"))
    if len(index) == 0:
        return
    eye, nose = landmark["l_eye"], landmark["nose"]
    at = points[index]
    side, x, y = np.abs(at.x), at.x, at.y - eye[1]
    front = at.z > eye[2] - 0.05
    layer = Paint(len(index))
    layer.color[:] = paint.color[index]
    _paint_skin_tones(layer, head, side, y, front)
    mouth = (0.0, -0.0715)
    _paint_mouth(layer, head, x, y, front, mouth)
    _paint_beard(layer, head, at, y, front, mouth)
    nostril = ellipse(side, y, (0.0085, nose[1] - eye[1] - 0.0165), (0.0045, 0.0028)) < 1
    layer.put(nostril & front, head.skin * 0.18)
    _paint_eyes(layer, head, side, x, y, front, eye)
    paint.color[index] = layer.color


def _paint_skin_tones(
    layer: Paint, head: Head, side: np.ndarray, y: np.ndarray, front: np.ndarray
) -> None:
    warm = head.skin * np.array([1.05, 0.78, 0.76], np.float32)
    cheek = np.clip(1 - ellipse(side, y, (0.042, -0.035), (0.02, 0.017)), 0, 1)
    layer.tint(cheek * front * (0.5 + 0.4 * head.makeup), warm)
    tip = np.clip(1 - ellipse(side, y, (0.0, -0.038), (0.017, 0.014)), 0, 1)
    layer.tint(tip * front * 0.6, warm)
    socket = np.clip(1 - ellipse(side, y, (0.030, 0.003), (0.023, 0.016)), 0, 1)
    layer.tint(socket * front * 0.75, head.skin * 0.55)
    flank = np.clip(1 - ellipse(side, y, (0.0145, -0.028), (0.006, 0.03)), 0, 1)
    layer.tint(flank * front * 0.55, head.skin * 0.6)
    chin = np.clip(1 - ellipse(side, y, (0.0, -0.089), (0.018, 0.005)), 0, 1)
    layer.tint(chin * front * 0.5, head.skin * 0.6)


def _paint_mouth(
    layer: Paint,
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    front: np.ndarray,
    mouth: tuple[float, float],
) -> None:
    color = head.lips
    if head.makeup > 0:
        color = color + head.makeup * (to_linear(np.array([0.75, 0.12, 0.2])) - color)
    lips = ellipse(x, y, mouth, (0.026, 0.0095 + 0.006 * head.mouth_open)) < 1
    layer.put(front & lips, color, gloss=0.4)
    gap = ellipse(x, y, mouth, (0.024, 0.0018 + 0.0065 * head.mouth_open)) < 1
    layer.put(front & gap, to_linear(np.array([0.25, 0.08, 0.08])))
    if head.mouth_open > 0.3:
        teeth = gap & (y > mouth[1] - 0.001) & (np.abs(x) < 0.018)
        layer.put(front & teeth, to_linear(np.array([0.92, 0.9, 0.85])))


def _paint_beard(
    layer: Paint,
    head: Head,
    at: BodyPoints,
    y: np.ndarray,
    front: np.ndarray,
    mouth: tuple[float, float],
) -> None:
    lips = ellipse(at.x, y, mouth, (0.027, 0.011)) < 1
    rough = 0.006 * fractal_noise(at.rest * 90.0)
    if head.beard > 0:
        line = np.interp(
            np.abs(at.x), [0, 0.02, 0.035, 0.06, 0.075], [-0.082, -0.075, -0.06, -0.035, 0.0]
        )
        below = (y + rough < line) & (y > -0.135) & (at.z > 0.055)
        layer.tint((below & ~lips) * head.beard, head.hair * 0.8)
    if head.moustache > 0:
        upper = ellipse(at.x, y, (0.0, mouth[1] + 0.0145), (0.026, 0.0065)) < 1
        layer.tint((upper & front) * head.moustache, head.hair * 0.8)


def _paint_eyes(
    layer: Paint,
    head: Head,
    side: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    front: np.ndarray,
    eye: np.ndarray,
) -> None:
    centre = (float(eye[0]), -0.003)
    arch = 0.0175 + 0.10 * np.clip(0.035 - side, -0.02, 0.02) * -0.5
    brow = (np.abs(y - arch) < 0.0042) & (side > 0.012) & (side < 0.052)
    layer.put(front & brow, head.brows)
    opening = (0.0155, 0.0072 * head.eyes_open)
    white = ellipse(side, y, centre, opening) < 1
    rim = ellipse(side, y, centre, (0.0175, 0.0088 * head.eyes_open + 0.001)) < 1
    lid = rim & ~white & (y > centre[1] - 0.002)
    dark = to_linear(np.array([0.08, 0.05, 0.05]))
    layer.put(front & lid, dark * (0.4 if head.makeup else 1.0))
    layer.put(front & white, to_linear(np.array([0.90, 0.89, 0.87])), gloss=0.5)
    iris = white & (ellipse(side, y, centre, (0.0068, 0.0068)) < 1)
    layer.put(front & iris, head.iris)
    layer.put(front & white & (ellipse(side, y, centre, (0.0033, 0.0033)) < 1), dark * 0.3)
    if head.glasses:
        lens = ellipse(side, y, centre, (0.0235, 0.018))
        frame = (lens < 1.25) & (lens > 0.85)
        bridge = (side < 0.010) & (np.abs(y - 0.002) < 0.0025)
        temple = (side > 0.05) & (np.abs(y - 0.004) < 0.0028)
        if head.glasses == 2:
            layer.put(front & (lens < 1), dark * 0.5, gloss=0.9)
        layer.put((front & (frame | bridge)) | temple, dark)
