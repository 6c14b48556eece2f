"""detectron2's standard heads (box, mask, keypoints) with a DensePose branch beside them.

Shapes: B images, N proposals or detections of all images together, R = side of the pooled features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import StandardROIHeads
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import select_foreground_proposals
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.structures.boxes import matched_pairwise_iou

from densepose.structures.chart_output import ChartOutput

from .box_refinement import forward_box
from .decoder import Decoder
from .keypoints import attach_keypoints, has_visible_keypoint, keypoint_losses
from .losses.targets import MATCH, indexed_target
from .registry import (
    DENSEPOSE_LOSS_REGISTRY,
    DENSEPOSE_PREDICTOR_REGISTRY,
    ROI_DENSEPOSE_HEAD_REGISTRY,
)


class DensePoseROIHeads(StandardROIHeads):
    """Adds ``pred_densepose`` (a ChartOutput) to detections and its losses to training."""

    @configurable
    def __init__(
        self,
        *,
        densepose_in_features: Sequence[str] | None = None,
        densepose_pooler: ROIPooler | None = None,
        densepose_head: nn.Module | None = None,
        densepose_predictor: nn.Module | None = None,
        densepose_losses: Callable[[list[Instances], ChartOutput], dict[str, Tensor]] | None = None,
        decoder: Decoder | None = None,
        fg_iou_threshold: float = 0.7,
        coarse_by_masks: bool = False,
        rois_per_person: int = 0,
        branch_rois_per_person: int = 0,
        box_refinements: int = 0,
        **standard_arguments: Any,
    ) -> None:
        """Keep the parts of the branch.

        Args:
            densepose_in_features: pyramid levels of the branch; ``None`` switches the branch off.
            densepose_pooler: of the levels, or of the decoder's map.
            densepose_head: pooled features to head features.
            densepose_predictor: head features to ChartOutput.
            densepose_losses: matched proposals and their ChartOutput to losses.
            decoder: merges the levels before pooling; ``None`` pools from the levels.
            fg_iou_threshold: proposals with a larger overlap with their person train the branch.
            coarse_by_masks: instances with a mask but without DensePose annotation train
                the branch too.
            rois_per_person: proposals of one person that train the branch at most; 0: all.
            branch_rois_per_person: the same of mask and keypoint branches.
            box_refinements: how often the box head refines the boxes it has found.
            standard_arguments: of StandardROIHeads.
        """
        super().__init__(**standard_arguments)
        self.box_refinements = box_refinements
        self.branch_rois_per_person = branch_rois_per_person
        self.densepose_on = densepose_in_features is not None
        if not self.densepose_on:
            return
        self.densepose_in_features = list(densepose_in_features)
        self.decoder = decoder
        self.densepose_pooler = densepose_pooler
        self.densepose_head = densepose_head
        self.densepose_predictor = densepose_predictor
        self.densepose_losses = densepose_losses
        self.fg_iou_threshold = fg_iou_threshold
        self.coarse_by_masks = coarse_by_masks
        self.rois_per_person = rois_per_person

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """Arguments of ``__init__`` from the config and the pyramid's shapes."""
        arguments = super().from_config(cfg, input_shape)
        arguments["box_refinements"] = cfg.MODEL.ROI_BOX_HEAD.REFINEMENTS
        arguments["branch_rois_per_person"] = cfg.MODEL.ROI_HEADS.BRANCH_ROIS_PER_PERSON
        if cfg.MODEL.DENSEPOSE_ON:
            arguments.update(cls._init_densepose_head(cfg, input_shape))
        return arguments

    @classmethod
    def _init_densepose_head(
        cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]
    ) -> dict[str, Any]:
        config = cfg.MODEL.ROI_DENSEPOSE_HEAD
        levels = cfg.MODEL.ROI_HEADS.IN_FEATURES
        decoder = Decoder(cfg, input_shape) if config.DECODER_ON else None
        pooled_levels = levels[:1] if decoder else levels
        pooler = ROIPooler(
            output_size=config.POOLER_RESOLUTION,
            scales=tuple(1.0 / input_shape[name].stride for name in pooled_levels),
            sampling_ratio=config.POOLER_SAMPLING_RATIO,
            pooler_type=config.POOLER_TYPE,
        )
        in_channels = decoder.out_channels if decoder else input_shape[levels[0]].channels
        head = ROI_DENSEPOSE_HEAD_REGISTRY.get(config.NAME)(cfg, in_channels)
        return {
            "densepose_in_features": levels,
            "densepose_pooler": pooler,
            "decoder": decoder,
            "densepose_head": head,
            "densepose_predictor": DENSEPOSE_PREDICTOR_REGISTRY.get(config.PREDICTOR_NAME)(
                cfg, head.out_channels
            ),
            "densepose_losses": DENSEPOSE_LOSS_REGISTRY.get(config.LOSS_NAME)(cfg),
            "fg_iou_threshold": config.FG_IOU_THRESHOLD,
            "coarse_by_masks": config.COARSE_SEGM_TRAINED_BY_MASKS,
            "rois_per_person": config.ROIS_PER_PERSON,
        }

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """See ROIHeads.forward; in training the losses of the DensePose branch are added."""
        if not self.training:
            return super().forward(images, features, proposals, targets)
        targets = [indexed_target(target) for target in targets]
        sampled, losses = super().forward(images, features, proposals, targets)
        losses.update(self.losses_of_matches(features, sampled))
        return sampled, losses

    def _forward_box(
        self, features: dict[str, Tensor], proposals: list[Instances]
    ) -> dict[str, Tensor] | list[Instances]:
        if self.box_refinements:
            return forward_box(self, features, proposals)
        return super()._forward_box(features, proposals)

    def losses_of_matches(
        self, features: Mapping[str, Tensor], sampled: list[Instances]
    ) -> dict[str, Tensor]:
        """DensePose losses of all images together; none where the branch is off.

        Args:
            features: pyramid levels by name, (B, C, H_l, W_l).
            sampled: for each image the labelled proposals with ``proposal_boxes``, ``gt_classes``
                and, unless the image shows no instance, ``gt_boxes`` and ``gt_densepose``.
        """
        if not self.densepose_on:
            return {}
        foreground, _ = select_foreground_proposals(sampled, self.num_classes)
        matched = [image[self.densepose_rows(image)] for image in foreground]
        output = self._predict(features, [image.proposal_boxes for image in matched])
        return self.densepose_losses(matched, output)

    def forward_with_given_boxes(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> list[Instances]:
        """Predict everything that hangs on a box for the ``pred_boxes`` of each image.

        Returns:
            The same instances with ``pred_densepose`` (and ``pred_masks``, ``pred_keypoints``
            where these are on).
        """
        instances = super().forward_with_given_boxes(features, instances)
        if not self.densepose_on:
            return instances
        output = self._predict(features, [image.pred_boxes for image in instances])
        attach_densepose(output, instances)
        return instances

    def _forward_mask(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> dict[str, Tensor] | list[Instances]:
        if self.training and self.mask_on:
            instances = self._branch_proposals(instances)
        return super()._forward_mask(features, instances)

    def _forward_keypoint(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> dict[str, Tensor] | list[Instances]:
        """As StandardROIHeads does, also for a batch in which no keypoint is labelled."""
        if not self.keypoint_on:
            return super()._forward_keypoint(features, instances)
        if self.training:
            foreground = self._branch_proposals(instances)
            instances = [image[has_visible_keypoint(image).nonzero()[:, 0]] for image in foreground]
        boxes = [image.proposal_boxes if self.training else image.pred_boxes for image in instances]
        levels = [features[name] for name in self.keypoint_in_features]
        heatmaps = self.keypoint_head.layers(self.keypoint_pooler(levels, boxes))
        if self.training:
            return keypoint_losses(self.keypoint_head, heatmaps, instances)
        attach_keypoints(heatmaps, instances)
        return instances

    def _branch_proposals(self, sampled: list[Instances]) -> list[Instances]:
        """The foreground proposals of each image that train mask and keypoint branches."""
        foreground, _ = select_foreground_proposals(sampled, self.num_classes)
        return [few_of_each(image, self.branch_rois_per_person) for image in foreground]

    def densepose_rows(self, foreground: Instances) -> Tensor:
        """Indices of the foreground proposals of one image that train the DensePose branch."""
        boxes = foreground.proposal_boxes
        if not foreground.has(MATCH):  # the image shows no instance: there is no foreground
            return torch.arange(len(boxes), device=boxes.device)
        match = foreground.get(MATCH)
        keep = matched_pairwise_iou(foreground.gt_boxes, boxes) > self.fg_iou_threshold
        if not (self.coarse_by_masks and foreground.has("gt_masks")):
            keep = keep & foreground.gt_densepose.source.is_annotated[match]
        kept = keep.nonzero().squeeze(1)
        if not self.rois_per_person:
            return kept
        return kept[first_of_each(match[kept], self.rois_per_person)]

    def _predict(self, features: Mapping[str, Tensor], boxes: list[Boxes]) -> ChartOutput:
        """Maps of the boxes of all images, image after image; empty maps where there is no box."""
        return self.densepose_predictor(self.densepose_features(features, boxes))

    def densepose_features(self, features: Mapping[str, Tensor], boxes: list[Boxes]) -> Tensor:
        """What the predictor is given for the boxes of all images: (N, channels, R, R)."""
        levels = [features[name] for name in self.densepose_in_features]
        pooled = self.pool_levels(levels, boxes)
        if len(pooled) == 0 and self.training:
            # The pooler forgets where an empty result came from; every parameter takes part in
            # every step.
            sources = [*levels, *(self.decoder.parameters() if self.decoder is not None else ())]
            pooled = pooled + sum(source.flatten()[:0].sum() for source in sources)
        return self.densepose_head(pooled)

    def pool_levels(self, levels: list[Tensor], boxes: list[Boxes]) -> Tensor:
        """(N, C, R, R) features of the boxes, from the levels or from the map they merge into."""
        if self.decoder is not None:
            levels = [self.decoder(levels)]
        return self.densepose_pooler(levels, boxes)


def attach_densepose(output: ChartOutput, instances: list[Instances]) -> None:
    """Give each image its part of the output of all images, as ``pred_densepose``."""
    first = 0
    for image in instances:
        image.pred_densepose = output[first : first + len(image)]
        first += len(image)


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
