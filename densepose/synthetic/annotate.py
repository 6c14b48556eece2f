"""Annotate people as DensePose-COCO does: part masks on the box grid, points, keypoints.

Protocol of the paper: the visible regions (head, torso, upper and lower limbs, hands, feet; 14) are
delineated, each is sampled with roughly equidistant points by k-means, at most 14 a region, fewer
on small ones, and each point is placed on the surface. Frames as in ``structures.annotations``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from densepose.structures.annotated_regions import (
    encode_masks,
    encode_regions,
    num_points_of_region,
    spread_points,
)
from densepose.structures.body_parts import (
    ANNOTATION_GRID,
    COARSE_OF_PART,
    KEYPOINT_NAMES,
)

from .truth import Truth

# People smaller than this get box, mask and keypoints but no points, as in DensePose-COCO.
MIN_AREA_FOR_POINTS_PX = 400

# fmt: off
_SKELETON = [
    [16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9],
    [8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7],
]
# fmt: on
CATEGORIES = [
    {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(KEYPOINT_NAMES),
        "skeleton": _SKELETON,
    }
]

# (part (P,), uv (P, 2), rng) -> (part, uv) as an imperfect annotator would place them.
PointNoise = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def _grid_regions(region: np.ndarray, box_xywh_px: np.ndarray) -> np.ndarray:
    """(H, W) region numbers of a person -> (256, 256) at the cell centres of the grid."""
    steps = int(ANNOTATION_GRID)
    middle = (np.arange(steps) + 0.5) / ANNOTATION_GRID
    columns = (box_xywh_px[0] + middle * box_xywh_px[2]).astype(int)
    rows = (box_xywh_px[1] + middle * box_xywh_px[3]).astype(int)
    return region[np.ix_(rows, columns)]


def annotate_person(
    truth: Truth, person: int, rng: np.random.Generator, point_noise: PointNoise | None = None
) -> dict[str, Any] | None:
    """The COCO record of one person without ids; None when no pixel of the person is seen.

    Args:
        truth: of the image.
        person: index of the person, 0-based.
        rng: of the image.
        point_noise: moves the answers of the annotator; None keeps the truth.
    """
    mine = truth.instance == person + 1
    rows, columns = np.nonzero(mine)
    if len(rows) == 0:
        return None
    low = np.array([columns.min(), rows.min()], float)
    high = np.array([columns.max() + 1, rows.max() + 1], float)
    box = np.concatenate([low, high - low])
    # COCO counts pixels for keypoints: the centre of the first pixel is 0, not 0.5.
    keypoints = np.concatenate(
        [truth.keypoints_px[person] - 0.5, truth.keypoint_visibility[person][:, None]], axis=1
    )
    keypoints[keypoints[:, 2] == 0] = 0
    record: dict[str, Any] = {
        "bbox": [float(value) for value in box],
        "area": float(len(rows)),
        "segmentation": encode_masks(mine[..., None])[0],
        "keypoints": [
            round(float(v), 2) if i % 3 < 2 else int(v) for i, v in enumerate(keypoints.flat)
        ],
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        "iscrowd": 0,
        "category_id": 1,
    }
    if len(rows) >= MIN_AREA_FOR_POINTS_PX:
        record |= _densepose_fields(truth, mine, box, rng, point_noise)
    return record


def _densepose_fields(
    truth: Truth,
    mine: np.ndarray,
    box_xywh_px: np.ndarray,
    rng: np.random.Generator,
    point_noise: PointNoise | None,
) -> dict[str, Any]:
    rows, columns = np.nonzero(mine)
    region = COARSE_OF_PART[truth.part[rows, columns]]
    region_map = np.zeros(mine.shape, np.uint8)
    region_map[rows, columns] = region
    masks = encode_regions(_grid_regions(region_map, box_xywh_px))
    pixels_of_person = np.stack([columns, rows], axis=1)
    chosen = []
    for number in np.unique(region):
        pixels = pixels_of_person[region == number]
        chosen.append(pixels[spread_points(pixels, num_points_of_region(len(pixels)), rng)])
    pixels = np.concatenate(chosen)
    part = truth.part[pixels[:, 1], pixels[:, 0]].astype(np.int64)
    uv = truth.uv[pixels[:, 1], pixels[:, 0]]
    if point_noise is not None:
        part, uv = point_noise(part, uv, rng)
    grid_xy = (pixels + 0.5 - box_xywh_px[:2]) / box_xywh_px[2:] * ANNOTATION_GRID
    return {
        "dp_masks": masks,
        "dp_I": [float(value) for value in part],
        "dp_U": [round(float(value), 5) for value in uv[:, 0]],
        "dp_V": [round(float(value), 5) for value in uv[:, 1]],
        "dp_x": [round(float(value), 4) for value in grid_xy[:, 0]],
        "dp_y": [round(float(value), 4) for value in grid_xy[:, 1]],
    }
