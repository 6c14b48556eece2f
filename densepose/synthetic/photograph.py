"""From light to a JPEG: exposure, colour cast, blur, noise, compression; by day or at night."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .backgrounds import Background
from .camera import Camera
from .light import Light

# Linear brightness above which light is compressed.
_SHOULDER = np.float32(0.8)
_UINT8_MAX = float(np.iinfo(np.uint8).max)


@dataclass(frozen=True)
class Photograph:
    """How a picture is taken; amounts in pixels and in display brightness (0..1)."""

    exposure: float
    cast: np.ndarray  # (3,) gain of each channel
    contrast: float
    saturation: float
    blur_px: float
    motion_px: float
    motion_angle_rad: float
    noise: float
    vignette: float
    jpeg_quality: int


def sample_photograph(rng: np.random.Generator) -> Photograph:
    """Mostly clean pictures, some blurred, noisy or badly exposed ones."""
    return Photograph(
        exposure=float(np.exp(rng.normal(0.0, 0.18))),
        cast=np.exp(rng.normal(0.0, 0.06, 3)),
        contrast=float(rng.normal(1.05, 0.12)),
        saturation=float(rng.normal(1.0, 0.2)),
        blur_px=float(
            rng.choice([0.35, rng.uniform(0.35, 0.9), rng.uniform(0.9, 1.6)], p=[0.5, 0.38, 0.12])
        ),
        motion_px=float(rng.uniform(2, 5)) if rng.random() < 0.06 else 0.0,
        motion_angle_rad=float(rng.uniform(0, np.pi)),
        noise=float(abs(rng.normal(0.0, 0.018))),
        vignette=float(rng.uniform(0, 0.3)) if rng.random() < 0.3 else 0.0,
        jpeg_quality=int(rng.integers(72, 97)),
    )


def develop(linear: np.ndarray, how: Photograph, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) linear RGB -> (H, W, 3) uint8 RGB."""
    light = linear.astype(np.float32) * (how.exposure * how.cast).astype(np.float32)
    height, width = light.shape[:2]
    if how.vignette > 0:
        rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
        light *= (1 - how.vignette * (rows**2 + columns**2) / 2)[..., None].astype(np.float32)
    if how.motion_px > 0:
        light = cv2.filter2D(light, -1, _motion_kernel(how.motion_px, how.motion_angle_rad))
    light = cv2.GaussianBlur(light, (0, 0), how.blur_px)
    # A soft shoulder keeps bright cloth from clipping to flat white.
    bright = light > _SHOULDER
    left = 1 - _SHOULDER
    light[bright] = _SHOULDER + left * np.tanh((light[bright] - _SHOULDER) / left)
    image = cv2.pow(np.clip(light, 0, 1), 1 / 2.2)
    grey = (image @ np.full(3, 1 / 3, np.float32))[..., None]
    image = grey + np.float32(how.saturation) * (image - grey)
    image = 0.5 + np.float32(how.contrast) * (image - 0.5)
    grains = grey.shape if how.saturation == 0 else image.shape  # a grey sensor has one of all
    image += np.float32(how.noise) * rng.standard_normal(grains, dtype=np.float32)
    return (np.clip(image, 0, 1) * _UINT8_MAX + 0.5).astype(np.uint8)


def _motion_kernel(length_px: float, angle_rad: float) -> np.ndarray:
    side = int(np.ceil(length_px)) // 2 * 2 + 3
    kernel = np.zeros((side, side), np.float32)
    along = np.linspace(-length_px / 2, length_px / 2, 8 * side)
    column = np.round(side // 2 + along * np.cos(angle_rad)).astype(int)
    row = np.round(side // 2 + along * np.sin(angle_rad)).astype(int)
    np.add.at(kernel, (row, column), 1.0)
    return kernel / kernel.sum()


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """(H, W, 3) uint8 RGB -> JPEG file."""
    return _encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(image: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) uint8, RGB -> PNG file."""
    return _encode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def _encode(suffix: str, image: np.ndarray, options: list[int]) -> bytes:
    channels_reversed = image[..., ::-1] if image.ndim == 3 else image
    done, data = cv2.imencode(suffix, channels_reversed, options)
    if not done:
        raise RuntimeError(f"OpenCV could not encode an image of shape {image.shape} as {suffix}")
    return data.tobytes()


def snapshot(rng: np.random.Generator, usual: Photograph) -> Photograph:
    """``usual`` with the faults of any camera, each in some of the pictures."""
    faulty = rng.random(6) < (0.12, 0.12, 0.3, 0.25, 0.1, 0.2)
    exposure, cast = np.exp(rng.normal(0, 0.45)), np.exp(rng.normal(0, 0.15, 3))
    return replace(
        usual,
        blur_px=usual.blur_px + faulty[0] * rng.uniform(0.5, 2.0),
        noise=usual.noise + faulty[1] * rng.uniform(0.01, 0.07),
        jpeg_quality=int(rng.integers(30, 75)) if faulty[2] else usual.jpeg_quality,
        exposure=usual.exposure * (exposure if faulty[3] else 1.0),
        saturation=0.0 if faulty[4] else usual.saturation,
        cast=usual.cast * (cast if faulty[5] else 1.0),
    )


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
    brightness = np.float32(rng.uniform(0.15, 0.5))
    return replace(background, color=brightness * infrared(background.color))


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
