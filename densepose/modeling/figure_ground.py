"""What a network may be told about where people are: the privileged input of DensePose*.

Shapes: K maps (a person's crop each, or a whole image) of H x W px, N people.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.body_parts import NUM_REGIONS

from .losses.targets import coarse_targets
from .person_crops import half_a_cell_later

# How masks enter the network -> number of channels beside the colours.
EXTRA_CHANNELS = {"none": 0, "multiply": 0, "channel": 1, "multiply+regions": NUM_REGIONS}


def region_maps(
    windows_xyxy_px: Tensor, people: DensePoseAnnotations, size: tuple[int, int]
) -> Tensor:
    """(N, H, W) int64 annotated region, 0 to 14, at the pixels of a window of each person."""
    return coarse_targets(half_a_cell_later(windows_xyxy_px, size), people, size)


def person_masks(windows_xyxy_px: Tensor, regions: Tensor, people: DensePoseAnnotations) -> Tensor:
    """(N, H, W) bool: the person, by its part masks, or by its box where it has none.

    Args:
        windows_xyxy_px: (N, 4).
        regions: (N, H, W) as ``region_maps`` gives them.
        people: N people.
    """
    boxes = inside_boxes(windows_xyxy_px, people.boxes_xyxy_px, tuple(regions.shape[1:]))
    return torch.where(people.has_masks[:, None, None], regions > 0, boxes)


def inside_boxes(windows_xyxy_px: Tensor, boxes_xyxy_px: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, H, W) bool: which pixels of each window lie in its box; both (N, 4)."""
    inside = []
    for axis, cells in ((1, size[0]), (0, size[1])):
        low, high = windows_xyxy_px[:, axis, None], windows_xyxy_px[:, axis + 2, None]
        middle = (torch.arange(cells, device=low.device) + 0.5) / cells
        position = low + middle * (high - low)
        box_low, box_high = boxes_xyxy_px[:, axis, None], boxes_xyxy_px[:, axis + 2, None]
        inside.append((position >= box_low) & (position < box_high))
    return inside[0][:, :, None] & inside[1][:, None, :]


def told(images: Tensor, mode: str, person: Tensor, regions: Tensor) -> Tensor:
    """Colours and masks as one input.

    Args:
        images: (K, 3, H, W) normalised; 0 is the mean colour.
        mode: a key of EXTRA_CHANNELS.
        person: (K, H, W) bool.
        regions: (K, H, W) int64, 0 to 14.

    Returns:
        (K, 3 + EXTRA_CHANNELS[mode], H, W).
    """
    if mode == "none":
        return images
    figure = person[:, None].to(images)
    if mode == "channel":
        return torch.cat([images, figure], dim=1)
    if mode == "multiply":
        return images * figure
    one_hot = F.one_hot(regions, NUM_REGIONS + 1)[..., 1:].permute(0, 3, 1, 2)
    return torch.cat([images * figure, one_hot.to(images)], dim=1)
