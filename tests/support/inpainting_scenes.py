"""A person whose parts and charts are simple functions of the place."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from densepose.inpainting.cells import Cells, Points, cells_and_points
from densepose.structures.annotations import DensePoseAnnotations

# Columns of the annotation grid: torso (parts 1, 2) on the left, left hand (part 4) on the right.
TORSO, HAND = 1, 3
BOX = (10.0, 20.0, 58.0, 84.0)  # of the person that fills a painted image
SPLIT = 160


def truth(place: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Part (Q,) and UV (Q, 2) at places in px: linear in the place within a part."""
    share = (place - box[:2]) / (box[2:] - box[:2])
    part = np.where(share[:, 0] * 256 < SPLIT, np.where(share[:, 1] < 0.5, 1, 2), 4)
    uv = np.stack([0.1 + 0.6 * share[:, 0], 0.2 + 0.3 * share.sum(axis=1)], axis=1)
    return part, uv


def people(
    boxes: tuple[tuple[float, ...], ...] = ((10.0, 20.0, 58.0, 84.0),),
    points: int = 40,
    seed: int = 0,
) -> DensePoseAnnotations:
    """People with the same truth in each box, annotated at random places."""
    rng = np.random.default_rng(seed)
    count = len(boxes)
    frame = np.array(boxes).reshape(-1, 4)
    grid = rng.uniform(4, 254, (count * points, 2))  # each in a cell of a region
    owner = np.repeat(np.arange(count), points)
    low, size = frame[owner, :2], frame[owner, 2:] - frame[owner, :2]
    labels = [
        truth(low[k : k + 1] + grid[k : k + 1] / 256 * size[k], frame[owner[k]])
        for k in range(len(grid))
    ]
    coarse = torch.full((count, 256, 256), HAND, dtype=torch.uint8)
    coarse[:, :, :SPLIT] = TORSO
    coarse[:, :3] = 0  # nobody above
    return DensePoseAnnotations(
        boxes_xyxy_px=torch.tensor(frame, dtype=torch.float32),
        coarse=coarse,
        has_masks=torch.ones(count, dtype=torch.bool),
        points_grid=torch.tensor(grid, dtype=torch.float32),
        part=torch.tensor([int(part[0]) for part, _ in labels], dtype=torch.int64),
        uv=torch.tensor(np.array([uv[0] for _, uv in labels]).reshape(-1, 2)).float(),
        owner=torch.tensor(owner),
    )


def scene(**options) -> tuple[DensePoseAnnotations, Cells, Points]:
    someone = people(**options)
    return someone, *cells_and_points(someone)


def write_truth(folder: Path, image_id: int, iuv: np.ndarray, instance: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f"{image_id:012d}_iuv.png"), iuv[..., ::-1])
    cv2.imwrite(str(folder / f"{image_id:012d}_instance.png"), instance)


def painted(size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) part, U, V of every pixel as if the person of ``scene`` filled the image."""
    y, x = np.mgrid[: size[0], : size[1]].reshape(2, -1)
    part, uv = truth(np.stack([x, y], axis=1) + 0.5, np.array(BOX))
    flat = np.column_stack([part, np.rint(uv.clip(0, 1) * 255)])
    return flat.reshape(*size, 3).astype(np.uint8)
