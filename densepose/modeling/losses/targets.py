"""From matched proposals to what the losses compare with.

Shapes: N proposals of all images together (each with its matched instance), P annotated points of
all of them, M = side of the annotated masks, Z = side of the full maps.

Hundreds of proposals are sampled for each image, and each would get a copy of its instance's mask
and points. They carry an index instead (``Matched``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

# Label of pixels that a segmentation is not trained on.
from detectron2.layers import ROIAlign
from detectron2.structures import BitMasks, Instances

from densepose.structures.annotations import DensePoseAnnotations, grid_to_image

from ..sampling import MapPositions, positions_in_boxes

MATCH = "gt_match"
M = TypeVar("M", bound="Matched")


@dataclass(frozen=True)
class Matched:
    """A field of K proposals as indices into that of N instances; copies nothing."""

    source: Any  # of N instances: BitMasks or DensePoseAnnotations
    index: Tensor  # (K,) int64 in [0, N)

    @classmethod
    def each(cls: type[M], source: Any) -> M:
        """Every instance once."""
        return cls(source, torch.arange(len(source), device=source.device))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self: M, item: slice | Tensor) -> M:
        """Select proposals by slice, mask or indices."""
        return type(self)(self.source, self.index[item])

    def to(self: M, device: torch.device | str) -> M:
        """The same on ``device``."""
        return type(self)(self.source.to(device), self.index.to(device))


class MatchedMasks(Matched):
    """Stands for detectron2's ``BitMasks`` in ``gt_masks``; its crops are the same."""

    def crop_and_resize(self, boxes_xyxy_px: Tensor, side: int) -> Tensor:
        """(K, 4) boxes -> (K, side, side) bool: each proposal's mask in its box."""
        rois = torch.cat([self.index[:, None].to(boxes_xyxy_px.dtype), boxes_xyxy_px], dim=1)
        maps = self.source.tensor.to(boxes_xyxy_px.dtype)[:, None]
        align = ROIAlign((side, side), spatial_scale=1.0, sampling_ratio=0, aligned=True)
        return align(maps, rois)[:, 0] >= 0.5


def with_annotations(target: Instances) -> Instances:
    """The same instances, with empty ``gt_densepose`` if they have none."""
    if target.has("gt_densepose"):
        return target
    empty = DensePoseAnnotations.empty(len(target), device=target.gt_boxes.device)
    return Instances(target.image_size, **target.get_fields(), gt_densepose=empty)


def indexed_target(target: Instances) -> Instances:
    """The instances of one image, with indices in the place of what is large."""
    fields = dict(with_annotations(target).get_fields())
    fields["gt_densepose"] = Matched.each(fields["gt_densepose"])
    # Polygons are lists of arrays, which an index does not copy.
    if isinstance(fields.get("gt_masks"), BitMasks):
        fields["gt_masks"] = MatchedMasks.each(fields["gt_masks"])
    fields[MATCH] = fields["gt_densepose"].index
    return Instances(target.image_size, **fields)


UNKNOWN = -100


@dataclass(frozen=True)
class PointTargets:
    """P annotated points and where they fall on the predictor's maps."""

    at: MapPositions
    inside: Tensor  # (P,) bool: in the box of its map; other points train nothing
    part: Tensor  # (P,) int64, 0 is background
    uv: Tensor  # (P, 2) float in [0, 1]


def pack_matches(proposals: Sequence[Instances]) -> tuple[Tensor, DensePoseAnnotations]:
    """(N, 4) proposal boxes of all images and the annotations of their matched instances.

    An image without ``gt_densepose`` contributes proposals without annotation. At least one image.
    """
    boxes = torch.cat([image.proposal_boxes.tensor for image in proposals])
    annotations, index, first = [], [], 0
    for image in proposals:
        known = image.gt_densepose if image.has("gt_densepose") else None
        if known is None:
            known = DensePoseAnnotations.empty(len(image), device=boxes.device)
        matched = known if isinstance(known, Matched) else Matched.each(known)
        annotations.append(matched.source)
        index.append(matched.index + first)
        first += len(matched.source)
    return boxes, DensePoseAnnotations.cat(annotations)[torch.cat(index)]


def point_targets(
    boxes_xyxy_px: Tensor,
    annotations: DensePoseAnnotations,
    map_of_instance: Tensor,
    size: tuple[int, int],
    upscale: int,
) -> PointTargets:
    """Targets at all annotated points.

    Args:
        boxes_xyxy_px: (K, 4) image px that the maps cover.
        annotations: of N instances.
        map_of_instance: (N,) int64 in [0, K).
        size: rows and columns of the predictor's small maps.
        upscale: from the small to the full maps.
    """
    owner = annotations.owner
    points_px = grid_to_image(annotations.points_grid, annotations.boxes_xyxy_px[owner])
    at, inside = positions_in_boxes(points_px, map_of_instance[owner], boxes_xyxy_px, size, upscale)
    return PointTargets(at, inside, annotations.part, annotations.uv)


def coarse_targets(
    boxes_xyxy_px: Tensor, annotations: DensePoseAnnotations, size: tuple[int, int]
) -> Tensor:
    """Annotated part masks brought into the proposals: nearest cell, background outside.

    Map pixel i reads the box position x0 + i / Z * width, as detectron2's DensePose does (no
    half-pixel offset, the M cells spread from border to border of the annotated box).

    Args:
        boxes_xyxy_px: (N, 4) proposals.
        annotations: of N instances, one for each proposal.
        size: rows and columns of the maps, small or full.

    Returns:
        (N, rows, columns) int64: 0 background, 1..14.
    """
    cells = annotations.coarse.shape[-1]
    rows, columns = size
    column, column_inside = _nearest_cells(
        boxes_xyxy_px, annotations.boxes_xyxy_px, 0, columns, cells
    )
    row, row_inside = _nearest_cells(boxes_xyxy_px, annotations.boxes_xyxy_px, 1, rows, cells)
    instance = torch.arange(len(annotations), device=row.device)[:, None, None]
    labels = annotations.coarse[instance, row[:, :, None], column[:, None, :]]
    return labels.long() * (row_inside[:, :, None] & column_inside[:, None, :])


def _nearest_cells(
    target_xyxy_px: Tensor, source_xyxy_px: Tensor, axis: int, full_side: int, cells: int
) -> tuple[Tensor, Tensor]:
    """(N, Z) nearest mask cells along one axis, and whether they lie inside the mask."""
    source_low, source_high = source_xyxy_px[:, axis, None], source_xyxy_px[:, axis + 2, None]
    target_low, target_high = target_xyxy_px[:, axis, None], target_xyxy_px[:, axis + 2, None]
    size = (source_high - source_low).clamp(min=torch.finfo(source_low.dtype).eps)
    # In the order of grid_sample's normalised coordinates, so that cells on a tie fall to the same
    # side.
    first = 2 * (target_low - source_low) / size - 1
    last = 2 * (target_high - source_low) / size - 1
    step = torch.arange(full_side, device=size.device, dtype=size.dtype) / full_side
    position = (step * (last - first) + first + 1) / 2 * (cells - 1)
    nearest = position.round()
    inside = (nearest >= 0) & (nearest <= cells - 1)
    return nearest.clamp(0, cells - 1).long(), inside


def coarse_labels(
    boxes_xyxy_px: Tensor, annotations: DensePoseAnnotations, size: tuple[int, int]
) -> Tensor:
    """``coarse_targets``, UNKNOWN for instances without part masks."""
    labels = coarse_targets(boxes_xyxy_px, annotations, size)
    return labels.masked_fill(~annotations.has_masks[:, None, None], UNKNOWN)


def mask_labels(proposals: Sequence[Instances], size: tuple[int, int]) -> Tensor:
    """Instance masks cropped to the proposals.

    Args:
        proposals: of each image, with or without ``gt_masks``.
        size: (Z, Z).

    Returns:
        (N, Z, Z) int64 labels 0 or 1; UNKNOWN for proposals without a mask.
    """
    labels = []
    for image in proposals:
        boxes = image.proposal_boxes.tensor
        if image.has("gt_masks") and len(image):
            cropped = image.gt_masks.crop_and_resize(boxes, size[0])
            labels.append(cropped.to(device=boxes.device, dtype=torch.int64))
        else:
            labels.append(boxes.new_full((len(image), *size), UNKNOWN, dtype=torch.int64))
    return torch.cat(labels)
