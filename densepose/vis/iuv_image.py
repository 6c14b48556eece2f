"""Full-frame IUV images: what other programs read.

An IUV image is (H, W, 3) uint8 in the order I, U, V: the part (0 background, 1..24), U in steps of
1 / 255, V in steps of 1 / 255. As a PNG the channels are stored as red, green, blue in this order.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from densepose.structures.body_parts import NUM_PARTS
from densepose.structures.prediction import ImagePrediction

CHANNEL_ORDERS = ("iuv", "vui", "auto")


@dataclass(frozen=True)
class PersonPixels:
    """The body pixels of all people of an image, the person with the lowest score first."""

    row: np.ndarray  # (P,) int64
    column: np.ndarray  # (P,) int64
    part: np.ndarray  # (P,) uint8 in 1..24
    uv: np.ndarray  # (P, 2) uint8 steps of 1 / 255
    person: np.ndarray  # (P,) int64: index of the prediction


def person_pixels(prediction: ImagePrediction, min_score: float = 0.0) -> PersonPixels:
    """Body pixels of the people with at least ``min_score`` that lie inside the image."""
    height, width = prediction.image_size
    order = np.argsort(prediction.scores, kind="stable")
    order = order[prediction.scores[order] >= min_score]
    shapes = np.array([prediction.labels[i].shape for i in order], np.int64).reshape(-1, 2)
    count = shapes.prod(axis=1)
    owner = np.repeat(np.arange(len(order)), count)
    within = np.arange(len(owner)) - np.repeat(count.cumsum() - count, count)
    corner = np.floor(prediction.boxes_xyxy_px[order, :2]).astype(np.int64).reshape(-1, 2)
    row = corner[owner, 1] + within // shapes[owner, 1]
    column = corner[owner, 0] + within % shapes[owner, 1]
    nothing = np.zeros(0, np.uint8)
    part = np.concatenate([nothing, *(prediction.labels[i].ravel() for i in order)])
    u, v = (
        np.concatenate([nothing, *(prediction.uv[i][axis].ravel() for i in order)])
        for axis in (0, 1)
    )
    keep = (part > 0) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return PersonPixels(
        row=row[keep],
        column=column[keep],
        part=part[keep],
        uv=np.stack([u, v], axis=1)[keep],
        person=order[owner[keep]],
    )


def prediction_to_iuv(prediction: ImagePrediction, min_score: float = 0.0) -> np.ndarray:
    """All people in one image; where they overlap the higher score wins.

    Args:
        prediction: people of one image.
        min_score: people below are left out.

    Returns:
        (H, W, 3) uint8 in the order I, U, V.
    """
    pixels = person_pixels(prediction, min_score)
    iuv = np.zeros((*prediction.image_size, 3), np.uint8)
    iuv[pixels.row, pixels.column] = np.column_stack([pixels.part, pixels.uv])
    return iuv


def write_iuv_png(path: str | Path, iuv: np.ndarray) -> None:
    """Write an IUV image without loss; an existing file is replaced at once."""
    check_iuv(iuv, str(path))
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    Image.fromarray(iuv).save(temporary, format="PNG")
    os.replace(temporary, path)


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
        ValueError: it is no IUV image, or "auto" cannot tell.
    """
    if order not in CHANNEL_ORDERS:
        raise ValueError(f"order must be one of {CHANNEL_ORDERS}, got {order!r}")
    try:
        with Image.open(path) as opened:
            iuv = np.asarray(opened)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not a readable picture; expected an IUV PNG") from error
    if order == "auto" and iuv.ndim == 3 and iuv.shape[2] == 3:
        order = _channel_order(iuv, str(path))
    iuv = np.ascontiguousarray(iuv[..., ::-1]) if order == "vui" else iuv
    check_iuv(iuv, str(path))
    return iuv


def _channel_order(channels: np.ndarray, source: str) -> str:
    """Which of the two outer channels holds parts: up to 24, and 0 only where the others are."""
    fits = [
        order
        for order, part, rest in (
            ("iuv", channels[..., 0], channels[..., 1:]),
            ("vui", channels[..., 2], channels[..., :2]),
        )
        if part.max(initial=0) <= NUM_PARTS and not rest[part == 0].any()
    ]
    if len(fits) == 2 and channels.any():
        raise ValueError(
            f"{source}: both the first and the last channel may be the part; say which order it"
            f" has, one of {CHANNEL_ORDERS[:2]}"
        )
    # Where neither fits, background may carry u and v: the error of check_iuv decides.
    neither = "vui" if channels[..., 0].max(initial=0) > NUM_PARTS else "iuv"
    return fits[0] if fits else neither


def check_iuv(iuv: np.ndarray, source: str) -> None:
    """Raise ValueError unless ``iuv`` is (H, W, 3) uint8 with parts up to 24."""
    if iuv.ndim != 3 or iuv.shape[2] != 3 or iuv.dtype != np.uint8:
        raise ValueError(
            f"{source}: an IUV image must be (H, W, 3) uint8, got {iuv.shape} {iuv.dtype}"
        )
    if iuv[..., 0].max(initial=0) > NUM_PARTS:
        raise ValueError(
            f"{source}: channel 0 of an IUV image is the part, 0..24, got {iuv[..., 0].max()}; the"
            " channels may be in the order V, U, I"
        )
