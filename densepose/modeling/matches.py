"""What sampled proposals carry of the instances they are matched with, and which of them train.

Hundreds of proposals are sampled for each image, and each would get a copy of its instance's mask
and points. Here they carry an index instead.

Shapes: N instances of one image, K proposals matched with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from detectron2.layers import ROIAlign
from detectron2.structures import BitMasks, Instances

from densepose.structures.annotations import DensePoseAnnotations

# Index of the matched instance in the image's annotations.
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


def has_visible_keypoint(proposals: Instances) -> Tensor:
    """(K,) bool: a labelled keypoint of the matched instance lies in the proposal.

    Args:
        proposals: of one image, with ``proposal_boxes`` and, unless the image shows no instance,
            ``gt_keypoints``.
    """
    boxes = proposals.proposal_boxes.tensor
    if not proposals.has("gt_keypoints"):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    position, visibility = proposals.gt_keypoints.tensor.split([2, 1], dim=2)
    inside = (position >= boxes[:, None, :2]) & (position <= boxes[:, None, 2:])
    return (inside.all(dim=2) & (visibility[..., 0] >= 1)).any(dim=1)


def first_of_each(value: Tensor, limit: int) -> Tensor:
    """(K,) values -> indices of the first ``limit`` places where each value stands, ascending.

    Sampled proposals come in random order, so the first ones of an instance are a random choice.
    """
    order = value.argsort(stable=True)
    ordered = value[order]
    rank = torch.arange(len(value), device=value.device) - torch.searchsorted(ordered, ordered)
    return order[(rank < limit).nonzero().squeeze(1)].sort().values


def few_of_each(foreground: Instances, limit: int) -> Instances:
    """The first ``limit`` foreground proposals of each instance of one image; 0: all of them."""
    if not limit or not foreground.has(MATCH):
        return foreground
    return foreground[first_of_each(foreground.get(MATCH), limit)]
