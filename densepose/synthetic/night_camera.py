"""A security camera at night: an infrared lamp beside the lens, a grey and grainy picture.

Another look for the same people and places, far enough from photos that a model trained on these
has something to learn: no colours, no light but that of the lamp, which what is behind gets least
of.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .background import Background
from .camera import Camera
from .photograph import Photograph
from .scene import Light


def infrared_light(rng: np.random.Generator, camera: Camera) -> Light:
    """One hard lamp a hand beside the lens, hardly anything from the sky."""
    aside = rng.normal(0, 0.12, 3)
    to_lamp = -camera.rotation[2] + aside
    ambient = np.full(3, rng.uniform(0.03, 0.1))
    return Light(
        to_lamp=to_lamp / np.linalg.norm(to_lamp),
        lamp=np.full(3, rng.uniform(1.2, 2.2)),
        sky=ambient,
        ground=ambient / 2,
        shadow=1.0,
    )


def in_the_dark(rng: np.random.Generator, background: Background) -> Background:
    """The background farther from the lamp than people are, and grey."""
    share = np.float32(rng.uniform(0.15, 0.5))
    return replace(background, color=share * infrared(background.color))


def night_photograph(rng: np.random.Generator, usual: Photograph) -> Photograph:
    """``usual`` taken with much gain and compressed for a recorder."""
    return replace(
        usual,
        cast=np.ones(3),
        contrast=usual.contrast * rng.uniform(1.0, 1.25),
        saturation=0.0,
        blur_px=usual.blur_px + rng.uniform(0.2, 0.7),
        noise=float(rng.uniform(0.01, 0.04)),
        vignette=float(rng.uniform(0.3, 1.0)),
        jpeg_quality=int(rng.integers(40, 75)),
    )


def infrared(linear: np.ndarray) -> np.ndarray:
    """(H, W, 3) linear RGB -> what a sensor for infrared gets, in all channels alike."""
    weight = np.array([0.6, 0.3, 0.1], np.float32)  # red is nearest to infrared
    return np.repeat((linear.astype(np.float32) @ weight)[..., None], 3, axis=2)
