"""Full-frame IUV images: what other programs read.

An IUV image is (H, W, 3) uint8 in the order I, U, V: the part (0 background, 1..24), U in steps of
1 / 255, V in steps of 1 / 255. As a PNG the channels are stored as red, green, blue in this order.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from densepose.errors import InputError
from densepose.files import atomic
from densepose.structures.body_parts import NUM_PARTS
from densepose.structures.prediction import ImagePrediction

CHANNEL_ORDERS = ("iuv", "vui", "auto")


def prediction_to_iuv(prediction: ImagePrediction, min_score: float = 0.0) -> np.ndarray:
    """All people in one image; where they overlap the higher score wins.

    Args:
        prediction: people of one image.
        min_score: people with a lower score are skipped.

    Returns:
        (H, W, 3) uint8 in the order I, U, V.
    """
    maps = [
        np.concatenate([labels[None], uv])
        for labels, uv in zip(prediction.labels, prediction.uv, strict=True)
    ]
    return _full_frame(prediction, maps, min_score)


def confidence_map(prediction: ImagePrediction | np.ndarray, min_score: float = 0.0) -> np.ndarray:
    """(H, W) uint8 probability of the part that each pixel shows, in steps of 1 / 255.

    Raises:
        InputError: the prediction was made without confidence.
    """
    if not isinstance(prediction, ImagePrediction) or prediction.confidence is None:
        raise InputError(
            "style 'confidence' needs a prediction with confidence; predict with confidence=True"
        )
    return _full_frame(prediction, [c[None] for c in prediction.confidence], min_score)[..., 0]


def _full_frame(
    prediction: ImagePrediction, maps: Sequence[np.ndarray], min_score: float
) -> np.ndarray:
    """(C, h_i, w_i) uint8 maps of each person -> (H, W, C), 0 where there is no body."""
    height, width = prediction.image_size
    frame = np.zeros((height, width, maps[0].shape[0] if maps else 3), np.uint8)
    corners = np.floor(prediction.boxes_xyxy_px[:, :2]).astype(int).tolist()
    for index in np.argsort(prediction.scores, kind="stable").tolist():
        if prediction.scores[index] < min_score:
            continue
        x, y = corners[index]
        inside = np.s_[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
        body = prediction.labels[index][inside] > 0
        window = frame[max(y, 0) :, max(x, 0) :][: body.shape[0], : body.shape[1]]
        window[body] = maps[index][(slice(None), *inside)].transpose(1, 2, 0)[body]
    return frame


def write_iuv_png(path: str | os.PathLike[str], iuv: np.ndarray) -> None:
    """Write an IUV image without loss; an existing file is replaced at once."""
    check_iuv(iuv, str(path))
    with atomic(path) as temporary:
        Image.fromarray(iuv).save(temporary, format="PNG")


def read_iuv_png(path: str | Path, order: str = "iuv") -> np.ndarray:
    """Read an IUV image.

    Args:
        path: a picture without loss, PNG as a rule.
        order: of the channels in the file: "iuv"; "vui", as of programs that write the array I, U,
            V with OpenCV, which takes it for blue, green, red (the original DensePose among them);
            or "auto" to find out.

    Returns:
        (H, W, 3) uint8 in the order I, U, V.

    Raises:
        FileNotFoundError: no such file.
        InputError: it is not an IUV image, or "auto" is ambiguous.
    """
    if order not in CHANNEL_ORDERS:
        raise InputError(f"order must be one of {CHANNEL_ORDERS}, got {order!r}")
    iuv = np.asarray(open_picture(path, "an IUV PNG"))
    if order == "auto" and iuv.ndim == 3 and iuv.shape[2] == 3:
        order = _channel_order(iuv, str(path))
    iuv = np.ascontiguousarray(iuv[..., ::-1]) if order == "vui" else iuv
    check_iuv(iuv, str(path))
    return iuv


def open_picture(path: str | os.PathLike[str], expected: str) -> Image.Image:
    """A picture, read to its end.

    Raises:
        FileNotFoundError: no such file.
        InputError: not a picture, or damaged.
    """
    try:
        with Image.open(path) as opened:
            opened.load()
            return opened
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: not a readable picture ({error}); expected {expected}"
        ) from error


def _channel_order(channels: np.ndarray, source: str) -> str:
    """Which of the two outer channels holds parts: up to 24, and 0 only where the others are."""
    fits = [
        order
        for order, part, uv in (
            ("iuv", channels[..., 0], channels[..., 1:]),
            ("vui", channels[..., 2], channels[..., :2]),
        )
        if part.max(initial=0) <= NUM_PARTS and not uv[part == 0].any()
    ]
    if len(fits) == 2 and channels.any():
        raise InputError(
            f"{source}: both the first and the last channel may be the part; say which order it"
            f" has, one of {CHANNEL_ORDERS[:2]}"
        )
    # Where neither fits, background may carry u and v: the error of check_iuv decides.
    neither = "vui" if channels[..., 0].max(initial=0) > NUM_PARTS else "iuv"
    return fits[0] if fits else neither


def check_iuv(iuv: np.ndarray, source: str) -> None:
    """Raise InputError unless ``iuv`` is (H, W, 3) uint8 with parts up to 24."""
    if iuv.ndim != 3 or iuv.shape[2] != 3 or iuv.dtype != np.uint8:
        raise InputError(
            f"{source}: an IUV image must be (H, W, 3) uint8, got {iuv.shape} {iuv.dtype}"
        )
    if iuv[..., 0].max(initial=0) > NUM_PARTS:
        raise InputError(
            f"{source}: channel 0 of an IUV image is the part, 0..24, got {iuv[..., 0].max()}; the"
            " channels may be in the order V, U, I"
        )
