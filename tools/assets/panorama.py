"""Photos as a camera would take them inside an equirectangular panorama.

A panorama is (H, 2 H, 3) linear RGB. Columns run around the horizon, column 0 begins at yaw 0 and
yaw grows to the right; rows run from straight up to straight down. Angles in radians.
"""

from __future__ import annotations

import cv2
import numpy as np

_UINT8_MAX = float(np.iinfo(np.uint8).max)
# Share of the pixels of a photo that may be white.
_WHITE_SHARE = 0.03
# Of a pixel's strongest channel that its weakest one has at least.
_LEAST_CHANNEL = 0.002
# Share of a neighbourhood that has to be whole for it to stand for what is not.
_ENOUGH = 0.05
# Times the middle brightness of the panorama: beyond, a lamp is only white.
_BRIGHTEST = 30.0
# Display brightness that the middle of a photo is exposed to, linear.
_MIDDLE = 0.19


def perspective_photo(
    panorama: np.ndarray,
    *,
    yaw: float,
    pitch: float,
    view: float,
    height: int,
    width: int,
) -> np.ndarray:
    """What a pinhole camera without roll sees.

    Args:
        panorama: (H, 2 H, 3) float32 linear RGB.
        yaw: where the camera looks, from the left edge of the panorama to the right.
        pitch: above the horizon, below -pi / 2 and pi / 2.
        view: angle across the wider side of the photo, between 0 and pi.
        height: of the photo in px.
        width: of the photo in px.

    Returns:
        (height, width, 3) float32 linear RGB, not negative; lamps are limited to some 30 times the
        middle brightness of the panorama.

    Raises:
        ValueError: no equirectangular panorama, or an angle out of range.
    """
    if panorama.ndim != 3 or panorama.shape[1] != 2 * panorama.shape[0] or panorama.shape[2] != 3:
        raise ValueError(
            f"an equirectangular panorama is twice as wide as high, got {panorama.shape}"
        )
    if not (0 < view < np.pi and abs(pitch) <= np.pi / 2):
        raise ValueError(f"view must be in (0, pi) and |pitch| <= pi / 2, got {view} and {pitch}")
    focal_px = 0.5 * max(height, width) / np.tan(view / 2)
    right = (np.arange(width) + 0.5 - width / 2)[None, :] / focal_px
    down = (np.arange(height) + 0.5 - height / 2)[:, None] / focal_px
    # Forward and up of the camera in a frame whose horizontal axis points at yaw.
    ahead = np.cos(pitch) + down * np.sin(pitch)
    above = np.sin(pitch) - down * np.cos(pitch)
    right, ahead, above = np.broadcast_arrays(right, ahead, above)
    longitude = yaw + np.arctan2(right, ahead)
    latitude = np.arctan2(above, np.hypot(right, ahead))
    return _look_up(panorama, longitude, latitude)


def fill_broken(panorama: np.ndarray) -> np.ndarray:
    """Fill pixels that lossy compression broke, around lamps and the sun, from those nearby.

    Broken are those with a channel below zero, or so far below the others as no light is.

    Args:
        panorama: (H, W, 3) float32 linear RGB.

    Returns:
        The same without negative values.
    """
    good = panorama.min(axis=2) >= _LEAST_CHANNEL * panorama.max(axis=2)
    sum_of_good, weight = panorama * good[..., None], good.astype(np.float32)
    for sigma_px in (1.0, 4.0):
        blurred = cv2.GaussianBlur(sum_of_good, (0, 0), sigma_px)
        share = cv2.GaussianBlur(weight, (0, 0), sigma_px)
        fill = (share > _ENOUGH) & ~good
        panorama = np.where(fill[..., None], blurred / np.maximum(share, 1e-9)[..., None], panorama)
        good = good | fill
    return np.maximum(panorama, 0).astype(np.float32)


def _look_up(panorama: np.ndarray, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    rows, columns = panorama.shape[:2]
    # A few columns of the other end on both sides, so that interpolation goes round.
    rim = 4
    around = np.concatenate([panorama[:, -rim:], panorama, panorama[:, :rim]], axis=1)
    x = np.mod(longitude / (2 * np.pi), 1.0) * columns - 0.5 + rim
    y = (0.5 - latitude / np.pi) * rows - 0.5
    # Of logarithms, and of lamps no brighter than needed to be white: cubic interpolation would
    # swing below zero beside a lamp a thousand times brighter than its surroundings.
    scale = np.float32(max(float(np.median(around)), 1e-6))
    photo = cv2.remap(
        np.log1p(np.clip(around / scale, 0, _BRIGHTEST)).astype(np.float32),
        x.astype(np.float32),
        y.astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.maximum(np.expm1(photo) * scale, 0)


def tone_map(linear: np.ndarray) -> np.ndarray:
    """(H, W, 3) linear RGB of any brightness -> (H, W, 3) uint8 sRGB, as a camera would expose it.

    Exposed for the middle brightness, but so that few pixels are white; what is brighter than white
    is compressed smoothly. Colours keep their hue: the three channels are scaled alike.
    """
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    middle = float(np.median(luminance))
    white = float(np.quantile(luminance, 1 - _WHITE_SHARE))
    if white <= 0:
        return np.zeros(linear.shape, np.uint8)
    gain = min(_MIDDLE / max(middle, 1e-9), 4.0 / white)
    exposed = luminance * gain
    # Straight below 0.6, then bending towards 1.
    knee = 0.6
    over = np.maximum(exposed - knee, 0) / (1 - knee)
    mapped = np.where(exposed > knee, knee + (1 - knee) * (over / (1 + over)), exposed)
    scale = gain * mapped / np.maximum(exposed, 1e-9)
    display = np.clip(linear * scale[..., None], 0, 1)
    coded = np.where(
        display <= 0.0031308, 12.92 * display, 1.055 * np.power(display, 1 / 2.4) - 0.055
    )
    return np.rint(coded * _UINT8_MAX).astype(np.uint8)
