"""Small random people, proposals and maps on images of 96 x 128 px."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from detectron2.structures import BitMasks, Boxes, Instances, Keypoints

from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.body_parts import flipped_coarse, flipped_parts
from densepose.structures.chart_output import ChartOutput
from densepose.structures.dense_labels import DenseLabels
from densepose.surface.symmetry import ChartSymmetry

IMAGE_SIZE = (96, 128)  # height, width in px


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_people(
    count: int, points: int = 12, seed: int = 0, grid: int = 256
) -> DensePoseAnnotations:
    """People with boxes of 20-60 px; each owns ``points`` points and part masks."""
    g = generator(seed)
    corner = torch.rand(count, 2, generator=g) * torch.tensor([60.0, 30.0])
    size = 20 + 40 * torch.rand(count, 2, generator=g)
    blocks = torch.randint(0, 15, (count, 16, 16), generator=g, dtype=torch.uint8)
    total = count * points
    return DensePoseAnnotations(
        boxes_xyxy_px=torch.cat([corner, corner + size], dim=1),
        coarse=blocks.repeat_interleave(grid // 16, 1).repeat_interleave(grid // 16, 2),
        has_masks=torch.ones(count, dtype=torch.bool),
        points_grid=torch.rand(total, 2, generator=g) * 256,
        part=torch.randint(1, 25, (total,), generator=g),
        uv=torch.rand(total, 2, generator=g),
        owner=torch.arange(count).repeat_interleave(points),
    )


def jittered(boxes: torch.Tensor, by_px: float = 4.0, seed: int = 1) -> torch.Tensor:
    return boxes + by_px * (2 * torch.rand(boxes.shape, generator=generator(seed)) - 1)


def matched_proposals(people: DensePoseAnnotations, boxes: torch.Tensor | None = None) -> Instances:
    """Proposals of one image, each matched with the person of the same place."""
    boxes = jittered(people.boxes_xyxy_px) if boxes is None else boxes
    return Instances(IMAGE_SIZE, proposal_boxes=Boxes(boxes), gt_densepose=people)


def random_output(
    count: int, *, side: int = 6, upscale: int = 2, coarse: int = 2, seed: int = 2, **extra: bool
) -> ChartOutput:
    """Maps with gradients; ``log_variance=True`` and the like add confidence maps."""
    g = generator(seed)

    def maps(channels: int) -> torch.Tensor:
        return torch.randn(count, channels, side, side, generator=g).requires_grad_()

    return ChartOutput(
        coarse_logits=maps(coarse),
        part_logits=maps(25),
        u=maps(25),
        v=maps(25),
        upscale=upscale,
        **{name: maps(25) for name in extra},
    )


def target(count: int, seed: int = 0, **changes: object) -> Instances:
    """What the mapper hands over for one image with ``count`` people, instance masks included."""
    people = random_people(count, seed=seed)
    masks = torch.zeros(count, *IMAGE_SIZE, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, people.boxes_xyxy_px.long().tolist(), strict=True):
        mask[y0:y1, x0:x1] = True
    fields: dict[str, object] = {
        "gt_boxes": Boxes(people.boxes_xyxy_px),
        "gt_classes": torch.zeros(count, dtype=torch.int64),
        "gt_masks": BitMasks(masks),
        "gt_densepose": people,
    }
    fields.update(changes)
    return Instances(IMAGE_SIZE, **{k: v for k, v in fields.items() if v is not None})


def with_keypoints(people: Instances, *, visible: bool = True) -> Instances:
    """The same people with 17 keypoints in their boxes, all labelled or none."""
    boxes = people.gt_boxes.tensor
    share = torch.rand(len(boxes), 17, 2, generator=generator(5))
    position = boxes[:, None, :2] + share * (boxes[:, None, 2:] - boxes[:, None, :2])
    state = torch.full((len(boxes), 17, 1), 2.0 if visible else 0.0)
    people.gt_keypoints = Keypoints(torch.cat([position, state], dim=2))
    return people


def random_labels(count: int, grid: int = 32, seed: int = 5) -> DenseLabels:
    g = generator(seed)

    def bytes_below(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, high, (count, *shape, grid, grid), generator=g, dtype=torch.uint8)

    return DenseLabels(bytes_below(25), bytes_below(256, 2), bytes_below(256))


def with_labels(count: int, **options: int) -> DensePoseAnnotations:
    return replace(random_people(count), dense=random_labels(count, **options))


def table_symmetry(seed: int = 0) -> ChartSymmetry:
    table = np.random.default_rng(seed).random((25, 256, 256, 2), np.float32)
    return ChartSymmetry(flipped_parts(), flipped_coarse(), np.ones((25, 2)), table)
