"""A tiny DensePose-COCO set made of coloured rectangles, for tests only.

A person is a doll of 14 rectangles, one per annotated region. The colour of a pixel tells its part,
the shade its (U, V), so a network can learn the set. U runs from the person's right to the left, V
from top to bottom.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

GRID = 256
# Region (1..14): (x0, y0, x1, y1) of the doll's own box when it faces the camera: its right side is
# at small x.
REGION_RECTANGLES = {
    1: (0.32, 0.16, 0.68, 0.52),  # torso
    2: (0.00, 0.50, 0.14, 0.60),  # right hand
    3: (0.86, 0.50, 1.00, 0.60),  # left hand
    4: (0.51, 0.92, 0.74, 1.00),  # left foot
    5: (0.26, 0.92, 0.49, 1.00),  # right foot
    6: (0.32, 0.52, 0.49, 0.72),  # right upper leg
    7: (0.51, 0.52, 0.68, 0.72),  # left upper leg
    8: (0.32, 0.72, 0.49, 0.92),  # right lower leg
    9: (0.51, 0.72, 0.68, 0.92),  # left lower leg
    10: (0.68, 0.18, 0.88, 0.34),  # left upper arm
    11: (0.12, 0.18, 0.32, 0.34),  # right upper arm
    12: (0.80, 0.34, 0.96, 0.50),  # left lower arm
    13: (0.04, 0.34, 0.20, 0.50),  # right lower arm
    14: (0.38, 0.00, 0.62, 0.16),  # head
}
# Region: (part seen from the front, from the back); the head is split into halves instead.
REGION_PARTS = {
    1: (2, 1),
    2: (3, 3),
    3: (4, 4),
    4: (5, 5),
    5: (6, 6),
    6: (9, 7),
    7: (10, 8),
    8: (13, 11),
    9: (14, 12),
    10: (15, 17),
    11: (16, 18),
    12: (19, 21),
    13: (20, 22),
    14: (23, 24),
}
# COCO's 17 keypoints on a doll that faces the camera.
KEYPOINTS = (
    *(
        (0.50, 0.08),
        (0.54, 0.06),
        (0.46, 0.06),
        (0.60, 0.08),
        (0.40, 0.08),
    ),  # nose, eyes, ears (left first)
    *((0.74, 0.22), (0.26, 0.22), (0.86, 0.36), (0.14, 0.36), (0.92, 0.50), (0.08, 0.50)),  # arms
    *((0.60, 0.52), (0.40, 0.52), (0.60, 0.72), (0.40, 0.72), (0.60, 0.92), (0.40, 0.92)),  # legs
)
KEYPOINT_NAMES = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow"
    " left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()
POINTS_PER_REGION = 6


def doll_at(points_box: np.ndarray, *, back: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P, 2) positions in a doll's box, [0, 1] -> region (P,) 0..14, part (P,) 0..24, uv (P, 2)."""
    # Seen from the back, the doll's right side is on the right of the image.
    own = np.stack([1 - points_box[:, 0] if back else points_box[:, 0], points_box[:, 1]], axis=1)
    region = np.zeros(len(own), np.int64)
    part = np.zeros(len(own), np.int64)
    uv = np.zeros((len(own), 2))
    for number, (x0, y0, x1, y1) in REGION_RECTANGLES.items():
        inside = (own[:, 0] >= x0) & (own[:, 0] < x1) & (own[:, 1] >= y0) & (own[:, 1] < y1)
        region[inside] = number
        part[inside] = REGION_PARTS[number][int(back)]
        uv[inside] = (own[inside] - (x0, y0)) / (x1 - x0, y1 - y0)
    head = region == 14
    half = uv[:, 0] >= 0.5
    part[head] = np.where(half[head], 24, 23)
    uv[head, 0] = 2 * uv[head, 0] - half[head]
    return region, part, uv


def doll_colors(part: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Part (P,) and uv (P, 2) -> RGB (P, 3) uint8; every part has its own base colour."""
    base = np.array([[60 + 39 * p % 130, 60 + 77 * p % 130, 60 + 101 * p % 130] for p in range(25)])
    shade = np.stack([40 * uv[:, 0], 40 * uv[:, 1], 20 * uv.sum(axis=1)], axis=1)
    return np.clip(base[part] + shade, 0, 255).astype(np.uint8)


def doll_annotation(
    box_xywh: tuple[float, ...], *, back: bool, rng: np.random.Generator
) -> dict[str, Any]:
    """The ``bbox`` ... ``dp_*`` entries of one doll, in the form of DensePose-COCO."""
    x, y, w, h = box_xywh
    steps = (np.arange(GRID) + 0.5) / GRID
    region = doll_at(np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2), back=back)[0]
    masks: list[Any] = []
    for number in range(1, 15):
        rle = coco_mask.encode(
            np.asfortranarray((region == number).reshape(GRID, GRID).astype(np.uint8))
        )
        masks.append({"counts": rle["counts"].decode("ascii"), "size": [GRID, GRID]})
    rectangles = np.array(list(REGION_RECTANGLES.values()))
    if back:
        rectangles = np.stack(
            [1 - rectangles[:, 2], rectangles[:, 1], 1 - rectangles[:, 0], rectangles[:, 3]], 1
        )
    spread = rng.uniform(0.1, 0.9, (len(rectangles), POINTS_PER_REGION, 2))
    points = (
        rectangles[:, None, :2] + spread * (rectangles[:, 2:] - rectangles[:, :2])[:, None]
    ).reshape(-1, 2)
    owner_region, part, uv = doll_at(points, back=back)
    hidden = int(
        rng.integers(2, 4)
    )  # one hand behind the back: an empty entry in dp_masks, no points
    masks[hidden - 1] = []
    keep = owner_region != hidden
    points, part, uv = points[keep], part[keep], uv[keep]
    corners = rectangles[:, [0, 1, 2, 1, 2, 3, 0, 3]]
    polygons = corners * np.tile([w, h], 4) + np.tile([x, y], 4)
    keypoints = np.array(KEYPOINTS)
    keypoints[:, 0] = 1 - keypoints[:, 0] if back else keypoints[:, 0]
    # COCO's keypoints count pixels; half a pixel more is the position.
    keypoints_px = np.column_stack([keypoints * (w, h) + (x, y) - 0.5, np.full(17, 2)])
    sizes = rectangles[:, 2:] - rectangles[:, :2]
    return {
        "bbox": [float(value) for value in box_xywh],
        "area": round(float(sizes.prod(axis=1).sum() * w * h), 2),
        "segmentation": polygons.round(2).tolist(),
        "keypoints": keypoints_px.round(2).ravel().tolist(),
        "num_keypoints": 17,
        "iscrowd": 0,
        "category_id": 1,
        "dp_masks": masks,
        "dp_I": part.astype(float).tolist(),
        "dp_U": uv[:, 0].round(5).tolist(),
        "dp_V": uv[:, 1].round(5).tolist(),
        "dp_x": (points[:, 0] * GRID).round(3).tolist(),
        "dp_y": (points[:, 1] * GRID).round(3).tolist(),
    }


def draw_dolls(image: np.ndarray, dolls: list[tuple[tuple[float, ...], bool]]) -> None:
    """Paint (box xywh px, back) dolls on ``image`` (H, W, 3) uint8, in place."""
    rows, columns = np.indices(image.shape[:2])
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    for (x, y, w, h), back in dolls:
        _, part, uv = doll_at((centres - (x, y)) / (w, h), back=back)
        body = part > 0
        image.reshape(-1, 3)[body] = doll_colors(part[body], uv[body])


def write_tiny_densepose_coco(
    root: str | Path,
    num_images: int = 4,
    seed: int = 0,
    *,
    image_size: tuple[int, int] = (120, 160),
) -> tuple[Path, Path]:
    """Write ``num_images`` JPEGs and their annotations below ``root``.

    Every image shows one or two dolls side by side; in each third image the last doll is a person
    without any DensePose annotation. Image and annotation ids start at 1.

    Args:
        root: folder, made when missing.
        num_images: how many images.
        seed: same seed, same files.
        image_size: height, width in px; at least (64, 64).

    Returns:
        Path of the JSON file and of the folder of images.
    """
    root = Path(root)
    images_dir = root / "images"
    images_dir.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    height, width = image_size
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, num_images + 1):
        image = rng.integers(0, 40, (height, width, 3)).astype(np.uint8)
        count = 1 + image_id % 2
        dolls = []
        for slot in range(count):
            slot_width = width / count
            w = round(float(rng.uniform(0.6, 0.9) * slot_width), 2)
            h = round(float(rng.uniform(0.7, 0.95) * height), 2)
            x = round(float(slot * slot_width + rng.uniform(0, slot_width - w)), 2)
            y = round(float(rng.uniform(0, height - h)), 2)
            back = bool(rng.integers(2))
            dolls.append(((x, y, w, h), back))
            record = doll_annotation((x, y, w, h), back=back, rng=rng)
            if image_id % 3 == 0 and slot == count - 1:
                record = {key: value for key, value in record.items() if not key.startswith("dp_")}
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **record})
        draw_dolls(image, dolls)
        file_name = f"{image_id:012d}.jpg"
        Image.fromarray(image).save(images_dir / file_name, quality=95)
        images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
    person = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": KEYPOINT_NAMES,
        "skeleton": [],
    }
    json_path = root / "annotations.json"
    json_path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [person]})
    )
    return json_path, images_dir
