"""Draw predictions and annotations on an image.

Images are (H, W, 3) uint8 RGB and are not changed; boxes and points are in px of the image.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from densepose.errors import InputError
from densepose.structures.body_parts import ANNOTATION_GRID
from densepose.structures.prediction import ImagePrediction

from .iuv_image import check_iuv, confidence_map, prediction_to_iuv
from .styles import PART_COLORS, find_style

PHOTO, GREY = "photo", "grey"
CONTOUR_LEVELS = 6
_OPACITY_ON_PHOTO = 0.75
_CONTOUR_BACKGROUND = 0.7
_BOX_COLOR = (255, 255, 255)


def draw(
    photo: np.ndarray | None,
    people: ImagePrediction | np.ndarray,
    *,
    style: str = "parts",
    background: str | None = None,
    opacity: float | None = None,
    boxes: bool = False,
    min_score: float = 0.0,
) -> np.ndarray:
    """Draw the people of an image in one of the styles of ``vis.styles.STYLES``.

    Where people overlap, the one with the higher score is seen.

    Args:
        photo: (H, W, 3) uint8 RGB, the image that ``people`` was predicted on. May be None when
            the background is a plain colour.
        people: prediction of the image, or an (H, W, 3) uint8 IUV image.
        style: a name of ``STYLES``: parts, u, v, charts, contour, iuv, confidence, dp_segm,
            hr-viton, magicanimate, vid2densepose, controlnet-parula, controlnet-viridis.
        background: what is seen where there is no body: "photo", "grey" (the photo without its
            colours), or a plain colour: "black", another CSS name, or "#rrggbb". The style's own
            if None.
        opacity: of the colours over the background, 0 to 1. The style's own if None.
        boxes: draw boxes and scores too; a prediction has them, an IUV image does not.
        min_score: people with a lower score are skipped.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: unknown style or background, another size, an opacity outside 0 to 1, no photo
            where one is needed, or a prediction without confidence for the style "confidence".
    """
    look = find_style(style)
    background = look.background if background is None else background
    plain = background not in (PHOTO, GREY)
    if opacity is None:
        opacity = (1.0 if plain else _OPACITY_ON_PHOTO) if look.opacity is None else look.opacity
    elif not 0 <= opacity <= 1:
        raise InputError(f"opacity must be from 0 to 1, got {opacity}")
    iuv = people
    if isinstance(people, ImagePrediction):
        iuv = prediction_to_iuv(people, min_score)
    check_iuv(iuv, "people")
    drawn = _background(photo, background, iuv.shape)
    shown, pixels = iuv[..., 0] > 0, iuv
    if style == "contour":
        shown, pixels = _contours(iuv)
        drawn = drawn if plain else (_CONTOUR_BACKGROUND * drawn).astype(np.uint8)
    at = np.flatnonzero(shown)
    body = pixels.reshape(-1, 3)[at]
    if style == "confidence":
        body = np.column_stack([body, confidence_map(people, min_score).ravel()[at]])
    colors, flat = look.colors(body), drawn.reshape(-1, 3)
    if opacity < 1:  # in double precision and cut off, as detectron2 mixes colours
        colors = (flat[at] * (1.0 - opacity) + colors * opacity).astype(np.uint8)
    flat[at] = colors
    return _with_boxes(drawn, people, min_score) if boxes else drawn


def _with_boxes(
    drawn: np.ndarray, people: ImagePrediction | np.ndarray, min_score: float
) -> np.ndarray:
    if not isinstance(people, ImagePrediction):
        return drawn
    kept = people.scores >= min_score
    titles = [f"{score:.2f}" for score in people.scores[kept]]
    return draw_boxes(drawn, people.boxes_xyxy_px[kept], titles)


def _background(photo: np.ndarray | None, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W, 3) uint8, a new array."""
    if photo is not None and photo.shape != shape:
        raise InputError(
            f"photo and people must have the same size, got {photo.shape} and {shape};"
            " draw on the photo that was predicted on"
        )
    if name not in (PHOTO, GREY):
        try:
            color = ImageColor.getrgb(name)[:3]
        except ValueError as error:
            raise InputError(
                f"background {name!r} is neither photo, grey nor a colour; colours are CSS names"
                " (black, white) or #rrggbb"
            ) from error
        return np.full(shape, color, np.uint8)
    if photo is None:
        raise InputError(f"background {name!r} needs the photo; give it, or a plain colour")
    if name == GREY:
        return cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return photo.copy()


def _contours(iuv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) where lines of equal U or V are, and (H, W, 3) with the line's value in channel 1."""
    part, values = iuv[..., 0], iuv.copy()
    shown = np.zeros(part.shape, bool)
    for channel in (1, 2):
        level = iuv[..., channel].astype(np.int64) * CONTOUR_LEVELS // 256
        line = _borders(part * np.int64(CONTOUR_LEVELS) + level) & (part > 0)
        values[line, 1] = iuv[line, channel]
        shown |= line
    return shown, values


def _borders(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels that differ from their neighbour on the right or below."""
    border = np.zeros(labels.shape, bool)
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    border[:-1] |= labels[:-1] != labels[1:]
    return border


def draw_boxes(
    image: np.ndarray, boxes_xyxy_px: np.ndarray, titles: Sequence[str] = ()
) -> np.ndarray:
    """White frames with dark edges; a title stands at the upper left corner inside."""
    drawn = image.copy()
    corners = np.round(np.asarray(boxes_xyxy_px)).astype(int)
    for color, thickness in (((0, 0, 0), 3), (_BOX_COLOR, 1)):
        for x0, y0, x1, y1 in corners.tolist():
            cv2.rectangle(drawn, (x0, y0), (x1 - 1, y1 - 1), color, thickness)
    for (x0, y0, _, _), title in zip(corners.tolist(), titles, strict=False):
        _put_label(drawn, title, max(x0, 0), max(y0, 0))
    return drawn


def _put_label(image: np.ndarray, text: str, x: int, y: int) -> None:
    """Write white on black with the upper left corner of the text at (x, y), in place."""
    left, top, right, bottom = font(12).getbbox(text)
    label = Image.new("RGB", (int(right - left) + 6, int(bottom - top) + 5))
    ImageDraw.Draw(label).text((3 - left, 2 - top), text, fill=_BOX_COLOR, font=font(12))
    target = image[y : y + label.height, x : x + label.width]
    target[:] = np.asarray(label)[: target.shape[0], : target.shape[1]]


@functools.lru_cache
def font(size_px: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font of all labels and titles."""
    try:
        return ImageFont.load_default(size_px)
    except TypeError:  # Pillow before 10.1 has one size only
        return ImageFont.load_default()


def draw_points(
    image: np.ndarray, points_px: np.ndarray, part: np.ndarray, radius_px: float = 2.5
) -> np.ndarray:
    """Discs in the colours of the parts with a dark rim.

    Args:
        image: (H, W, 3).
        points_px: (P, 2) x, y.
        part: (P,) 1..24.
        radius_px: of the discs.
    """
    drawn = image.copy()
    reach = int(np.ceil(radius_px + 1))
    offset = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), axis=-1).reshape(-1, 2)
    distance = np.linalg.norm(offset, axis=1)
    centre = np.floor(np.asarray(points_px)).astype(int).reshape(-1, 1, 2)
    for limit, colors in ((radius_px + 1, np.zeros_like(PART_COLORS)), (radius_px, PART_COLORS)):
        disc = offset[distance <= limit]
        pixel = (centre + disc).reshape(-1, 2)
        color = np.repeat(colors[np.asarray(part, np.int64)], len(disc), axis=0)
        inside = ((pixel >= 0) & (pixel < image.shape[1::-1])).all(axis=1)
        drawn[pixel[inside, 1], pixel[inside, 0]] = color[inside]
    return drawn


def draw_annotations(image: np.ndarray, people: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Annotated people: box, polygons lightened, points in the colours of their parts.

    Args:
        image: (H, W, 3).
        people: COCO annotations with ``bbox`` and, when present, ``segmentation`` polygons and
            ``dp_x``, ``dp_y``, ``dp_I``. Points on vertices of a mesh have no part and are skipped.
    """
    drawn = _lighten(image, people)
    boxes = np.array([person["bbox"] for person in people], np.float64).reshape(-1, 4)
    charted = [person if "dp_I" in person else {} for person in people]
    owner = np.repeat(np.arange(len(people)), [len(person.get("dp_x", ())) for person in charted])
    grid_x, grid_y, part = (
        np.concatenate([np.zeros(0), *(person.get(key, ()) for person in charted)])
        for key in ("dp_x", "dp_y", "dp_I")
    )
    grid = np.stack([grid_x, grid_y], axis=1) / ANNOTATION_GRID
    drawn = draw_boxes(drawn, np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))
    return draw_points(drawn, boxes[owner, :2] + grid * boxes[owner, 2:], part.astype(np.int64))


def _lighten(image: np.ndarray, people: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Lighten what the polygons of all people cover."""
    listed = [person.get("segmentation") or [] for person in people]
    polygons = [
        np.round(np.reshape(polygon, (-1, 2))).astype(np.int32)
        for segmentation in listed
        if isinstance(segmentation, list)
        for polygon in segmentation
    ]
    body = np.zeros(image.shape[:2], np.uint8)
    # One call each: cv2.fillPoly with all of them at once leaves holes where they overlap.
    for polygon in polygons:
        cv2.fillPoly(body, [polygon], 1)
    lightened = (image.astype(np.float32) + 255) / 2
    return np.where((body > 0)[..., None], lightened, image).astype(np.uint8)
