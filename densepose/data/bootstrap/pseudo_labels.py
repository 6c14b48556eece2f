"""From dense predictions to what ordinary annotations look like in training.

Shapes: N people, P pixels on their bodies, K chosen ones, H x W the image, M = 256 steps of the
annotation grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from detectron2.structures import BitMasks, Boxes, Instances

from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.body_parts import ANNOTATION_GRID, COARSE_OF_PART
from densepose.structures.body_pixels import BodyPixels


def pseudo_annotations(pixels: BodyPixels, chosen: Tensor) -> DensePoseAnnotations:
    """The chosen pixels (K,) as annotated points, the predicted parts as part masks."""
    owner = pixels.owner[chosen]
    position = torch.stack([pixels.column[chosen], pixels.row[chosen]], dim=1) + 0.5
    width_height = pixels.sizes_px[owner].flip(1)
    region = torch.from_numpy(COARSE_OF_PART.astype("uint8"))
    return DensePoseAnnotations(
        boxes_xyxy_px=pixels.boxes_xyxy_px,
        coarse=region[pixels.part_grid.long()],
        has_masks=torch.ones(len(pixels), dtype=torch.bool),
        points_grid=position / width_height * ANNOTATION_GRID,
        part=pixels.part[chosen],
        uv=pixels.uv[chosen].clamp(0, 1),
        owner=owner,
    )


def body_masks(pixels: BodyPixels, image_size: tuple[int, int]) -> Tensor:
    """(N, H, W) bool: the pixels of each person; those of a box that leaves the image are cut."""
    corner = pixels.boxes_xyxy_px[pixels.owner, :2].long()
    column, row = corner[:, 0] + pixels.column, corner[:, 1] + pixels.row
    inside = (row >= 0) & (row < image_size[0]) & (column >= 0) & (column < image_size[1])
    masks = torch.zeros(len(pixels), *image_size, dtype=torch.bool)
    masks[pixels.owner[inside], row[inside], column[inside]] = True
    return masks


def pseudo_truth(
    pixels: BodyPixels,
    chosen: Tensor,
    classes: Tensor,
    image_size: tuple[int, int],
    *,
    use_masks: bool,
) -> Instances:
    """Instances as the mapper gives them for annotated images.

    Args:
        pixels: of N people.
        chosen: (K,) pixels that become points.
        classes: (N,) int64.
        image_size: H, W.
        use_masks: give ``gt_masks``.
    """
    instances = Instances(image_size)
    instances.gt_boxes = Boxes(pixels.boxes_xyxy_px)
    instances.gt_classes = classes
    instances.gt_densepose = pseudo_annotations(pixels, chosen)
    if use_masks:
        instances.gt_masks = BitMasks(body_masks(pixels, image_size))
    return instances
