"""Dense predictions at random, and labels of a teacher that needs no network."""

from __future__ import annotations

import torch
from torch import Tensor

from detectron2.structures import Boxes, Instances

from densepose.structures.body_pixels import BodyPixels


def random_pixels(sizes: list[tuple[int, int]], parts: int = 4, seed: int = 0) -> BodyPixels:
    """People whose boxes of ``sizes`` (height, width) are full of body, one below the other."""
    g = torch.Generator().manual_seed(seed)
    cells = [height * width for height, width in sizes]
    total = sum(cells)
    row = [torch.arange(height).repeat_interleave(width) for height, width in sizes]
    column = [torch.arange(width).repeat(height) for height, width in sizes]
    top = torch.tensor([0, *(height for height, _ in sizes)]).cumsum(0)[:-1]
    boxes = [[2.5, 3.25 + y, 2.5 + w, 3.25 + y + h] for (h, w), y in zip(sizes, top, strict=True)]
    empty = torch.zeros(0, dtype=torch.int64)
    return BodyPixels(
        boxes_xyxy_px=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        sizes_px=torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2),
        part_grid=torch.randint(0, 25, (len(sizes), 256, 256), generator=g).to(torch.uint8),
        row=torch.cat([*row, empty]),
        column=torch.cat([*column, empty]),
        part=torch.randint(1, parts + 1, (total,), generator=g),
        uv=torch.rand(total, 2, generator=g) * 1.2 - 0.1,
        owner=torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(cells).long()),
        certainty=torch.rand(total, generator=g),
    )


def label_bright(images: list[Tensor]) -> list[Instances]:
    """One person in each image that is brighter than 100 on average."""
    found = []
    for image in images:
        people = Instances(tuple(image.shape[-2:]))
        people.gt_boxes = Boxes(torch.tensor([[0.0, 0, 5, 5]] * int(image.mean() > 100)))
        found.append(people)
    return found
