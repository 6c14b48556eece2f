"""What sampled proposals carry of the people they are matched with, and which of them train.

Hundreds of proposals are sampled for each image, and each would get a copy of its person's mask
and points. Here they carry an index into the image's people instead.

Shapes: N people of one image, K proposals matched with them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from detectron2.layers import ROIAlign
from detectron2.structures import BitMasks, Instances

# Index of the matched person in the image's annotations.
MATCH = "gt_person"


class MatchedMasks:
    """Instance masks of K proposals as indices into the masks of N people.

    Stands for detectron2's ``BitMasks`` in ``gt_masks``; its crops are the same.
    """

    def __init__(self, masks: BitMasks, person: Tensor) -> None:
        """Args: ``masks`` of N people, (N, H, W) bool; ``person``: (K,) int64 in [0, N)."""
        self.masks = masks
        self.person = person

    def __len__(self) -> int:
        return len(self.person)

    def __getitem__(self, index: slice | Tensor) -> MatchedMasks:
        """Select proposals by slice, mask or indices."""
        return MatchedMasks(self.masks, self.person[index])

    def to(self, device: torch.device | str) -> MatchedMasks:
        """The same masks on ``device``."""
        return MatchedMasks(self.masks.to(device), self.person.to(device))

    def crop_and_resize(self, boxes_xyxy_px: Tensor, side: int) -> Tensor:
        """(K, 4) boxes -> (K, side, side) bool: each proposal's mask in its box."""
        rois = torch.cat([self.person[:, None].to(boxes_xyxy_px.dtype), boxes_xyxy_px], dim=1)
        maps = self.masks.tensor.to(boxes_xyxy_px.dtype)[:, None]
        align = ROIAlign((side, side), spatial_scale=1.0, sampling_ratio=0, aligned=True)
        return align(maps, rois)[:, 0] >= 0.5


def light_target(target: Instances) -> Instances:
    """The people of one image, with indices in the place of what is large."""
    fields = {name: value for name, value in target.get_fields().items() if name != "gt_densepose"}
    person = torch.arange(len(target), device=target.gt_boxes.device)
    # Polygons are lists of arrays, which an index does not copy.
    if target.has("gt_masks") and isinstance(target.gt_masks, BitMasks):
        fields["gt_masks"] = MatchedMasks(target.gt_masks, person)
    return Instances(target.image_size, **fields, **{MATCH: person})


def has_visible_keypoint(proposals: Instances) -> Tensor:
    """(K,) bool: a labelled keypoint of the matched person lies in the proposal.

    Args:
        proposals: of one image, with ``proposal_boxes`` and, unless nobody is in the image,
            ``gt_keypoints``.
    """
    boxes = proposals.proposal_boxes.tensor
    if not proposals.has("gt_keypoints"):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    position, visibility = proposals.gt_keypoints.tensor.split([2, 1], dim=2)
    inside = (position >= boxes[:, None, :2]) & (position <= boxes[:, None, 2:])
    return (inside.all(dim=2) & (visibility[..., 0] >= 1)).any(dim=1)


def first_of_each(value: Tensor, limit: int) -> Tensor:
    """(K,) values -> (K,) bool: the first ``limit`` places where each value stands.

    Sampled proposals come in random order, so the first ones of a person are a random choice.
    """
    order = value.argsort(stable=True)
    ordered = value[order]
    rank = torch.arange(len(value), device=value.device) - torch.searchsorted(ordered, ordered)
    chosen = torch.zeros(len(value), dtype=torch.bool, device=value.device)
    chosen[order] = rank < limit
    return chosen


def few_of_each(foreground: Instances, limit: int) -> Instances:
    """The first ``limit`` foreground proposals of each person of one image; 0: all of them."""
    if not limit or not foreground.has(MATCH):
        return foreground
    return foreground[first_of_each(foreground.get(MATCH), limit)]
