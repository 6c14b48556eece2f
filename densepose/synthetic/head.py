"""Faces, hair, beards, glasses and hats: drawn at random, where they lie, and painted.

The drawing is made relative to the landmarks of the template (eyes, nose, ears), in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .anatomy import BodyPoints
from .materials import Paint, ellipse, random_color, to_linear
from .noise import fractal_noise

# Display colours.
# fmt: off
_SKIN = np.array([  # from light to dark
    [0.96, 0.83, 0.74], [0.93, 0.76, 0.65], [0.88, 0.69, 0.55], [0.80, 0.60, 0.46],
    [0.70, 0.50, 0.37], [0.57, 0.39, 0.28], [0.44, 0.29, 0.21], [0.31, 0.21, 0.16],
])
_HAIR = np.array([  # from black to blond, red, the last two grey
    [0.07, 0.06, 0.05], [0.13, 0.09, 0.07], [0.25, 0.16, 0.10], [0.38, 0.25, 0.15],
    [0.58, 0.42, 0.24], [0.80, 0.67, 0.42], [0.55, 0.24, 0.11], [0.62, 0.61, 0.60],
    [0.86, 0.85, 0.83],
])
_IRIS = np.array([
    [0.25, 0.14, 0.08], [0.35, 0.22, 0.10], [0.25, 0.42, 0.55], [0.35, 0.48, 0.30],
    [0.10, 0.07, 0.05],
])
# fmt: on
HAIR_CUTS = ("bald", "buzz", "short", "quiff", "bob", "long", "tied")
_CUT_ODDS_MALE = (0.1, 0.17, 0.4, 0.2, 0.02, 0.06, 0.05)
_CUT_ODDS_FEMALE = (0.01, 0.02, 0.15, 0.07, 0.25, 0.32, 0.18)
HATS = ("none", "cap", "beanie", "helmet", "band")
_HAT_ODDS = (0.78, 0.08, 0.06, 0.05, 0.03)
LONGEST_HAIR_M = 0.31  # below the eyes

# Hairline seen from the side: z relative to the eye corners -> y relative to the eyes.
_LINE_Z = np.array([-0.20, -0.115, -0.10, -0.075, -0.062, -0.05, -0.03, -0.005, 0.05])
_LINE_Y = np.array([-0.075, -0.07, -0.03, 0.008, -0.02, 0.0, 0.042, 0.064, 0.070])
_HAIR_REACH = {"bob": -0.12, "long": -0.30}  # lowest y relative to the eyes
# Hats begin this high above the eyes in front, and so much lower at ``depth`` behind them.
_HAT_RIMS = {"beanie": (0.03, 0.02, 0.15), "cap": (0.045, 0.03, 0.15), "helmet": (0.05, 0.09, 0.12)}

# Relative to the eyes: (x, y) of centres.
_MOUTH = (0.0, -0.0715)
_NOSTRIL_X, _NOSTRIL_BELOW_TIP = 0.0085, 0.0165
_EYE_Y = -0.003
# Edge of the beard: |x| -> y.
_BEARD_X, _BEARD_Y = [0, 0.02, 0.035, 0.06, 0.075], [-0.082, -0.075, -0.06, -0.035, 0.0]
_BEARD_LOWEST_Y, _BEARD_LEAST_Z = -0.135, 0.055
# Soft shades: |x|, y of the centre, radii, strength, factors of the skin's colour.
_WARM = np.array([1.05, 0.78, 0.76], np.float32)
_NOSE_TIP = ((0.0, -0.038), (0.017, 0.014), 0.6, _WARM)
_SOCKET = ((0.030, 0.003), (0.023, 0.016), 0.75, 0.55)
_NOSE_FLANK = ((0.0145, -0.028), (0.006, 0.03), 0.55, 0.6)
_CHIN = ((0.0, -0.089), (0.018, 0.005), 0.5, 0.6)
_CHEEK = ((0.042, -0.035), (0.02, 0.017))
_DARK = to_linear(np.array([0.08, 0.05, 0.05]))  # lashes, pupils, glasses


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


def sample_head(rng: np.random.Generator, sex: float, age: float) -> Head:
    """Draw a head; ``sex`` (-1 female, 1 male) and ``age`` (-1 to 1.6) only shift the odds."""
    tone = rng.uniform(0, len(_SKIN) - 1)
    skin = random_skin(rng, tone)
    hair = random_hair(rng, tone, age)
    male = rng.random() < 0.5 + 0.45 * sex
    bearded = male and rng.random() < 0.4
    head = Head(
        skin=skin,
        lips=skin * to_linear(np.array([0.95, 0.68, 0.70])) * rng.uniform(0.85, 1.1),
        hair=hair,
        brows=hair * 0.75 * (0.4 + 0.6 * float(skin.mean() > 0.1)),
        iris=to_linear(_IRIS[rng.integers(len(_IRIS))]),
        cut=HAIR_CUTS[rng.choice(len(HAIR_CUTS), p=_CUT_ODDS_MALE if male else _CUT_ODDS_FEMALE)],
        hairline=float(abs(rng.normal(0, 0.012))) * (1.6 if male else 0.6),
        volume_m=float(rng.uniform(0.004, 0.03)),
        parting=float(rng.choice([0.0, rng.uniform(-0.04, 0.04)])),
        beard=float(rng.uniform(0.3, 1.0)) if bearded else 0.0,
        moustache=float(rng.uniform(0.3, 1.0)) if bearded or (male and rng.random() < 0.1) else 0.0,
        makeup=float(rng.uniform(0.2, 1.0)) if not male and rng.random() < 0.5 else 0.0,
        mouth_open=float(rng.choice([0.0, rng.uniform(0.2, 1.0)], p=[0.65, 0.35])),
        eyes_open=float(rng.uniform(0.55, 1.0)) if rng.random() < 0.93 else 0.2,
        glasses=int(rng.choice(3, p=[0.78, 0.12, 0.10])),
        hat=HATS[rng.choice(len(HATS), p=_HAT_ODDS)],
        hat_color=random_color(rng),
    )
    rng.random()  # decided on freckles once; without it, all images of a seed would change
    return head


def random_skin(rng: np.random.Generator, tone: float) -> np.ndarray:
    """(3,) linear RGB of skin; ``tone`` from 0, light, to 7, dark."""
    darker = int(tone)
    skin = _SKIN[darker] + (tone - darker) * (
        _SKIN[min(darker + 1, len(_SKIN) - 1)] - _SKIN[darker]
    )
    return to_linear(skin * rng.normal(1.0, 0.025, 3))


def random_hair(rng: np.random.Generator, tone: float, age: float) -> np.ndarray:
    """(3,) linear RGB of hair that goes with a tone of skin, sometimes grey, rarely dyed."""
    grey = rng.random() < 0.12 + 0.3 * max(age, 0)
    choice = rng.integers(7, 9) if grey else rng.choice(7, p=_hair_odds(tone))
    hair = to_linear(_HAIR[choice] * rng.normal(1.0, 0.06, 3))
    return random_color(rng, dull=0.0) if rng.random() < 0.04 else hair


def _hair_odds(skin_index: float) -> np.ndarray:
    fair = np.clip(1 - skin_index / 4, 0.03, 1)
    odds = np.array([0.35, 0.3, 0.25, 0.2 * fair, 0.2 * fair, 0.2 * fair, 0.1 * fair])
    return odds / odds.sum()


def hair_depth(head: Head, points: BodyPoints) -> np.ndarray:
    """(P,) metres inside the hair-covered region, negative on bare skin."""
    eye = points.landmark["l_eye"]
    z, y = points.z - eye[2], points.y - eye[1]
    line_y = _LINE_Y + head.hairline * np.clip((_LINE_Z + 0.08) / 0.06, 0, 1)
    if head.cut in _HAIR_REACH:
        line_y = np.where(_LINE_Z < -0.065, _HAIR_REACH[head.cut], line_y)
    if head.cut == "bald":
        line_y = np.where(_LINE_Z > -0.09, 0.2, np.where(_LINE_Z < -0.1, line_y, 0.03))
    edge = 0.003 * fractal_noise(points.rest * 60.0)
    depth = y - np.interp(z, _LINE_Z, line_y) + edge
    # Below the head only the middle of the back can be under long hair.
    width = 0.105 + 0.1 * np.clip(-(y + 0.12), 0, 0.1)
    bare = (y < -0.1) & ((np.abs(points.x) > width) | (z > -0.07))
    return np.where(bare, -0.05, depth).astype(np.float32)


def hat_region(head: Head, points: BodyPoints) -> np.ndarray:
    """(P,) bool: under the hat."""
    eye = points.landmark["l_eye"]
    y, z = points.y - eye[1], points.z - eye[2]
    if head.hat in _HAT_RIMS:
        front, drop, depth = _HAT_RIMS[head.hat]
        return points.on("head") & (y > front - drop * np.clip(-z / depth, 0, 1))
    if head.hat == "band":
        return points.on("head") & (np.abs(y - 0.055) < 0.013)
    return np.zeros(len(y), bool)


def paint_head(paint: Paint, head: Head, points: BodyPoints) -> None:
    """Face, hair and hat onto the points of the head (and long hair onto the back)."""
    _paint_face(paint, head, points)
    on_head = points.on("head")
    covered = (hair_depth(head, points) > 0) & (on_head | (head.cut == "long"))
    if head.cut in _HAIR_REACH:
        covered &= on_head | points.on("back")
    if covered.any():
        _paint_hair(paint, head, points, covered)
    hat = hat_region(head, points)
    if hat.any():
        paint.put(hat, head.hat_color, gloss=0.5 if head.hat == "helmet" else 0.05, fold=0.1)
        eye = points.landmark["l_eye"]
        # Badge on the front, strap at the back.
        y, z = points.y - eye[1], points.z - eye[2]
        badge = hat & (ellipse(points.x, y, (0, 0.075), (0.02, 0.014)) < 1) & (z > -0.06)
        paint.put(badge, 1 - head.hat_color)
        paint.put(hat & (y < 0.03) & (z < -0.13) & (np.abs(points.x) < 0.03), head.hat_color * 0.35)


def _paint_hair(paint: Paint, head: Head, points: BodyPoints, covered: np.ndarray) -> None:
    at = points.rest[covered]
    # Strands: noise stretched from the crown downwards.
    crown = points.landmark["head"] + np.array([0.0, 0.13, -0.03])
    away = at - crown
    angle = np.arctan2(away[:, 0], away[:, 2])
    strand = np.stack([angle * 9.0, away[:, 1] * 6.0, np.hypot(away[:, 0], away[:, 2]) * 6], axis=1)
    tone = 1 + 0.28 * fractal_noise(strand.astype(np.float32), 2)
    color = head.hair * tone[:, None]
    if head.cut in ("buzz", "bald"):
        color = 0.6 * color + 0.4 * head.skin * 0.7
    if head.parting:
        line = np.abs(at[:, 0] - head.parting) < 0.003
        color[line & (away[:, 2] > -0.02)] = head.skin * 0.7
    paint.put(covered, np.clip(color, 0, 1), gloss=0.25, fold=0.35)


class _Face:
    """Points of a head, x and y relative to the middle between the eyes."""

    def __init__(self, at: BodyPoints) -> None:
        eye = at.landmark["l_eye"]
        self.at = at
        self.eye_x = float(eye[0])
        self.nose_y = at.landmark["nose"][1] - eye[1]
        self.x, self.y, self.side = at.x, at.y - eye[1], np.abs(at.x)
        self.front = at.z > eye[2] - 0.05

    def both_sides(self, centre: tuple[float, float], radius: tuple[float, float]) -> np.ndarray:
        """Squared distance from an ellipse's centre on either side, 1 on its rim."""
        return ellipse(self.side, self.y, centre, radius)

    def middle(self, centre: tuple[float, float], radius: tuple[float, float]) -> np.ndarray:
        """The same for an ellipse that is there once."""
        return ellipse(self.x, self.y, centre, radius)


def _paint_face(paint: Paint, head: Head, points: BodyPoints) -> None:
    index = np.flatnonzero(points.on("head"))
    if len(index) == 0:
        return
    face = _Face(points[index])
    layer = Paint(len(index))
    layer.color[:] = paint.color[index]
    _paint_skin_tones(layer, head, face)
    _paint_mouth(layer, head, face)
    _paint_beard(layer, head, face)
    nostrils = (_NOSTRIL_X, face.nose_y - _NOSTRIL_BELOW_TIP)
    nostril = face.both_sides(nostrils, (0.0045, 0.0028)) < 1
    layer.put(nostril & face.front, head.skin * 0.18)
    _paint_eyes(layer, head, face)
    if head.glasses:
        _paint_glasses(layer, head, face)
    paint.color[index] = layer.color


def _paint_skin_tones(layer: Paint, head: Head, face: _Face) -> None:
    cheeks = (*_CHEEK, 0.5 + 0.4 * head.makeup, _WARM)
    for centre, radius, strength, factor in (cheeks, _NOSE_TIP, _SOCKET, _NOSE_FLANK, _CHIN):
        weight = np.clip(1 - face.both_sides(centre, radius), 0, 1)
        layer.tint(weight * face.front * strength, head.skin * factor)


def _paint_mouth(layer: Paint, head: Head, face: _Face) -> None:
    color = head.lips
    if head.makeup > 0:
        color = color + head.makeup * (to_linear(np.array([0.75, 0.12, 0.2])) - color)
    lips = face.middle(_MOUTH, (0.026, 0.0095 + 0.006 * head.mouth_open)) < 1
    layer.put(face.front & lips, color, gloss=0.4)
    gap = face.middle(_MOUTH, (0.024, 0.0018 + 0.0065 * head.mouth_open)) < 1
    layer.put(face.front & gap, to_linear(np.array([0.25, 0.08, 0.08])))
    if head.mouth_open > 0.3:
        teeth = gap & (face.y > _MOUTH[1] - 0.001) & (face.side < 0.018)
        layer.put(face.front & teeth, to_linear(np.array([0.92, 0.9, 0.85])))


def _paint_beard(layer: Paint, head: Head, face: _Face) -> None:
    if head.beard > 0:
        lips = face.middle(_MOUTH, (0.027, 0.011)) < 1
        rough = 0.006 * fractal_noise(face.at.rest * 90.0)
        below = face.y + rough < np.interp(face.side, _BEARD_X, _BEARD_Y)
        below &= (face.y > _BEARD_LOWEST_Y) & (face.at.z > _BEARD_LEAST_Z)
        layer.tint((below & ~lips) * head.beard, head.hair * 0.8)
    if head.moustache > 0:
        upper = face.middle((0.0, _MOUTH[1] + 0.0145), (0.026, 0.0065)) < 1
        layer.tint((upper & face.front) * head.moustache, head.hair * 0.8)


def _paint_eyes(layer: Paint, head: Head, face: _Face) -> None:
    side, y, front = face.side, face.y, face.front
    centre = (face.eye_x, _EYE_Y)
    arch = 0.0175 + 0.10 * np.clip(0.035 - side, -0.02, 0.02) * -0.5
    brow = (np.abs(y - arch) < 0.0042) & (side > 0.012) & (side < 0.052)
    layer.put(front & brow, head.brows)
    white = face.both_sides(centre, (0.0155, 0.0072 * head.eyes_open)) < 1
    rim = face.both_sides(centre, (0.0175, 0.0088 * head.eyes_open + 0.001)) < 1
    lid = rim & ~white & (y > _EYE_Y - 0.002)
    layer.put(front & lid, _DARK * (0.4 if head.makeup else 1.0))
    layer.put(front & white, to_linear(np.array([0.90, 0.89, 0.87])), gloss=0.5)
    layer.put(front & white & (face.both_sides(centre, (0.0068, 0.0068)) < 1), head.iris)
    layer.put(front & white & (face.both_sides(centre, (0.0033, 0.0033)) < 1), _DARK * 0.3)


def _paint_glasses(layer: Paint, head: Head, face: _Face) -> None:
    lens = face.both_sides((face.eye_x, _EYE_Y), (0.0235, 0.018))
    frame = (lens < 1.25) & (lens > 0.85)
    bridge = (face.side < 0.010) & (np.abs(face.y - 0.002) < 0.0025)
    temple = (face.side > 0.05) & (np.abs(face.y - 0.004) < 0.0028)
    if head.glasses == 2:
        layer.put(face.front & (lens < 1), _DARK * 0.5, gloss=0.9)
    layer.put((face.front & (frame | bridge)) | temple, _DARK)
