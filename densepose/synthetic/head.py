"""Faces, hair, beards, glasses and hats: drawn at random, and where hair and hats lie.

The drawing is made relative to the landmarks of the template (eyes, nose, ears), in metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .anatomy import BodyPoints
from .noise import fractal_noise
from .patterns import random_color, to_linear

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
