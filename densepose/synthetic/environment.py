"""Light from all around, photographed: what it adds up to on a surface, and the picture behind.

An environment is an equirectangular panorama with high dynamic range, ``.hdr`` or ``.exr``: columns
run around the horizon, rows from straight up to straight down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from densepose.errors import InputError

from .light import Light, harmonics, turned

SUFFIXES = (".hdr", ".exr")
_HEIGHT_PX = 128
# The lamp is where the light is brightest: what lies within this angle of there, radians.
_LAMP_RAD = 0.3
# What the lamp and all other light together bring to a surface that faces the lamp.
_EXPOSED = (0.75, 1.35)
# In the picture behind, in multiples of its mean.
_BRIGHTEST = 12.0
_BEHIND = 0.5  # brightness of the picture behind beside a white surface, about


@dataclass(frozen=True)
class Environment:
    """A panorama, and its light apart from its lamp."""

    panorama: np.ndarray  # (H, 2 H, 3) float32 linear RGB
    harmonics: np.ndarray  # (9, 3) light on a surface by its normal, without the lamp
    to_lamp: np.ndarray  # (3,)
    lamp: np.ndarray  # (3,) light of the lamp on a surface that faces it


@lru_cache(maxsize=64)
def read_environment(path: Path) -> Environment:
    """Read a panorama.

    Raises:
        InputError: not readable, or not twice as wide as high.
    """
    panorama = _read(path)
    if panorama.ndim != 3 or panorama.shape[1] != 2 * panorama.shape[0]:
        raise InputError(
            f"{path}: an equirectangular panorama is twice as wide as high, got"
            f" {'x'.join(map(str, panorama.shape[1::-1]))} px; remove it from the folder"
        )
    panorama = np.maximum(np.nan_to_num(panorama[..., :3], posinf=0.0), 0)
    small = cv2.resize(panorama, (2 * _HEIGHT_PX, _HEIGHT_PX), interpolation=cv2.INTER_AREA)
    direction, area = _directions(_HEIGHT_PX)
    light = small.reshape(-1, 3)
    brightness = cv2.GaussianBlur(small.mean(axis=2), (0, 0), 2).reshape(-1)
    upper = direction[:, 1] > 0.05
    to_lamp = direction[np.where(upper, brightness, 0).argmax()]
    near = direction @ to_lamp > np.cos(_LAMP_RAD)
    usual = np.median(light, axis=0)
    excess = np.where(near[:, None], np.maximum(light - 3 * usual, 0), 0)
    lamp = (excess * area[:, None]).sum(axis=0) / np.pi
    terms = (_cosine_harmonics(direction) * area[:, None]).T @ (light - excess)
    return Environment(panorama.astype(np.float32), terms, to_lamp, lamp)


def _read(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".exr":
        try:
            import OpenEXR
        except ModuleNotFoundError as error:
            raise InputError(
                f"{path}: reading .exr needs `pip install openexr`; or convert the file to .hdr"
            ) from error
        try:
            with OpenEXR.File(str(path)) as file:
                found = file.channels()["RGB"].pixels
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"{path}: not readable as an RGB image; copy it again") from error
        return np.asarray(found, np.float32)
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError(f"{path}: not readable as an image; copy it again or remove it")
    return image[..., ::-1].astype(np.float32)


def _directions(height: int) -> tuple[np.ndarray, np.ndarray]:
    """(2 H^2, 3) directions of the pixels of a panorama, and (2 H^2,) solid angles."""
    polar = (np.arange(height) + 0.5) / height * np.pi
    around = (np.arange(2 * height) + 0.5) / height * np.pi
    polar, around = (grid.reshape(-1) for grid in np.meshgrid(polar, around, indexing="ij"))
    flat = np.sin(polar)
    direction = np.stack([-flat * np.sin(around), np.cos(polar), flat * np.cos(around)], axis=1)
    return direction, flat * (np.pi / height) ** 2


def _cosine_harmonics(direction: np.ndarray) -> np.ndarray:
    """The same, each order weighed so that their sum is light on a surface over pi.

    Ramamoorthi and Hanrahan, 2001, equation 8.
    """
    return harmonics(direction) * np.repeat([1.0, 2 / 3, 1 / 4], [1, 3, 5])


def turned_light(rng: np.random.Generator, environment: Environment, yaw: float) -> Light:
    """The light of an environment turned by ``yaw``, exposed as a camera would."""
    whole = environment.harmonics[0] * 0.282095 + environment.lamp
    gain = rng.uniform(*_EXPOSED) / max(float(whole.mean()), 1e-6)
    # White balance: most of the tint of the light, not all of it.
    balance = (whole.mean() / np.maximum(whole, 1e-6)) ** rng.uniform(0.3, 0.9)
    return Light(
        to_lamp=turned(environment.to_lamp[None], yaw)[0],
        lamp=environment.lamp * gain * balance,
        sky=whole * gain * balance,
        ground=whole * gain * balance / 2,
        shadow=1.0,
        harmonics=environment.harmonics * gain * balance,
        yaw=yaw,
    )


def picture_behind(environment: Environment, rays: np.ndarray, yaw: float) -> np.ndarray:
    """(H, W, 3) linear RGB that (H, W, 3) rays see of an environment turned by ``yaw``."""
    shape = rays.shape[:2]
    rays = turned(rays.reshape(-1, 3), -yaw)
    x, y, z = rays.T
    height, width = environment.panorama.shape[:2]
    around = np.arctan2(-x, z) / (2 * np.pi) % 1
    down = np.arccos(np.clip(y / np.linalg.norm(rays, axis=1), -1, 1)) / np.pi
    at = [(v.reshape(shape) - 0.5).astype(np.float32) for v in (around * width, down * height)]
    seen = cv2.remap(environment.panorama, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    mean = max(float(np.median(seen.mean(axis=2))), 1e-6)
    return np.minimum(seen / mean, _BRIGHTEST) * np.float32(_BEHIND * 0.5)
