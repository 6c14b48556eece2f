"""The box head refines the boxes it has found.

This is Cascade R-CNN (Cai, Vasconcelos, 2018) with one head for all stages. A proposal of the RPN
overlaps with its instance somehow. A box that the head has found overlaps well, and from there it
can be found more exactly. The weights are those of a model without refinement.

Shapes: R proposals of one image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from detectron2.structures.boxes import matched_pairwise_iou
from detectron2.utils.events import get_event_storage

if TYPE_CHECKING:
    from .roi_heads import DensePoseROIHeads

# A box that overlaps that much with its person shows it, as for detectron2's proposals.
FOREGROUND_IOU = 0.5


def forward_box(
    heads: DensePoseROIHeads, features: Mapping[str, Tensor], proposals: list[Instances]
) -> dict[str, Tensor] | list[Instances]:
    """The box branch and ``heads.box_refinements`` further stages.

    Returns:
        In training the losses of all stages (``loss_cls``, ``loss_cls_stage2``, ...), else the
        detections of the last one.
    """
    levels = [features[name] for name in heads.box_in_features]
    losses: dict[str, Tensor] = {}
    for stage in range(1, heads.box_refinements + 2):
        pooled = heads.box_pooler(levels, [image.proposal_boxes for image in proposals])
        predictions = heads.box_predictor(heads.box_head(pooled))
        if heads.training:
            suffix = f"_stage{stage}" if stage > 1 else ""
            with get_event_storage().name_scope(suffix.lstrip("_")):
                found = heads.box_predictor.losses(predictions, proposals)
            losses.update({name + suffix: value for name, value in found.items()})
        if stage <= heads.box_refinements:
            proposals = refined_proposals(heads.box_predictor, predictions, proposals)
    if heads.training:
        return losses
    return heads.box_predictor.inference(predictions, proposals)[0]


@torch.no_grad()
def refined_proposals(
    predictor: FastRCNNOutputLayers,
    predictions: tuple[Tensor, Tensor],
    proposals: Sequence[Instances],
) -> list[Instances]:
    """The boxes that were found, as proposals; labelled again where the old ones are labelled.

    A labelled proposal stays with its person and is foreground if it overlaps with it now. Where
    there are several classes, background that has become foreground is skipped: the class
    of its instance is unknown.
    """
    boxes = predictor.predict_boxes(predictions, proposals)
    scores = predictor.predict_probs(predictions, proposals)
    refined = []
    for image, of_image, score in zip(proposals, boxes, scores, strict=True):
        # One box for each class, or one for all.
        choices = of_image.view(len(image), -1, 4)
        best = score[:, :-1].argmax(dim=1).clamp(max=max(choices.shape[1] - 1, 0))
        new = Instances(image.image_size)
        new.proposal_boxes = Boxes(choices[torch.arange(len(image)), best].detach())
        new.proposal_boxes.clip(image.image_size)
        if image.has("gt_classes"):
            new = _labelled(new, image, predictor.num_classes)
        refined.append(new)
    return refined


def _labelled(new: Instances, before: Instances, background: int) -> Instances:
    """Labels of the proposals ``before`` for those that became of them."""
    new.gt_classes = torch.full_like(before.gt_classes, background)
    if not before.has("gt_boxes"):  # the image shows no instance
        return new
    new.gt_boxes = before.gt_boxes
    is_foreground = matched_pairwise_iou(new.gt_boxes, new.proposal_boxes) >= FOREGROUND_IOU
    was_foreground = before.gt_classes < background
    known = torch.zeros_like(before.gt_classes) if background == 1 else before.gt_classes
    new.gt_classes = torch.where(is_foreground, known, new.gt_classes)
    return new[was_foreground | ~is_foreground] if background > 1 else new
