"""Boxes and regions that the package's model finds, for annotators to correct."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from densepose.prediction.model import Model
from densepose.prediction.people import Person
from densepose.structures.annotated_regions import encode_regions
from densepose.structures.body_parts import ANNOTATION_GRID, COARSE_OF_PART

from . import events as ev
from .project import Start

_LEAST_IOU = 0.3  # of a given box and the person whose regions it gets


class ModelStart:
    """What a model finds in a photo; see ``project.StartPhoto``."""

    def __init__(self, model: Model, *, boxes: bool, regions: bool) -> None:
        """``boxes`` and ``regions``: which of the two it is asked for."""
        self._model, self._boxes, self._regions = model, boxes, regions
        self._lock = threading.Lock()

    def __call__(self, photo: NDArray[np.uint8], known: list[ev.Box]) -> list[Start]:
        """Boxes, where none is known, and the regions of all boxes."""
        with self._lock:
            people = list(self._model(photo))
        boxes = [(box, "file") for box in known]
        if self._boxes and not known:
            corners = (person.box_xyxy_px.tolist() for person in people)
            boxes = [((x0, y0, x1 - x0, y1 - y0), "model") for x0, y0, x1, y1 in corners]
        return [(box, source, self._masks(box, people)) for box, source in boxes]

    def _masks(self, box: ev.Box, people: Sequence[Person]) -> list[ev.Runs] | None:
        overlap = [_iou(box, person.box_xyxy_px) for person in people]
        if not self._regions or max(overlap, default=0) < _LEAST_IOU:
            return None
        return encode_regions(_regions_over(box, people[int(np.argmax(overlap))]))


def _iou(box: ev.Box, box_xyxy_px: NDArray[np.floating]) -> float:
    x0, y0, width, height = box
    low = np.maximum([x0, y0], box_xyxy_px[:2])
    high = np.minimum([x0 + width, y0 + height], box_xyxy_px[2:])
    common = float(np.prod(np.clip(high - low, 0, None)))
    other = float(np.prod(box_xyxy_px[2:] - box_xyxy_px[:2]))
    return common / (width * height + other - common)


def _regions_over(box: ev.Box, person: Person) -> NDArray[np.uint8]:
    """(256, 256) regions of a predicted person on the grid over another box."""
    x0, y0 = np.floor(person.box_xyxy_px[:2])
    step = np.array(box[2:]) / ANNOTATION_GRID
    # Middles of the cells of the grid -> indices of pixels of the person's map.
    first = np.array(box[:2]) + 0.5 * step - (x0, y0) - 0.5
    affine = np.array([[step[0], 0, first[0]], [0, step[1], first[1]]])
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    side = int(ANNOTATION_GRID)
    region = COARSE_OF_PART.astype(np.uint8)[person.part]
    return cv2.warpAffine(region, affine, (side, side), flags=flags)
