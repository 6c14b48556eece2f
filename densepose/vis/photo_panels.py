"""A photo beside what was predicted of it: parts over the photo, U and V, boxes and scores."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from densepose.structures.prediction import ImagePrediction

from .draw import draw_boxes, draw_iuv
from .iuv_image import prediction_to_iuv
from .layout import side_by_side

TITLES = ("photo", "parts", "U", "V")


def parts_picture(image: np.ndarray, prediction: ImagePrediction, side_px: int) -> np.ndarray:
    """(h, w, 3) uint8 RGB: parts over the photo with boxes and scores, see ``photo_panels``."""
    small, iuv, shrunk = _shrunk(image, prediction, side_px)
    return _with_boxes(draw_iuv(small, iuv), shrunk)


def photo_panels(image: np.ndarray, prediction: ImagePrediction, side_px: int) -> np.ndarray:
    """One picture of four beside each other: photo, parts with boxes and scores, U, V.

    Args:
        image: (H, W, 3) uint8 RGB.
        prediction: of this image.
        side_px: longest side of each of the four at most; larger photos are shrunk.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    small, iuv, shrunk = _shrunk(image, prediction, side_px)
    drawn = [draw_iuv(small, iuv, mode=mode) for mode in ("parts", "u", "v")]
    return side_by_side([small, _with_boxes(drawn[0], shrunk), *drawn[1:]], TITLES)


def _with_boxes(picture: np.ndarray, prediction: ImagePrediction) -> np.ndarray:
    titles = [f"{score:.2f}" for score in prediction.scores]
    return draw_boxes(picture, prediction.boxes_xyxy_px, titles)


def _shrunk(
    image: np.ndarray, prediction: ImagePrediction, side_px: int
) -> tuple[np.ndarray, np.ndarray, ImagePrediction]:
    """Photo, IUV image and boxes, all smaller alike."""
    iuv = prediction_to_iuv(prediction)
    scale = side_px / max(image.shape[:2])
    if scale >= 1:
        return image, iuv, prediction
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    # Parts are names: between two of them there is nothing to average.
    iuv = cv2.resize(iuv, (width, height), interpolation=cv2.INTER_NEAREST)
    boxes = prediction.boxes_xyxy_px * scale
    return small, iuv, replace(prediction, boxes_xyxy_px=boxes)
