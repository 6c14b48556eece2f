"""detectron2's keypoint losses and predictions, for maps in any memory layout.

Both reshape the maps by ``view``, which needs rows next to one another; layers that run
channels-last put channels there.

Shapes: N boxes of all images together, K keypoints, S = side of the full heatmaps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detectron2.modeling.roi_heads.keypoint_head import keypoint_rcnn_inference, keypoint_rcnn_loss
from detectron2.structures import Instances


def keypoint_losses(
    head: nn.Module, heatmaps: Tensor, matched: list[Instances]
) -> dict[str, Tensor]:
    """``loss_keypoint`` with the head's weight and normaliser.

    Args:
        head: detectron2's BaseKeypointRCNNHead.
        heatmaps: (N, K, S, S) logits of all images' proposals.
        matched: of each image, with ``proposal_boxes`` and ``gt_keypoints``.
    """
    normalizer = head.loss_normalizer
    normalizer = None if normalizer == "visible" else len(matched) * normalizer
    loss = keypoint_rcnn_loss(_row_by_row(heatmaps), matched, normalizer=normalizer)
    return {"loss_keypoint": loss * head.loss_weight}


def attach_keypoints(heatmaps: Tensor, instances: list[Instances]) -> None:
    """Give the detections of each image ``pred_keypoints`` (x, y in px, score) and heatmaps."""
    keypoint_rcnn_inference(_row_by_row(heatmaps), instances)


def _row_by_row(heatmaps: Tensor) -> Tensor:
    wide = torch.promote_types(heatmaps.dtype, torch.float32)
    return heatmaps.to(wide).contiguous()


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
