"""Several pictures beside each other with titles. Images are (H, W, 3) uint8 RGB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from densepose.errors import InputError
from densepose.structures.prediction import ImagePrediction

from .draw import draw, draw_annotations, draw_boxes, font
from .iuv_image import prediction_to_iuv

_PAPER, _INK = 255, (30, 30, 30)
_GAP_PX, _TITLE_PX = 6, 22
_PERSON_PX = 220  # height of a person of a sheet
_MARGIN = 0.15  # around a person's box, as a fraction of its longer side


def contact_sheet(
    images: Sequence[np.ndarray], titles: Sequence[str], *, columns: int
) -> np.ndarray:
    """Rows of ``columns`` images on white, each in a cell of the size of the largest.

    Args:
        images: (H, W, 3) uint8 each; they are scaled to the height of the tallest.
        titles: one per image.
        columns: images in a row.

    Raises:
        InputError: no image, ``columns`` below 1, or titles that are not one per image.
    """
    if not images or columns < 1:
        raise InputError(f"expected images and columns >= 1, got {len(images)} and {columns}")
    if len(titles) != len(images):
        raise InputError(f"expected a title for each of {len(images)} images, got {len(titles)}")
    height = max(image.shape[0] for image in images)
    scaled = [_to_height(image, height) for image in images]
    cell_height = _TITLE_PX + height + _GAP_PX
    cell_width = max(image.shape[1] for image in scaled) + _GAP_PX
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    size = (columns * cell_width + _GAP_PX, rows * cell_height + _GAP_PX)
    sheet = Image.new("RGB", size, (_PAPER,) * 3)
    pen = ImageDraw.Draw(sheet)
    for index, (image, title) in enumerate(zip(scaled, titles, strict=True)):
        x = _GAP_PX + index % columns * cell_width
        y = _GAP_PX + index // columns * cell_height
        pen.text((x, y), title, fill=_INK, font=font(15))
        sheet.paste(Image.fromarray(image), (x, y + _TITLE_PX))
    return np.array(sheet)


def _to_height(image: np.ndarray, height: int, most_width: float = np.inf) -> np.ndarray:
    if image.shape[0] == height:
        return image
    width = int(min(max(1, round(image.shape[1] * height / image.shape[0])), most_width))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


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
    pictures = [small, _parts(small, iuv, shrunk), *(draw(small, iuv, style=s) for s in "uv")]
    return contact_sheet(pictures, ("photo", "parts", "U", "V"), columns=4)


def _parts(image: np.ndarray, iuv: np.ndarray, prediction: ImagePrediction) -> np.ndarray:
    titles = [f"{score:.2f}" for score in prediction.scores]
    return draw_boxes(draw(image, iuv), prediction.boxes_xyxy_px, titles)


def _shrunk(
    image: np.ndarray, prediction: ImagePrediction, side_px: int
) -> tuple[np.ndarray, np.ndarray, ImagePrediction]:
    """Photo, IUV image and boxes at one smaller scale."""
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


@dataclass(frozen=True)
class PersonPicture:
    """One person of a sheet."""

    title: str
    image: np.ndarray  # (H, W, 3) uint8 RGB
    annotation: Mapping[str, Any]  # COCO annotation with ``bbox``
    prediction: ImagePrediction | None  # of the whole image; None where nothing was predicted


def people_sheet(people: Sequence[PersonPicture], *, columns: int = 5) -> np.ndarray:
    """Annotated points on the left, predicted parts on the right, person by person.

    Raises:
        InputError: no person is given.
    """
    pairs = [_truth_and_prediction(person) for person in people]
    return contact_sheet(pairs, [person.title for person in people], columns=columns)


def _truth_and_prediction(person: PersonPicture) -> np.ndarray:
    found = person.image
    if person.prediction is not None:
        found = draw(found, person.prediction, boxes=True)
    left, top, right, bottom = _window(person.annotation["bbox"], person.image.shape)
    # Boxes of a few pixels across the whole image would make strips.
    halves = [
        _to_height(half[top:bottom, left:right], _PERSON_PX, 3 * _PERSON_PX)
        for half in (draw_annotations(person.image, [person.annotation]), found)
    ]
    gap = np.full((_PERSON_PX, 2, 3), _PAPER, np.uint8)
    return np.concatenate([halves[0], gap, halves[1]], axis=1)


def _window(box_xywh_px: Sequence[float], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the box with a margin, at least one pixel inside the image."""
    x, y, width, height = (float(value) for value in box_xywh_px)
    margin = _MARGIN * max(width, height)
    left = min(max(int(x - margin), 0), shape[1] - 1)
    top = min(max(int(y - margin), 0), shape[0] - 1)
    right = max(min(int(np.ceil(x + width + margin)), shape[1]), left + 1)
    return left, top, right, max(min(int(np.ceil(y + height + margin)), shape[0]), top + 1)
