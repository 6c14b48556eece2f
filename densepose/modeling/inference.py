"""From predictor maps to part labels and UV of whole pixels.

Shapes: N people, S = side of the small maps, (h_i, w_i) = whole pixels of person i's box.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from detectron2.structures import Instances

from densepose.ops import tile_threads
from densepose.structures.chart_output import ChartOutput
from densepose.structures.coordinates import quantize_uv
from densepose.structures.prediction import ImagePrediction

from .sampling import (
    MapPositions,
    resize_matrix,
    resize_taps,
    sample_all_channels,
    sample_channel,
)


def box_sizes_px(boxes_xyxy_px: Tensor) -> list[tuple[int, int]]:
    """(N, 4) boxes -> height and width of each in whole pixels, rounded down, at least 1."""
    sizes = (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).long().clamp(min=1)
    return [(height, width) for width, height in sizes.tolist()]


@torch.no_grad()
def decode_person(output: ChartOutput, size_px: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Labels and UV of one person.

    The label of a pixel is the best part where the coarse segmentation says person, else 0. Parts,
    U and V are read only at pixels of the person, U and V only for the part that won.

    Args:
        output: of one person.
        size_px: height h and width w of the box.

    Returns:
        (h, w) uint8 labels and (2, h, w) float32 UV, unclamped, 0 on the background.
    """
    if len(output) != 1:
        raise ValueError(f"decode_person takes the output of one person, got {len(output)}")
    if _can_be_compiled(output):
        return _decode_compiled(output, size_px)
    with torch.autocast(output.part_logits.device.type, enabled=False):
        return _decode_person(output, size_px)


def _can_be_compiled(output: ChartOutput) -> bool:
    if output.part_logits.device.type != "cpu" or not tile_threads.ready():
        return False
    from densepose.ops.chart_decoding import PADDED

    return output.part_logits.shape[1] <= PADDED


def _decode_compiled(output: ChartOutput, size_px: tuple[int, int]) -> tuple[Tensor, Tensor]:
    from densepose.ops.chart_decoding import decode_box

    side = output.part_logits.shape[-1]
    maps = [
        values[0].detach().float().permute(1, 2, 0).contiguous()
        for values in (output.coarse_logits, output.part_logits, output.u, output.v)
    ]
    rows, columns = (
        resize_taps(size, side, output.upscale, torch.device("cpu")) for size in size_px
    )
    labels, uv = torch.empty(size_px, dtype=torch.uint8), torch.empty(2, *size_px)
    tile_threads.run_in_threads(decode_box, *maps, *rows, *columns, labels, uv)
    return labels, uv


def _decode_person(output: ChartOutput, size_px: tuple[int, int]) -> tuple[Tensor, Tensor]:
    (height, width), side = size_px, output.part_logits.shape[-1]
    device = output.part_logits.device
    to_rows = resize_matrix(height, side, output.upscale, device)
    to_columns = resize_matrix(width, side, output.upscale, device)
    # Everything is brought to the box's rows by one small product; columns follow where needed.
    coarse, part_logits, u, v = (
        to_rows @ maps.float()
        for maps in (output.coarse_logits, output.part_logits, output.u, output.v)
    )
    coarse = (coarse @ to_columns.T)[0]
    is_person = coarse[1:].amax(dim=0) > coarse[0]
    rows, columns = is_person.nonzero(as_tuple=True)
    taps, weights = resize_taps(width, side, output.upscale, device)
    cell = rows[:, None] * side + taps[columns]
    at = MapPositions(torch.zeros_like(rows), cell, weights[columns])
    part = sample_all_channels(part_logits, at).argmax(dim=1)
    labels = torch.zeros(size_px, dtype=torch.uint8, device=device)
    labels[rows, columns] = part.to(torch.uint8)
    uv = torch.zeros(2, *size_px, dtype=torch.float32, device=device)
    # Background can win among the parts; such a pixel has neither label nor UV.
    on_body = part > 0
    for channel, maps in enumerate((u, v)):
        uv[channel, rows, columns] = sample_channel(maps, part, at) * on_body
    return labels, uv


def instances_to_prediction(instances: Instances, image_id: int) -> ImagePrediction:
    """Post-processed detections of one image as plain arrays, best score first.

    Masks and keypoints go along where the model has such branches.

    Raises:
        ValueError: the instances carry no ``pred_densepose``.
    """
    if not instances.has("pred_densepose"):
        raise ValueError(
            f"image {image_id}: the detections have no pred_densepose (fields:"
            f" {', '.join(instances.get_fields())}); is MODEL.DENSEPOSE_ON off?"
        )
    instances = instances[instances.scores.argsort(descending=True, stable=True)]
    boxes = instances.pred_boxes.tensor
    labels: list[np.ndarray] = []
    uv: list[np.ndarray] = []
    for person, size_px in enumerate(box_sizes_px(boxes)):
        person_labels, person_uv = decode_person(
            instances.pred_densepose[person : person + 1], size_px
        )
        labels.append(person_labels.cpu().numpy())
        uv.append(quantize_uv(person_uv).cpu().numpy())
    return ImagePrediction(
        image_id=image_id,
        image_size=tuple(instances.image_size),
        boxes_xyxy_px=boxes.float().cpu().numpy(),
        scores=instances.scores.float().cpu().numpy(),
        labels=tuple(labels),
        uv=tuple(uv),
        masks=_run_lengths(instances.pred_masks) if instances.has("pred_masks") else None,
        keypoints_px=instances.pred_keypoints.float().cpu().numpy()
        if instances.has("pred_keypoints")
        else None,
    )


def _run_lengths(masks: Tensor) -> tuple[dict[str, Any], ...]:
    """(N, H, W) bool -> N masks as pycocotools has them."""
    stack = np.asfortranarray(masks.cpu().numpy().transpose(1, 2, 0).astype(np.uint8))
    return tuple(coco_mask.encode(stack))
