"""The three branches as the cascade sees them.

A task holds no layers: it finds them in the ROI heads at each call, so that names of parameters
are those of a model without a cascade.

Shapes: N boxes of all images together, R = side of the head features, K proposals of one image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.modeling.roi_heads.mask_head import mask_rcnn_inference, mask_rcnn_loss
from detectron2.structures import Boxes, Instances

from densepose.structures.chart_output import ChartOutput

from .keypoints import attach_keypoints, keypoint_losses
from .matches import has_visible_keypoint
from .roi_heads import attach_densepose

if TYPE_CHECKING:
    from .roi_heads import DensePoseROIHeads

Output = Tensor | ChartOutput
Losses = dict[str, Tensor]


class CascadeTask(ABC):
    """One branch: its layers, losses and detections."""

    name: ClassVar[str]

    @abstractmethod
    def features(
        self, heads: DensePoseROIHeads, levels: Mapping[str, Tensor], boxes: list[Boxes]
    ) -> Tensor:
        """Head features (N, channels, R, R) of the boxes of all images."""

    @abstractmethod
    def first_layers(self, heads: DensePoseROIHeads) -> nn.Module:
        """The module that holds the output layers of the first stage."""

    @abstractmethod
    def last_layers(self, layers: nn.Module) -> nn.Module:
        """The part of an output module that is linear and has no layer behind it."""

    @abstractmethod
    def output(self, layers: nn.Module, features: Tensor) -> Output:
        """Head features to the branch's output before any up-sampling."""

    @abstractmethod
    def wanted(self, heads: DensePoseROIHeads, foreground: Instances, target: Instances) -> Tensor:
        """(K,) bool: which foreground proposals of one image train the branch."""

    def matched(
        self, heads: DensePoseROIHeads, foreground: Instances, rows: Tensor, target: Instances
    ) -> Instances:
        """The proposals ``rows`` of one image with what the losses compare with."""
        return foreground[rows]

    @abstractmethod
    def losses(self, heads: DensePoseROIHeads, matched: list[Instances], output: Output) -> Losses:
        """Losses of the matched proposals of all images, under the names of a single stage."""

    @abstractmethod
    def attach(self, heads: DensePoseROIHeads, instances: list[Instances], output: Output) -> None:
        """Give the detections of all images their predictions."""

    def maps(self, heads: DensePoseROIHeads, output: Output) -> Tensor:
        """Everything the branch predicts, (N, channels, S, S)."""
        return output


class DensePoseTask(CascadeTask):
    """Coarse segmentation, parts, U and V."""

    name = "densepose"

    def features(
        self, heads: DensePoseROIHeads, levels: Mapping[str, Tensor], boxes: list[Boxes]
    ) -> Tensor:
        """See CascadeTask."""
        return heads.densepose_features(levels, boxes)

    def first_layers(self, heads: DensePoseROIHeads) -> nn.Module:
        """See CascadeTask."""
        return heads.densepose_predictor

    def last_layers(self, layers: nn.Module) -> nn.Module:
        """See CascadeTask."""
        return layers

    def output(self, layers: nn.Module, features: Tensor) -> ChartOutput:
        """See CascadeTask."""
        return layers(features)

    def maps(self, heads: DensePoseROIHeads, output: ChartOutput) -> Tensor:
        """See CascadeTask; without confidences, and without what is derived from the parts."""
        own = [output.coarse_logits] if heads.densepose_predictor.has_coarse else []
        return torch.cat([*own, output.part_logits, output.u, output.v], dim=1)

    def wanted(self, heads: DensePoseROIHeads, foreground: Instances, target: Instances) -> Tensor:
        """See CascadeTask."""
        rows = heads.densepose_rows(foreground, target)
        wanted = torch.zeros(len(foreground), dtype=torch.bool, device=rows.device)
        wanted[rows] = True
        return wanted

    def matched(
        self, heads: DensePoseROIHeads, foreground: Instances, rows: Tensor, target: Instances
    ) -> Instances:
        """See CascadeTask."""
        return heads.with_annotations(foreground, rows, target)

    def losses(
        self, heads: DensePoseROIHeads, matched: list[Instances], output: ChartOutput
    ) -> Losses:
        """See CascadeTask."""
        return heads.densepose_losses(matched, output)

    def attach(
        self, heads: DensePoseROIHeads, instances: list[Instances], output: ChartOutput
    ) -> None:
        """See CascadeTask."""
        attach_densepose(output, instances)


class MaskTask(CascadeTask):
    """Instance masks: logits of twice the side of the features."""

    name = "mask"

    def features(
        self, heads: DensePoseROIHeads, levels: Mapping[str, Tensor], boxes: list[Boxes]
    ) -> Tensor:
        """See CascadeTask."""
        pooled = heads.mask_pooler([levels[name] for name in heads.mask_in_features], boxes)
        return _before(heads.mask_head, "deconv", pooled)

    def first_layers(self, heads: DensePoseROIHeads) -> nn.Module:
        """See CascadeTask."""
        return heads.mask_head

    def last_layers(self, layers: nn.Module) -> nn.Module:
        """See CascadeTask."""
        return layers.predictor

    def output(self, layers: nn.Module, features: Tensor) -> Tensor:
        """See CascadeTask."""
        return _from(layers, "deconv", features)

    def wanted(self, heads: DensePoseROIHeads, foreground: Instances, target: Instances) -> Tensor:
        """See CascadeTask."""
        boxes = foreground.proposal_boxes
        return torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)

    def losses(self, heads: DensePoseROIHeads, matched: list[Instances], output: Tensor) -> Losses:
        """See CascadeTask."""
        head = heads.mask_head
        loss = mask_rcnn_loss(output.float(), matched, head.vis_period)
        return {"loss_mask": loss * head.loss_weight}

    def attach(self, heads: DensePoseROIHeads, instances: list[Instances], output: Tensor) -> None:
        """See CascadeTask."""
        mask_rcnn_inference(output, instances)


class KeypointTask(CascadeTask):
    """Keypoint heatmaps: logits of twice the side of the features, up-sampled once more."""

    name = "keypoints"

    def features(
        self, heads: DensePoseROIHeads, levels: Mapping[str, Tensor], boxes: list[Boxes]
    ) -> Tensor:
        """See CascadeTask."""
        pooled = heads.keypoint_pooler([levels[n] for n in heads.keypoint_in_features], boxes)
        return _before(heads.keypoint_head, "score_lowres", pooled)

    def first_layers(self, heads: DensePoseROIHeads) -> nn.Module:
        """See CascadeTask."""
        return heads.keypoint_head

    def last_layers(self, layers: nn.Module) -> nn.Module:
        """See CascadeTask."""
        return layers.score_lowres

    def output(self, layers: nn.Module, features: Tensor) -> Tensor:
        """See CascadeTask."""
        return _from(layers, "score_lowres", features)

    def wanted(self, heads: DensePoseROIHeads, foreground: Instances, target: Instances) -> Tensor:
        """See CascadeTask."""
        return has_visible_keypoint(foreground)

    def losses(self, heads: DensePoseROIHeads, matched: list[Instances], output: Tensor) -> Losses:
        """See CascadeTask."""
        head = heads.keypoint_head
        return keypoint_losses(head, _heatmaps(head, output), matched)

    def attach(self, heads: DensePoseROIHeads, instances: list[Instances], output: Tensor) -> None:
        """See CascadeTask."""
        attach_keypoints(_heatmaps(heads.keypoint_head, output), instances)


TASKS: tuple[CascadeTask, ...] = (DensePoseTask(), MaskTask(), KeypointTask())


def _heatmaps(head: nn.Module, logits: Tensor) -> Tensor:
    return F.interpolate(logits, scale_factor=head.up_scale, mode="bilinear", align_corners=False)


def _before(head: nn.Module, first_output_layer: str, features: Tensor) -> Tensor:
    """What detectron2's head hands to its first output layer."""
    for name, layer in head.named_children():
        if name == first_output_layer:
            break
        features = layer(features)
    return features


def _from(head: nn.Module, first_output_layer: str, features: Tensor) -> Tensor:
    """The output layers of detectron2's head alone."""
    layers = list(head.named_children())
    first = [name for name, _ in layers].index(first_output_layer)
    for _, layer in layers[first:]:
        features = layer(features)
    return features
