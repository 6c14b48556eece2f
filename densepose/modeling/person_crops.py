"""Where people are in the maps of a DP-FCN: square crops, cut-out boxes, masks as input.

Shapes: N people of all images together, K maps (a crop of each person, or whole images) of H x W
px, S = side of the crops in px. Windows and boxes are in px of the network's input, x0, y0, x1, y1;
a window may leave its image (the remaining pixels of the crop are 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from detectron2.structures import Boxes, Instances, pairwise_iou

from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.body_parts import NUM_REGIONS
from densepose.structures.chart_output import MAP_FIELDS, ChartOutput

from .losses.targets import coarse_targets

# A box that overlaps an annotated person less gets no masks as input.
MIN_OVERLAP = 0.5
# How masks enter the network -> number of channels beside the colours.
EXTRA_CHANNELS = {"none": 0, "multiply": 0, "channel": 1, "multiply+regions": NUM_REGIONS}


@dataclass(frozen=True)
class CropSettings:
    """How people are cropped."""

    size_px: int = 256  # S
    margin: float = 0.1  # on each side, as a fraction of the box's longer side
    jitter: float = 0.0  # in training, see ``jittered``


def square_windows(boxes_xyxy_px: Tensor, margin: float) -> Tensor:
    """(N, 4) boxes -> (N, 4) squares of the same centre around them, with a margin."""
    centre = (boxes_xyxy_px[:, :2] + boxes_xyxy_px[:, 2:]) / 2
    longer = (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).amax(dim=1, keepdim=True)
    half = longer.clamp(min=1.0) * (0.5 + margin)
    return torch.cat([centre - half, centre + half], dim=1)


def jittered(windows_xyxy_px: Tensor, amount: float) -> Tensor:
    """Windows of other sizes and places, drawn at random.

    The side changes by a factor between 1 / (1 + amount) and 1 + amount (evenly on a logarithmic
    scale), the centre moves by up to amount / 2 of the side in each direction.
    """
    if not amount:
        return windows_xyxy_px
    count = len(windows_xyxy_px)
    random = 2 * torch.rand(count, 3, device=windows_xyxy_px.device) - 1
    side = windows_xyxy_px[:, 2:] - windows_xyxy_px[:, :2]
    centre = (windows_xyxy_px[:, 2:] + windows_xyxy_px[:, :2]) / 2
    centre = centre + random[:, :2] * (amount / 2) * side
    half = side / 2 * (1 + amount) ** random[:, 2:]
    return torch.cat([centre - half, centre + half], dim=1)


def crop_images(images: Sequence[Tensor], windows: Sequence[Tensor], size_px: int) -> Tensor:
    """Read windows of images: the mean of a window's cell where it is shrunk, bilinear else.

    Args:
        images: for each image (C, H, W) float.
        windows: for each image (n, 4) windows.
        size_px: S.

    Returns:
        (N, C, S, S), image after image; 0 outside of the images.
    """
    crops = [
        roi_align(image[None], [boxes], size_px, sampling_ratio=-1, aligned=True)
        for image, boxes in zip(images, windows, strict=True)
    ]
    return torch.cat(crops)


def half_a_cell_later(windows_xyxy_px: Tensor, rows_and_columns: tuple[int, int]) -> Tensor:
    """Windows moved by half a map cell to the right and down, for the losses.

    These read map position z at x0 + z / Z * width, as the RoI heads of detectron2's DensePose do;
    a cell of a fully convolutional map belongs to its centre, x0 + (z + 0.5) / Z * width.

    Args:
        windows_xyxy_px: (K, 4) px that the maps cover.
        rows_and_columns: Z of the full maps.
    """
    rows, columns = rows_and_columns
    size = windows_xyxy_px[:, 2:] - windows_xyxy_px[:, :2]
    shift = 0.5 * size / size.new_tensor([columns, rows])
    return windows_xyxy_px + shift.repeat(1, 2)


def cut_boxes(
    output: ChartOutput, map_index: Tensor, windows: Tensor, boxes: Tensor, side: int
) -> ChartOutput:
    """Cut the maps of boxes out of larger maps.

    Args:
        output: K maps, square or not; ``upscale`` is lost, the small maps are read.
        map_index: (N,) map of each box.
        windows: (K, 4) px that the maps cover.
        boxes: (N, 4) px.
        side: of the result.

    Returns:
        N square maps over the boxes, ``upscale`` 1.
    """
    names = [name for name in MAP_FIELDS if getattr(output, name) is not None]
    maps = [getattr(output, name) for name in names]
    rows, columns = output.size
    low, high = windows[map_index].split(2, dim=1)
    cell_px = (high - low) / windows.new_tensor([columns, rows])
    cells = (boxes - low.repeat(1, 2)) / cell_px.repeat(1, 2)
    rois = torch.cat([map_index[:, None].to(cells), cells], dim=1)
    joined = torch.cat(maps, dim=1).float()
    cut = roi_align(joined, rois, side, sampling_ratio=1, aligned=True)
    pieces = cut.split([field.shape[1] for field in maps], dim=1)
    return replace(output, upscale=1, **dict(zip(names, pieces, strict=True)))


def region_maps(
    windows_xyxy_px: Tensor, annotations: DensePoseAnnotations, size: tuple[int, int]
) -> Tensor:
    """(N, H, W) int64 annotated region, 0 to 14, at the pixels of a window of each person."""
    return coarse_targets(half_a_cell_later(windows_xyxy_px, size), annotations, size)


def person_masks(
    windows_xyxy_px: Tensor, regions: Tensor, annotations: DensePoseAnnotations
) -> Tensor:
    """(N, H, W) bool: the person, by its part masks, or by its box where it has none.

    Args:
        windows_xyxy_px: (N, 4).
        regions: (N, H, W) as ``region_maps`` gives them.
        annotations: of N people.
    """
    boxes = inside_boxes(windows_xyxy_px, annotations.boxes_xyxy_px, tuple(regions.shape[1:]))
    return torch.where(annotations.has_masks[:, None, None], regions > 0, boxes)


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


def masked_input(images: Tensor, mode: str, person: Tensor, regions: Tensor) -> Tensor:
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


def connected_foreground(
    foreground: Tensor, cell_px: tuple[float, float], min_area_px: float
) -> tuple[Tensor, Tensor]:
    """Boxes around the connected pieces of foreground, diagonal neighbours counting as connected.

    Args:
        foreground: (h, w) probability that a cell shows a person.
        cell_px: height and width of a cell.
        min_area_px: smaller pieces are skipped.

    Returns:
        (N, 4) boxes x0, y0, x1, y1 in px and (N,) scores, the mean probability in a piece; best
        first.
    """
    probability = foreground.detach().float().cpu().numpy()
    piece, count = ndimage.label(probability > 0.5, structure=np.ones((3, 3)))
    number = np.arange(1, count + 1)
    height_px, width_px = cell_px
    area = np.bincount(piece.ravel(), minlength=count + 1)[1:] * height_px * width_px
    boxes = np.array(
        [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(piece)], np.float32
    ).reshape(-1, 4) * np.array([width_px, height_px] * 2, np.float32)
    scores = np.asarray(ndimage.mean(probability, piece, number), np.float32).reshape(-1)
    order = np.argsort(-scores, kind="stable")
    order = order[area[order] >= min_area_px]
    device = foreground.device
    return torch.from_numpy(boxes[order]).to(device), torch.from_numpy(scores[order]).to(device)


def annotations_of(
    boxes: Sequence[Tensor], annotated: Sequence[Instances | None]
) -> DensePoseAnnotations:
    """The annotations of the person that each box overlaps most, if by half; of all images."""
    found = []
    for own, people in zip(boxes, annotated, strict=True):
        known = [DensePoseAnnotations.empty(1, device=own.device)]
        best = torch.zeros(len(own), dtype=torch.int64, device=own.device)
        if people is not None and len(people):
            known.append(people.gt_densepose)
            overlap, person = pairwise_iou(Boxes(own), people.gt_boxes).max(dim=1)
            best = torch.where(overlap >= MIN_OVERLAP, person + 1, best)
        matched = DensePoseAnnotations.cat(known)[best]
        frames = torch.where((best > 0)[:, None], matched.boxes_xyxy_px, own)
        found.append(replace(matched, boxes_xyxy_px=frames, dense=None))
    return DensePoseAnnotations.cat(found)
