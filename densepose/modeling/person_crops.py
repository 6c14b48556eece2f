"""Scale-normalised crops of people: square windows around boxes, brought to one size.

Shapes: N people of all images together, S = side of the crops in px. Windows and boxes are in px of
the network's input, x0, y0, x1, y1; a window may leave its image (the rest of the crop is 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.ops import roi_align

from densepose.structures.chart_output import MAP_FIELDS, ChartOutput


@dataclass(frozen=True)
class CropSettings:
    """How people are cropped."""

    size_px: int = 256  # S
    margin: float = 0.1  # on each side, as a share of the box's longer side
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
    output: ChartOutput, map_index: Tensor, boxes_cells: Tensor, side: int
) -> ChartOutput:
    """Cut the maps of boxes out of larger maps.

    Args:
        output: K maps, square or not; ``upscale`` is lost, the small maps are read.
        map_index: (N,) map of each box.
        boxes_cells: (N, 4) boxes in cells of the small maps, cell (i, j) covers [i, i + 1) x ...
        side: of the result.

    Returns:
        N square maps over the boxes, ``upscale`` 1.
    """
    names = [name for name in MAP_FIELDS if getattr(output, name) is not None]
    maps = [getattr(output, name) for name in names]
    rois = torch.cat([map_index[:, None].to(boxes_cells), boxes_cells], dim=1)
    joined = torch.cat(maps, dim=1).float()
    cut = roi_align(joined, rois, side, sampling_ratio=1, aligned=True)
    pieces = cut.split([field.shape[1] for field in maps], dim=1)
    return replace(output, upscale=1, **dict(zip(names, pieces, strict=True)))
