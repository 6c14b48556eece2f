"""The regions that annotators delineate, as DensePose-COCO stores them, and the points in them.

Protocol of the paper: 14 visible regions, each sampled with roughly equidistant points by k-means,
at most 14 a region, fewer on small ones. Region masks lie on the 256-step grid over the box.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from .body_parts import NUM_REGIONS

MAX_POINTS_PER_REGION = 14
# Points of a region: this times the square root of its visible pixels, 14 from about 350 px.
POINTS_PER_SQRT_AREA = 0.75
_KMEANS_ROUNDS = 8
_KMEANS_PIXELS = 500


def num_points_of_region(area_px: int, most: int = MAX_POINTS_PER_REGION) -> int:
    """How many points a region of ``area_px`` visible pixels gets: 0 for none, else 1 to ``most``.

    Large regions get ``most``, smaller ones fewer in the same ratio.
    """
    if area_px <= 0:
        return 0
    density = POINTS_PER_SQRT_AREA * most / MAX_POINTS_PER_REGION
    return int(np.clip(round(density * np.sqrt(area_px)), 1, most))


def spread_points(pixels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Choose ``count`` roughly equidistant pixels by k-means.

    Args:
        pixels: (P, 2) positions, P >= 1.
        count: number of clusters, at most P.
        rng: draws the first centres, and a subset of large regions.

    Returns:
        (K,) indices into ``pixels``, distinct, K <= count (two clusters may share their nearest
        pixel).
    """
    used = pixels
    if len(pixels) > _KMEANS_PIXELS:
        used = pixels[rng.permutation(len(pixels))[:_KMEANS_PIXELS]]
    used = used.astype(np.float32)
    first = used[rng.permutation(len(used))[:count]]
    if count == 1:
        centres = used.mean(axis=0, keepdims=True)
    else:
        label = _squared_distance(used, first).argmin(axis=1).astype(np.int32)
        stop = (cv2.TERM_CRITERIA_MAX_ITER, _KMEANS_ROUNDS, 0)
        # The labels start it, so nothing depends on OpenCV's own random numbers.
        start = cv2.KMEANS_USE_INITIAL_LABELS
        _, _, centres = cv2.kmeans(used, count, label[:, None], stop, 1, start)
    return np.unique(_squared_distance(pixels.astype(np.float32), centres).argmin(axis=0))


def _squared_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a**2).sum(axis=1)[:, None] - 2 * (a @ b.T) + (b**2).sum(axis=1)


def encode_masks(masks: np.ndarray) -> list[dict[str, Any]]:
    """(H, W, N) masks -> N RLEs, ready for JSON."""
    return [
        {"counts": run["counts"].decode("ascii"), "size": [int(side) for side in run["size"]]}
        for run in coco_mask.encode(np.asfortranarray(masks, np.uint8))
    ]


def encode_regions(grid: np.ndarray) -> list[Any]:
    """(256, 256) region numbers -> dp_masks: 14 RLEs, [] for a region that is not seen."""
    present = np.flatnonzero(np.bincount(grid.reshape(-1), minlength=NUM_REGIONS + 1)[1:]) + 1
    masks: list[Any] = [[] for _ in range(NUM_REGIONS)]
    encoded = encode_masks(grid[..., None] == present.astype(np.uint8))
    for number, run in zip(present, encoded, strict=True):
        masks[number - 1] = run
    return masks
