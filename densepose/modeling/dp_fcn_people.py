"""People going into and out of a DP-FCN, as ``Instances``.

Shapes: N people of all images together; boxes in px of the network's input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances, pairwise_iou

from densepose.structures.annotations import DensePoseAnnotations

# A box that overlaps an annotated person less is told nothing about it.
MIN_OVERLAP = 0.5


def with_annotations(people: Instances) -> Instances:
    """The same people, with empty ``gt_densepose`` if they have none."""
    if not people.has("gt_densepose"):
        people.gt_densepose = DensePoseAnnotations.empty(len(people)).to(
            people.gt_boxes.tensor.device
        )
    return people


def is_annotated(people: DensePoseAnnotations) -> Tensor:
    """(N,) bool: people with points or part masks."""
    return people.has_masks | (people.num_points > 0)


def annotations_of(
    boxes: Sequence[Tensor], annotated: Sequence[Instances | None]
) -> DensePoseAnnotations:
    """The annotations of the person that each box overlaps most, if by half; of all images."""
    found = []
    for own, people in zip(boxes, annotated, strict=True):
        empty = DensePoseAnnotations.empty(1).to(own.device)
        known = [empty]
        best = torch.zeros(len(own), dtype=torch.int64, device=own.device)
        if people is not None and people.has("gt_densepose") and len(people):
            known.append(people.gt_densepose)
            overlap, person = pairwise_iou(Boxes(own), people.gt_boxes).max(dim=1)
            best = torch.where(overlap >= MIN_OVERLAP, person + 1, best)
        matched = DensePoseAnnotations.cat(known)[best]
        frames = torch.where((best > 0)[:, None], matched.boxes_xyxy_px, own)
        found.append(replace(matched, boxes_xyxy_px=frames, dense=None))
    return DensePoseAnnotations.cat(found)


def detections(image_size: Sequence[int], boxes: Tensor, scores: Tensor) -> Instances:
    """(N, 4) boxes and (N,) scores as detections of class 0."""
    classes = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    return Instances(
        tuple(image_size), pred_boxes=Boxes(boxes), scores=scores, pred_classes=classes
    )


def as_detections(people: Instances) -> Instances:
    """Given people as detections, score 1 where they have none."""
    boxes = (people.pred_boxes if people.has("pred_boxes") else people.gt_boxes).tensor.clone()
    scores = people.scores if people.has("scores") else boxes.new_ones(len(boxes))
    return detections(people.image_size, boxes, scores)


def in_stored_size(
    instances: Instances, given: Mapping[str, Any], size: Sequence[int]
) -> Instances:
    """Detections in px of the stored image, whose size an input has as ``height`` and ``width``."""
    return detector_postprocess(
        instances, given.get("height", size[0]), given.get("width", size[1])
    )
