"""Annotations as pictures: the layer of regions on the page, and an instance to keep."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from densepose.structures.body_parts import NUM_PARTS

from .body import Body
from .instance import Instance
from .regions import cells_per_px
from .views import VIEW_PX, RegionViews

_MOST_REGIONS = 24
_LAYER_ALPHA = 115
_MARGIN = 0.08
_SIDE_PX = 900  # longer side of a picture of an instance, at least
_MOST_CM = 7.0  # end of the colour scale of errors, as in Fig. 5 of the paper
_NOT_MEASURED = 190  # grey


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


def draw_errors(body: Body, mean_cm: Mapping[int, float]) -> bytes:
    """The body from the front and from behind in the colours of errors, PNG (the paper's Fig. 5).

    Args:
        body: the surface.
        mean_cm: error by part; other parts are grey.
    """
    scale = np.arange(256, dtype=np.uint8)[:, None]
    palette = cv2.applyColorMap(scale, cv2.COLORMAP_VIRIDIS)[:, 0]
    colors = np.full((NUM_PARTS + 1, 3), float(_NOT_MEASURED))
    for part, cm in mean_cm.items():
        colors[part] = palette[round(255 * min(cm / _MOST_CM, 1))]
    whole = replace(body, region_of_part=np.minimum(body.region_of_part, 1))
    views = RegionViews(whole, 1, colors)
    drawn = []
    for view in (views.direction[:, 2].argmax(), views.direction[:, 2].argmin()):
        data = np.frombuffer(views.picture(int(view)), np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        drawn.append(np.where(pixels[..., 3:] > 0, pixels[..., :3], 255).astype(np.uint8))
    bar = np.full((VIEW_PX, 90, 3), 255, np.uint8)
    rows = np.linspace(255, 0, VIEW_PX - 60).astype(int)
    bar[30:-30, 10:30] = palette[rows][:, None]
    for text, row in ((f"{_MOST_CM:g} cm", 42), ("0 cm", VIEW_PX - 30)):
        cv2.putText(bar, text, (36, row), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return cv2.imencode(".png", np.hstack([*drawn, bar]))[1].tobytes()
