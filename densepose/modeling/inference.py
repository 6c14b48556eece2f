"""From predictor maps to part labels and UV of whole pixels.

Shapes: N instances, S = side of the small maps, (h_i, w_i) = whole pixels of box i.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn import functional as F

from detectron2.structures import Instances

from densepose.errors import InputError
from densepose.ops import tile_threads
from densepose.structures.annotations import quantize_uv
from densepose.structures.chart_output import ChartOutput
from densepose.structures.prediction import ImagePrediction

from .sampling import resize_taps


def box_sizes_px(boxes_xyxy_px: Tensor) -> list[tuple[int, int]]:
    """(N, 4) boxes -> height and width of each in whole pixels, rounded down, at least 1."""
    sizes = (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).long().clamp(min=1)
    return [(height, width) for width, height in sizes.tolist()]


@torch.no_grad()
def decode_person(output: ChartOutput, size_px: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Labels and UV of one instance, on the device of the maps; does not wait for a GPU.

    The label of a pixel is the best part where the coarse segmentation says foreground, else 0.
    U and V are those of the part that won.

    Args:
        output: of one instance.
        size_px: height h and width w of the box.

    Returns:
        (h, w) uint8 labels and (2, h, w) float32 UV, unclamped, 0 on the background.
    """
    if len(output) != 1:
        raise ValueError(f"decode_person takes the output of one person, got {len(output)}")
    if output.part_logits.device.type == "cpu" and tile_threads.ready():
        from densepose.ops import chart_decoding  # compiled loops, the same values

        if output.part_logits.shape[1] <= chart_decoding.PADDED:
            maps = (output.coarse_logits, output.part_logits, output.u, output.v)
            side = output.part_logits.shape[-1]
            taps = [resize_taps(size, side, output.upscale) for size in size_px]
            return chart_decoding.decode(*(values[0] for values in maps), *taps)
    return decode_plainly(output, size_px)


def decode_plainly(output: ChartOutput, size_px: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """``decode_person`` as it is defined: every map is resized to the box."""
    output = output.at_least_float32()
    labels = to_box(output.part_logits, output.upscale, size_px).argmax(dim=0)
    is_foreground = to_box(output.coarse_logits, output.upscale, size_px).argmax(dim=0) > 0
    # Background can win among the parts; such a pixel has neither label nor UV.
    labels = labels * is_foreground
    uv = torch.cat(
        [
            to_box(maps, output.upscale, size_px).gather(0, labels[None]) * (labels > 0)
            for maps in (output.u, output.v)
        ]
    )
    return labels.to(torch.uint8), uv


def to_box(maps: Tensor, upscale: int, size_px: tuple[int, int]) -> Tensor:
    """(1, C, S, S) small maps -> (C, h, w): up-sampled, then resized to the box."""
    with torch.autocast(maps.device.type, enabled=False):
        if upscale > 1:
            maps = F.interpolate(maps, scale_factor=upscale, mode="bilinear", align_corners=False)
        return F.interpolate(maps, size_px, mode="bilinear", align_corners=False)[0]


def instances_to_prediction(
    instances: Instances, image_id: int, *, confidence: bool = False
) -> ImagePrediction:
    """Post-processed detections of one image as plain arrays, best score first.

    Masks and keypoints go along where the model has such branches, the probability of each pixel's
    part with ``confidence``. Pixels are decoded on the device of the detections and copied from it
    at once.

    Raises:
        InputError: the instances carry no ``pred_densepose``.
    """
    if not instances.has("pred_densepose"):
        raise InputError(
            f"image {image_id}: the detections have no pred_densepose (fields:"
            f" {', '.join(instances.get_fields())}); is MODEL.DENSEPOSE_ON off?"
        )
    instances = instances[instances.scores.argsort(descending=True, stable=True)]
    boxes = instances.pred_boxes.tensor
    sizes = box_sizes_px(boxes)
    maps = _decode_all(instances.pred_densepose, sizes, confidence)
    return ImagePrediction(
        image_id=image_id,
        image_size=tuple(instances.image_size),
        boxes_xyxy_px=boxes.float().cpu().numpy(),
        scores=instances.scores.float().cpu().numpy(),
        labels=tuple(planes[0] for planes in maps),
        uv=tuple(planes[1:3] for planes in maps),
        confidence=tuple(planes[3] for planes in maps) if confidence else None,
        masks=_run_lengths(instances.pred_masks) if instances.has("pred_masks") else None,
        keypoints_px=instances.pred_keypoints.float().cpu().numpy()
        if instances.has("pred_keypoints")
        else None,
    )


def _decode_all(
    output: ChartOutput, sizes_px: list[tuple[int, int]], confidence: bool
) -> list[np.ndarray]:
    """N arrays (3 or 4, h_i, w_i) uint8: label, U, V, confidence; one copy from the device."""
    channels = 4 if confidence else 3
    pixels = [output.part_logits.new_zeros(channels, 0, dtype=torch.uint8)]
    for index, size_px in enumerate(sizes_px):
        person = output[index : index + 1]
        labels, uv = decode_person(person, size_px)
        planes = [labels[None], quantize_uv(uv)]
        if confidence:
            planes.append(part_probability(person, labels)[None])
        pixels.append(torch.cat(planes).flatten(1))
    packed = torch.cat(pixels, dim=1).cpu().numpy()
    ends = np.cumsum([height * width for height, width in sizes_px], dtype=np.int64)
    pieces = np.split(packed, ends[:-1], axis=1) if sizes_px else []
    return [piece.reshape(channels, *size) for piece, size in zip(pieces, sizes_px, strict=True)]


@torch.no_grad()
def part_probability(output: ChartOutput, labels: Tensor) -> Tensor:
    """(h, w) uint8 probability of one person's (h, w) labels, steps of 1 / 255; 0 for label 0."""
    logits = to_box(output.at_least_float32().part_logits, output.upscale, tuple(labels.shape))
    probability = logits.softmax(dim=0).gather(0, labels[None].long())[0]
    return (probability * (labels > 0) * 255).round().to(torch.uint8)


def _run_lengths(masks: Tensor) -> tuple[dict[str, Any], ...]:
    """(N, H, W) bool -> N masks as pycocotools has them."""
    stack = np.asfortranarray(masks.cpu().numpy().transpose(1, 2, 0).astype(np.uint8))
    return tuple(coco_mask.encode(stack))
