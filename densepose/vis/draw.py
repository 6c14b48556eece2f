"""Draw predictions and truth on an image.

Images are (H, W, 3) uint8 RGB and are not changed; boxes and points are in px of the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from densepose.structures.body_parts import ANNOTATION_GRID
from densepose.structures.prediction import ImagePrediction

from .colors import PART_COLORS, chart_colors, part_colors, value_colors
from .iuv_image import check_iuv, prediction_to_iuv
from .layout import put_label

MODES = ("parts", "charts", "u", "v", "contours")
CONTOUR_LEVELS = 6
_BOX_COLOR = (255, 255, 255)


def draw_iuv(
    image: np.ndarray, iuv: np.ndarray, *, mode: str = "parts", opacity: float = 0.75
) -> np.ndarray:
    """Lay an IUV image over a photo.

    Args:
        image: (H, W, 3).
        iuv: (H, W, 3) uint8 in the order I, U, V.
        mode: "parts" (one colour each), "charts" (shaded by U and V), "u", "v" (from dark blue to
            yellow) or "contours" (lines of equal U and of equal V on the photo).
        opacity: of the colours, 0..1.

    Returns:
        (H, W, 3).

    Raises:
        ValueError: an unknown mode, or sizes that differ.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    check_iuv(iuv, "iuv")
    if image.shape != iuv.shape:
        raise ValueError(f"image {image.shape} and iuv {iuv.shape} must have the same size")
    if mode == "contours":
        return _draw_contours(image, iuv)
    part = iuv[..., 0]
    if mode == "parts":
        colors = part_colors(part)
    elif mode == "charts":
        colors = chart_colors(part, iuv[..., 1:])
    else:
        colors = value_colors(iuv[..., 1 if mode == "u" else 2])
    blended = (1 - opacity) * image.astype(np.float32) + opacity * colors
    return np.where((part > 0)[..., None], blended, image).astype(np.uint8)


def _draw_contours(image: np.ndarray, iuv: np.ndarray) -> np.ndarray:
    """Lines of equal U and V, coloured by their value, on a darkened photo."""
    drawn = (0.7 * image).astype(np.uint8)
    part = iuv[..., 0]
    for values in (iuv[..., 1], iuv[..., 2]):
        level = values.astype(np.int64) * CONTOUR_LEVELS // 256
        line = _borders(part * np.int64(CONTOUR_LEVELS) + level) & (part > 0)
        drawn[line] = value_colors(values)[line]
    return drawn


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
        put_label(drawn, title, (max(x0, 0), max(y0, 0)))
    return drawn


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


def draw_prediction(
    image: np.ndarray,
    prediction: ImagePrediction,
    *,
    mode: str = "parts",
    opacity: float = 0.75,
    boxes: bool = True,
    min_score: float = 0.0,
) -> np.ndarray:
    """The people found in an image.

    Args:
        image: (H, W, 3), of the size the prediction was made for.
        prediction: people of this image.
        mode: as for ``draw_iuv``.
        opacity: as for ``draw_iuv``.
        boxes: draw boxes and scores too.
        min_score: people below are left out.
    """
    drawn = draw_iuv(image, prediction_to_iuv(prediction, min_score), mode=mode, opacity=opacity)
    if boxes:
        shown = prediction.scores >= min_score
        titles = [f"{score:.2f}" for score in prediction.scores[shown]]
        drawn = draw_boxes(drawn, prediction.boxes_xyxy_px[shown], titles)
    return drawn


def draw_truth(
    image: np.ndarray,
    truth: np.ndarray | Sequence[Mapping[str, Any]],
    *,
    mode: str = "parts",
    opacity: float = 0.75,
) -> np.ndarray:
    """What is known of an image: a dense IUV image, or the annotations of its people.

    Args:
        image: (H, W, 3).
        truth: (H, W, 3) IUV image, or COCO annotations with ``bbox`` and, when present,
            ``segmentation`` polygons and ``dp_x``, ``dp_y``, ``dp_I``.
        mode: as for ``draw_iuv``, for an IUV image.
        opacity: as for ``draw_iuv``, for an IUV image.
    """
    if isinstance(truth, np.ndarray):
        return draw_iuv(image, truth, mode=mode, opacity=opacity)
    drawn = _fill_people(image, truth)
    boxes = np.array([person["bbox"] for person in truth], np.float64).reshape(-1, 4)
    # Points on vertices of a mesh have no part whose colour they could get.
    charted = [person if "dp_I" in person else {} for person in truth]
    count = [len(person.get("dp_x", ())) for person in charted]
    owner = np.repeat(np.arange(len(truth)), count)
    grid_x, grid_y, part = (
        np.concatenate([np.zeros(0), *(person.get(key, ()) for person in charted)])
        for key in ("dp_x", "dp_y", "dp_I")
    )
    grid = np.stack([grid_x, grid_y], axis=1) / ANNOTATION_GRID
    boxes_xyxy = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    drawn = draw_boxes(drawn, boxes_xyxy)
    return draw_points(drawn, boxes[owner, :2] + grid * boxes[owner, 2:], part.astype(np.int64))


def _fill_people(image: np.ndarray, people: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Lighten the polygons of all people."""
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
