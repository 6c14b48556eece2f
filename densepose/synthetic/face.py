"""Paint a head: skin tones, mouth, beard, eyes, glasses, hair and hat.

The drawing is made relative to the landmarks of the template (eyes, nose, ears), in metres.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .anatomy import BodyPoints
from .head import Head, hair_depth, hat_region
from .noise import fractal_noise
from .paint import Paint, ellipse
from .patterns import to_linear


def paint_head(
    paint: Paint, head: Head, points: BodyPoints, landmark: Mapping[str, np.ndarray]
) -> None:
    """Face, hair and hat onto the points of the head (and long hair onto the back)."""
    _paint_face(paint, head, points, landmark)
    depth = hair_depth(head, points, landmark)
    covered = (depth > 0) & (points.on("head") | (head.cut == "long"))
    if head.cut in ("bob", "long"):
        covered &= points.on("head") | points.on("back")
    if covered.any():
        _paint_hair(paint, head, points, covered, landmark)
    hat = hat_region(head, points, landmark)
    if hat.any():
        paint.put(hat, head.hat_color, gloss=0.5 if head.hat == "helmet" else 0.05, fold=0.1)
        eye = landmark["l_eye"]
        # Badge on the front, seam over the top, strap at the back.
        y, z = points.y - eye[1], points.z - eye[2]
        other = 1 - head.hat_color
        paint.put(hat & (ellipse(points.x, y, (0, 0.075), (0.02, 0.014)) < 1) & (z > -0.06), other)
        paint.put(hat & (y < 0.03) & (z < -0.13) & (np.abs(points.x) < 0.03), head.hat_color * 0.35)


def _paint_hair(
    paint: Paint,
    head: Head,
    points: BodyPoints,
    covered: np.ndarray,
    landmark: Mapping[str, np.ndarray],
) -> None:
    at = points.rest[covered]
    # Strands: noise stretched from the crown downwards.
    crown = landmark["head"] + np.array([0.0, 0.13, -0.03])
    away = at - crown
    angle = np.arctan2(away[:, 0], away[:, 2])
    strand = np.stack([angle * 9.0, away[:, 1] * 6.0, np.hypot(away[:, 0], away[:, 2]) * 6], axis=1)
    tone = 1 + 0.28 * fractal_noise(strand.astype(np.float32), 2)
    color = head.hair * tone[:, None]
    if head.cut == "buzz" or head.cut == "bald":
        color = 0.6 * color + 0.4 * head.skin * 0.7
    if head.parting:
        line = np.abs(at[:, 0] - head.parting) < 0.003
        color[line & (away[:, 2] > -0.02)] = head.skin * 0.7
    paint.put(covered, np.clip(color, 0, 1), gloss=0.25, fold=0.35)


def _paint_face(
    paint: Paint, head: Head, points: BodyPoints, landmark: Mapping[str, np.ndarray]
) -> None:
    index = np.flatnonzero(points.on("head"))
    if len(index) == 0:
        return
    eye, nose = landmark["l_eye"], landmark["nose"]
    at = points[index]
    side, x, y = np.abs(at.x), at.x, at.y - eye[1]
    front = at.z > eye[2] - 0.05
    layer = Paint(len(index))
    layer.color[:] = paint.color[index]
    _paint_skin_tones(layer, head, side, y, front)
    mouth = (0.0, -0.0715)
    _paint_mouth(layer, head, x, y, front, mouth)
    _paint_beard(layer, head, at, y, front, mouth)
    nostril = ellipse(side, y, (0.0085, nose[1] - eye[1] - 0.0165), (0.0045, 0.0028)) < 1
    layer.put(nostril & front, head.skin * 0.18)
    _paint_eyes(layer, head, side, x, y, front, eye)
    paint.color[index] = layer.color


def _paint_skin_tones(
    layer: Paint, head: Head, side: np.ndarray, y: np.ndarray, front: np.ndarray
) -> None:
    warm = head.skin * np.array([1.05, 0.78, 0.76], np.float32)
    cheek = np.clip(1 - ellipse(side, y, (0.042, -0.035), (0.02, 0.017)), 0, 1)
    layer.tint(cheek * front * (0.5 + 0.4 * head.makeup), warm)
    tip = np.clip(1 - ellipse(side, y, (0.0, -0.038), (0.017, 0.014)), 0, 1)
    layer.tint(tip * front * 0.6, warm)
    socket = np.clip(1 - ellipse(side, y, (0.030, 0.003), (0.023, 0.016)), 0, 1)
    layer.tint(socket * front * 0.75, head.skin * 0.55)
    flank = np.clip(1 - ellipse(side, y, (0.0145, -0.028), (0.006, 0.03)), 0, 1)
    layer.tint(flank * front * 0.55, head.skin * 0.6)
    chin = np.clip(1 - ellipse(side, y, (0.0, -0.089), (0.018, 0.005)), 0, 1)
    layer.tint(chin * front * 0.5, head.skin * 0.6)


def _paint_mouth(
    layer: Paint,
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    front: np.ndarray,
    mouth: tuple[float, float],
) -> None:
    color = head.lips
    if head.makeup > 0:
        color = color + head.makeup * (to_linear(np.array([0.75, 0.12, 0.2])) - color)
    lips = ellipse(x, y, mouth, (0.026, 0.0095 + 0.006 * head.mouth_open)) < 1
    layer.put(front & lips, color, gloss=0.4)
    gap = ellipse(x, y, mouth, (0.024, 0.0018 + 0.0065 * head.mouth_open)) < 1
    layer.put(front & gap, to_linear(np.array([0.25, 0.08, 0.08])))
    if head.mouth_open > 0.3:
        teeth = gap & (y > mouth[1] - 0.001) & (np.abs(x) < 0.018)
        layer.put(front & teeth, to_linear(np.array([0.92, 0.9, 0.85])))


def _paint_beard(
    layer: Paint,
    head: Head,
    at: BodyPoints,
    y: np.ndarray,
    front: np.ndarray,
    mouth: tuple[float, float],
) -> None:
    lips = ellipse(at.x, y, mouth, (0.027, 0.011)) < 1
    rough = 0.006 * fractal_noise(at.rest * 90.0)
    if head.beard > 0:
        line = np.interp(
            np.abs(at.x), [0, 0.02, 0.035, 0.06, 0.075], [-0.082, -0.075, -0.06, -0.035, 0.0]
        )
        below = (y + rough < line) & (y > -0.135) & (at.z > 0.055)
        layer.tint((below & ~lips) * head.beard, head.hair * 0.8)
    if head.moustache > 0:
        upper = ellipse(at.x, y, (0.0, mouth[1] + 0.0145), (0.026, 0.0065)) < 1
        layer.tint((upper & front) * head.moustache, head.hair * 0.8)


def _paint_eyes(
    layer: Paint,
    head: Head,
    side: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    front: np.ndarray,
    eye: np.ndarray,
) -> None:
    centre = (float(eye[0]), -0.003)
    arch = 0.0175 + 0.10 * np.clip(0.035 - side, -0.02, 0.02) * -0.5
    brow = (np.abs(y - arch) < 0.0042) & (side > 0.012) & (side < 0.052)
    layer.put(front & brow, head.brows)
    opening = (0.0155, 0.0072 * head.eyes_open)
    white = ellipse(side, y, centre, opening) < 1
    rim = ellipse(side, y, centre, (0.0175, 0.0088 * head.eyes_open + 0.001)) < 1
    lid = rim & ~white & (y > centre[1] - 0.002)
    dark = to_linear(np.array([0.08, 0.05, 0.05]))
    layer.put(front & lid, dark * (0.4 if head.makeup else 1.0))
    layer.put(front & white, to_linear(np.array([0.90, 0.89, 0.87])), gloss=0.5)
    iris = white & (ellipse(side, y, centre, (0.0068, 0.0068)) < 1)
    layer.put(front & iris, head.iris)
    layer.put(front & white & (ellipse(side, y, centre, (0.0033, 0.0033)) < 1), dark * 0.3)
    if head.glasses:
        lens = ellipse(side, y, centre, (0.0235, 0.018))
        frame = (lens < 1.25) & (lens > 0.85)
        bridge = (side < 0.010) & (np.abs(y - 0.002) < 0.0025)
        temple = (side > 0.05) & (np.abs(y - 0.004) < 0.0028)
        if head.glasses == 2:
            layer.put(front & (lens < 1), dark * 0.5, gloss=0.9)
        layer.put((front & (frame | bridge)) | temple, dark)
