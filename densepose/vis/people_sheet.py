"""People beside what was predicted of them, as a sheet of small pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from densepose.structures.prediction import ImagePrediction

from .draw import draw_prediction, draw_truth
from .layout import contact_sheet

_HEIGHT_PX = 220
_MARGIN = 0.15
_GAP_PX = 2
_PAPER = 255


@dataclass(frozen=True)
class PersonPicture:
    """One person of a sheet."""

    title: str
    image: np.ndarray  # (H, W, 3) uint8 RGB
    annotation: Mapping[str, Any]  # COCO annotation with ``bbox``
    prediction: ImagePrediction | None  # of the whole image; None where nothing was predicted


def people_sheet(people: Sequence[PersonPicture], *, columns: int = 5) -> np.ndarray:
    """Annotated points on the left, predicted parts on the right, person by person.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: nobody is given.
    """
    return contact_sheet(
        [_truth_and_prediction(person) for person in people],
        [person.title for person in people],
        columns=columns,
    )


def _truth_and_prediction(person: PersonPicture) -> np.ndarray:
    truth = draw_truth(person.image, [person.annotation])
    found = person.image
    if person.prediction is not None:
        found = draw_prediction(person.image, person.prediction)
    left, top, right, bottom = _window(person.annotation["bbox"], person.image.shape)
    halves = [_of_height(half[top:bottom, left:right]) for half in (truth, found)]
    gap = np.full((_HEIGHT_PX, _GAP_PX, 3), _PAPER, np.uint8)
    return np.concatenate([halves[0], gap, halves[1]], axis=1)


def _window(box_xywh_px: Sequence[float], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the box with a margin, at least one pixel inside the image."""
    x, y, width, height = (float(value) for value in box_xywh_px)
    margin = _MARGIN * max(width, height)
    left = min(max(int(x - margin), 0), shape[1] - 1)
    top = min(max(int(y - margin), 0), shape[0] - 1)
    right = max(min(int(np.ceil(x + width + margin)), shape[1]), left + 1)
    return left, top, right, max(min(int(np.ceil(y + height + margin)), shape[0]), top + 1)


def _of_height(image: np.ndarray) -> np.ndarray:
    width = max(1, round(image.shape[1] * _HEIGHT_PX / image.shape[0]))
    # Boxes of a few pixels across the whole image would make strips.
    size = (min(width, 3 * _HEIGHT_PX), _HEIGHT_PX)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
