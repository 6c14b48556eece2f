"""Predictions made of plain values."""

from __future__ import annotations

import numpy as np

from densepose.structures.prediction import ImagePrediction


def prediction(*people: tuple[tuple[float, ...], float, int], size: tuple[int, int] = (20, 30)):
    """People as (box, score, part); U and V are 10 and 20 times the part's number."""
    boxes = np.array([box for box, _, _ in people], np.float32).reshape(-1, 4)
    shapes = [
        (max(1, int(np.floor(y1 - y0))), max(1, int(np.floor(x1 - x0)))) for x0, y0, x1, y1 in boxes
    ]
    labels = tuple(np.full(s, p[2], np.uint8) for s, p in zip(shapes, people, strict=True))
    uv = tuple(np.stack([10 * label, 20 * label]) for label in labels)
    scores = np.array([score for _, score, _ in people], np.float32)
    return ImagePrediction(1, size, boxes, scores, labels, uv)
