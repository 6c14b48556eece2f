"""The table of styles: which colour a body pixel gets, and what lies behind the people.

A style sees P body pixels as (P, 3) uint8: part 1..24, U and V in steps of 1 / 255. The style
"confidence" sees a fourth channel, the confidence in steps of 1 / 255. A style returns (P, 3) uint8
RGB. ``STYLES`` at the end is the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from densepose.errors import InputError
from densepose.files import did_you_mean
from densepose.structures.body_parts import NUM_PARTS

# RGB of each part; 0 is the background. The two sides of the body share a hue in OKLCH (Ottosson
# 2020), the person's left is the lighter one. Neighbours on the body have hues that are far apart.
PART_COLORS = np.array(
    [
        (0, 0, 0),
        (209, 124, 196),
        (227, 118, 155),
        (40, 126, 201),
        (120, 202, 255),
        (255, 170, 101),
        (183, 96, 9),
        (0, 139, 180),
        (54, 216, 255),
        (127, 129, 0),
        (201, 204, 87),
        (103, 112, 204),
        (173, 187, 255),
        (141, 98, 188),
        (217, 172, 255),
        (149, 218, 127),
        (76, 141, 53),
        (86, 225, 175),
        (0, 147, 103),
        (240, 187, 75),
        (162, 112, 0),
        (2, 224, 222),
        (0, 146, 146),
        (191, 84, 74),
        (255, 159, 145),
    ],
    np.uint8,
)
PART_COLORS.flags.writeable = False


def _color_map(number: int) -> np.ndarray:
    """(256, 3) RGB of one of OpenCV's colour maps."""
    return cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], number)[:, 0, ::-1].copy()


VIRIDIS, PARULA = _color_map(cv2.COLORMAP_VIRIDIS), _color_map(cv2.COLORMAP_PARULA)
# detectron2 scales a part to a place of the colour map by 255 / 24 and cuts off the fraction.
PART_STEPS = np.arange(NUM_PARTS + 1) * 255 // NUM_PARTS

_U, _V, _CONFIDENCE = 1, 2, 3


def _parts(table: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: table[pixels[:, 0]]


def _values(channel: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: VIRIDIS[pixels[:, channel]]


def _charts(pixels: np.ndarray) -> np.ndarray:
    """The colour of the part, up to 60 % whiter with U and up to 65 % darker with V."""
    u, v = (pixels[:, channel, None].astype(np.float32) / 255 for channel in (_U, _V))
    base = PART_COLORS[pixels[:, 0]].astype(np.float32)
    return ((base + (255 - base) * 0.6 * u) * (1 - 0.65 * v)).astype(np.uint8)


@dataclass(frozen=True)
class Style:
    """How people are drawn."""

    about: str
    colors: Callable[[np.ndarray], np.ndarray]  # (P, 3 or 4) uint8 body pixels -> (P, 3) uint8
    background: str = "photo"  # see ``draw``
    opacity: float | None = None  # of the colours; None: 0.75 on the photo, 1 on a plain colour


# MagicAnimate's own videos have these colours undiluted; vid2densepose mixes in 30 % of the
# background. The forms that ControlNet's preprocessors write are its "viridis" and "parula".
STYLES = {
    "parts": Style("one colour a part, see PART_COLORS", _parts(PART_COLORS)),
    "u": Style("U through viridis", _values(_U)),
    "v": Style("V through viridis", _values(_V)),
    "charts": Style("the colour of the part, whiter with U, darker with V", _charts),
    "contour": Style("lines of equal U and V through viridis", _values(_U), opacity=1.0),
    "iuv": Style("part, U x 255, V x 255 as R, G, B", lambda p: p[:, :3], "black", 1.0),
    "confidence": Style("probability of the part through viridis", _values(_CONFIDENCE)),
    "dp_segm": Style(
        "detectron2's dp_segm: part x 255 / 24 through parula, 70 %, on the grey photo",
        _parts(PARULA[PART_STEPS]),
        "grey",
        0.7,
    ),
    "hr-viton": Style(
        "HR-VITON, IDM-VTON: part x 255 / 24 through parula, on black",
        _parts(PARULA[PART_STEPS]),
        "black",
        1.0,
    ),
    "magicanimate": Style(
        "MagicAnimate: part x 255 / 24 through viridis, on its lowest colour #440154",
        _parts(VIRIDIS[PART_STEPS]),
        "#440154",
        1.0,
    ),
    "vid2densepose": Style(
        "vid2densepose: as magicanimate, colours of 70 %",
        _parts(VIRIDIS[PART_STEPS]),
        "#440154",
        0.7,
    ),
    "controlnet-parula": Style(
        "ControlNet, parula: as hr-viton", _parts(PARULA[PART_STEPS]), "black", 1.0
    ),
    "controlnet-viridis": Style(
        "ControlNet, viridis: as magicanimate", _parts(VIRIDIS[PART_STEPS]), "#440154", 1.0
    ),
}


def find_style(name: str) -> Style:
    """The style of this name.

    Raises:
        InputError: there is none.
    """
    if name not in STYLES:
        known = ", ".join(STYLES)
        raise InputError(f"no style {name!r}{did_you_mean(name, STYLES)}; there are {known}")
    return STYLES[name]
