"""Paint a garment of the upper body: its cloth, edges, front and back.

Lengths in metres on the resting mean body.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .anatomy import BodyPoints
from .noise import fractal_noise
from .paint import Paint, ellipse
from .patterns import to_linear
from .tops import Top, neckline_height, top_region


def paint_top(
    paint: Paint, top: Top, points: BodyPoints, landmark: Mapping[str, np.ndarray]
) -> None:
    """The garment with everything on it."""
    region = top_region(top, points, landmark)
    if not region.any():
        return
    paint.put(region, top.pattern.paint(points.rest[region]), gloss=0.04, fold=top.fold)
    arm = points.on("arm")
    if top.sleeve_color is not None:
        paint.put(region & arm, top.sleeve_color)
    front = region & points.on("torso") & ~points.on("back")
    back = region & points.on("torso") & points.on("back")
    _paint_edges(paint, top, points, region, landmark)
    _paint_front(paint, top, points, front, landmark)
    _paint_back(paint, top, points, back, landmark)


def _paint_edges(
    paint: Paint,
    top: Top,
    points: BodyPoints,
    region: np.ndarray,
    landmark: Mapping[str, np.ndarray],
) -> None:
    height = neckline_height(top, points, landmark)
    torso = region & points.on("torso")
    if top.collar:
        collar = torso & (
            height > -0.035 - 0.25 * np.clip(0.06 - np.abs(points.x), 0, 0.06) * (points.z > 0)
        )
        paint.put(collar, top.trim if top.kind != "jacket" else top.pattern.colors[0] * 0.7)
        paint.shade(torso & (np.abs(height + 0.04) < 0.006), 0.6)
    else:
        paint.put(torso & (height > -0.014), top.trim)
    if top.kind in ("sweater", "hoodie", "jersey") or top.trim.sum() > 0.3:
        paint.shade(region & points.on("arm") & (points.arm > top.sleeve - 0.09), 0.72)
        paint.shade(torso & (points.y < top.hem_y + 0.035), 0.75)
    # The seam between sleeve and body.
    paint.shade(region & points.on("arm") & (np.abs(points.arm - 0.03) < 0.02), 0.75)
    elbow = region & points.on("back") & points.on("arm") & (np.abs(points.arm - 1.0) < 0.14)
    paint.shade(elbow, 0.85)


def _paint_front(
    paint: Paint,
    top: Top,
    points: BodyPoints,
    front: np.ndarray,
    landmark: Mapping[str, np.ndarray],
) -> None:
    x, y = points.x, points.y
    chest = landmark["chest"][1]
    if top.closure in ("buttons", "placket", "zip"):
        low = chest + 0.08 if top.closure == "placket" else 0.0
        strip = front & (np.abs(x) < 0.016) & (y > low)
        paint.shade(strip, 0.82 if top.closure != "zip" else 1.0)
        if top.closure == "zip":
            paint.put(front & (np.abs(x) < 0.007), top.trim, gloss=0.5)
        else:
            phase = np.mod(y, 0.085) - 0.04
            paint.put(strip & (x**2 + phase**2 < 0.0085**2), top.trim, gloss=0.4)
    if top.chest_pocket:
        # On the wearer's left, as in life.
        inside = ellipse(x, y, (0.085, chest + 0.115), (0.045, 0.05))
        square = (np.abs(x - 0.085) < 0.042) & (np.abs(y - chest - 0.115) < 0.05)
        edge = square & ((np.abs(x - 0.085) > 0.036) | (y > chest + 0.152))
        paint.shade(front & edge, 0.6)
        paint.shade(front & square & (inside < 1), 0.95)
    if top.kind in ("hoodie", "jacket", "vest"):
        slant = np.abs(x) - 0.06 - 0.45 * (1.06 - y)
        pocket = (np.abs(slant) < 0.007) & (y > 0.93) & (y < 1.06)
        paint.shade(front & pocket, 0.45)
    if top.kind == "hoodie":
        cord = (np.abs(np.abs(x) - 0.03) < 0.005) & (y > chest + 0.08)
        paint.put(front & cord, top.trim)
    if top.tie is not None:
        width = 0.012 + 0.07 * np.clip(landmark["neck"][1] - y, 0, 0.4) / 1.2
        paint.put(front & (np.abs(x) < width) & (y > 1.0), top.tie, gloss=0.2)
    if top.opening > 0:
        half = top.opening + 0.25 * np.clip(chest - y, 0, 0.4) * top.opening / 0.05
        lapel = 0.02 + 0.10 * np.clip(y - chest - 0.02, 0, 0.3)
        paint.shade(front & (np.abs(x) < half + lapel), 0.78)
        paint.put(front & (np.abs(x) < half + 0.007), top.trim)
    _paint_print(paint, top, x, y - chest - 0.1, front, 1.0)


def _paint_back(
    paint: Paint, top: Top, points: BodyPoints, back: np.ndarray, landmark: Mapping[str, np.ndarray]
) -> None:
    x, y = points.x, points.y
    neck = landmark["neck"][1]
    if top.kind in ("shirt", "jacket", "polo"):
        # A yoke with its seam, a pleat below it.
        paint.shade(back & (np.abs(y - neck + 0.11) < 0.006), 0.6)
        paint.shade(back & (np.abs(x) < 0.006) & (y < neck - 0.11), 0.75)
    if top.hood:
        fallen = back & (ellipse(x, y, (0.0, neck - 0.05), (0.12, 0.12)) < 1)
        paint.shade(fallen, 0.72)
        paint.put(fallen & (ellipse(x, y, (0.0, neck - 0.03), (0.07, 0.07)) < 1), top.trim * 0.6)
    if top.kind in ("tee", "dress", "blouse"):
        paint.put(
            back & (np.abs(x) < 0.012) & (np.abs(y - neck + 0.02) < 0.01),
            to_linear(np.full(3, 0.9)),
        )
    if top.kind == "dress":
        paint.shade(back & (np.abs(x) < 0.005) & (y > 0.95), 0.5)
    if top.back_print:
        _paint_print(paint, top, x, y - neck + 0.16, back, 1.35, mirrored=True)


def _paint_print(
    paint: Paint,
    top: Top,
    x: np.ndarray,
    y: np.ndarray,
    where: np.ndarray,
    size: float,
    *,
    mirrored: bool = False,
) -> None:
    """A picture, a badge, lines of text or a number, readable from outside."""
    if top.print_kind == "none" and not mirrored:
        return
    right = (x if not mirrored else -x) / size  # towards the right of a reader
    up = y / size
    kind = top.print_kind if top.print_kind != "none" else "text"
    if kind == "circle":
        distance = ellipse(right, up, (0.0, 0.0), (0.07, 0.07))
        paint.put(where & (distance < 1), top.print_color)
        paint.put(where & (distance < 0.35), top.trim)
    elif kind == "block":
        inside = (np.abs(right) < 0.085) & (np.abs(up) < 0.09)
        paint.put(where & inside, top.print_color)
        blot = (
            fractal_noise(np.stack([right * 18, up * 18, np.full_like(up, top.neck_width * 90)], 1))
            > 0.3
        )
        paint.put(where & inside & blot, top.trim)
    elif kind == "text":
        line, within = np.floor(up / 0.032), np.mod(up, 0.032)
        letter = np.floor(right / 0.014)
        on = np.mod(np.sin(letter * 12.99 + line * 78.2) * 43758.5, 1.0) > 0.25
        inside = (np.abs(right) < 0.095) & (np.abs(up) < 0.05) & (within < 0.022) & on
        paint.put(where & inside & (np.mod(right, 0.014) < 0.010), top.print_color)
    else:
        ring = ellipse(right, up, (-0.045, 0.0), (0.038, 0.075))
        paint.put(where & (ring < 1) & (ring > 0.35), top.print_color)
        stroke = (np.abs(right - 0.045) < 0.013) & (np.abs(up) < 0.075)
        paint.put(where & stroke, top.print_color)
