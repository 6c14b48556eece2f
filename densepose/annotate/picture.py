"""Annotations as pictures: the layer of regions on the page, and an instance to keep."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from .instance import Instance
from .regions import cells_per_px

_MOST_REGIONS = 24
_LAYER_ALPHA = 115
_MARGIN = 0.08
_SIDE_PX = 900  # longer side of a picture of an instance, at least


def _colors() -> NDArray[np.uint8]:
    """(24, 3) RGB, neighbours far apart on the circle of hues."""
    golden = 0.618034
    hsv = [(k * golden % 1, 0.62 if k % 2 else 0.85, 0.95) for k in range(_MOST_REGIONS)]
    return np.array([[round(255 * c) for c in colorsys.hsv_to_rgb(*one)] for one in hsv], np.uint8)


REGION_COLORS = _colors()
# Blue, green, red, alpha by region; 0 is transparent.
_LAYER = np.zeros((_MOST_REGIONS + 1, 4), np.uint8)
_LAYER[1:, :3], _LAYER[1:, 3] = REGION_COLORS[:, ::-1], _LAYER_ALPHA


def regions_png(canvas: NDArray[np.uint8]) -> bytes:
    """A canvas as a transparent PNG of its size."""
    return cv2.imencode(".png", _LAYER[canvas])[1].tobytes()


def draw_instance(photo: NDArray[np.uint8], instance: Instance) -> bytes:
    """The box of an instance with its regions and points, PNG.

    A point that has been placed is filled, one without a place on the surface is a ring.
    """
    x, y, width, height = instance.box
    margin = _MARGIN * max(width, height)
    low = np.maximum(np.floor([x - margin, y - margin]), 0).astype(int)
    high = np.ceil([x + width + margin, y + height + margin]).astype(int)
    crop = photo[low[1] : high[1], low[0] : high[0], ::-1]
    factor = max(1.0, _SIDE_PX / max(crop.shape[:2]))
    drawn = cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    # The layer of the canvas, at the places of the pixels of the picture.
    step = cells_per_px(instance.box) / factor
    first = [(low[k] - instance.box[k]) * factor * step + 0.5 * step - 0.5 for k in (0, 1)]
    affine = np.array([[step, 0, first[0]], [0, step, first[1]]])
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    region = cv2.warpAffine(instance.canvas(), affine, drawn.shape[1::-1], flags=flags)
    layer = _LAYER[region].astype(np.float32)
    alpha = layer[..., 3:] / 255
    drawn = np.rint(drawn * (1 - alpha) + layer[..., :3] * alpha).astype(np.uint8)
    for point in instance.points.values():
        centre = np.rint((np.array([point.x, point.y]) - low) * factor).astype(int).tolist()
        is_placed = point.answer is not None and point.answer.kind == "placed"
        color = REGION_COLORS[point.region - 1, ::-1].tolist()
        if is_placed:
            cv2.circle(drawn, centre, 6, color, -1)
        cv2.circle(drawn, centre, 6, (0, 0, 0), 1, cv2.LINE_AA)
    return cv2.imencode(".png", drawn)[1].tobytes()
