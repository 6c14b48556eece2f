"""The three branches as the cascade sees them.

A branch holds no layers: it finds them in the ROI heads, so that names of parameters are those of a
model without a cascade. ``layers`` are those of the first stage (the head's own) or of the second.

Shapes: N boxes of all images together, R = side of the head features, K proposals of one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

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


class DensePoseBranch:
    """Coarse segmentation, parts, U and V."""

    name = "densepose"

    def __init__(self, heads: DensePoseROIHeads) -> None:
        self.heads = heads

    @property
    def layers(self) -> nn.Module:
        """The output layers of the first stage."""
        return self.heads.densepose_predictor

    def features(self, levels: Mapping[str, Tensor], boxes: list[Boxes]) -> Tensor:
        """Head features (N, channels, R, R) of the boxes of all images."""
        return self.heads.densepose_features(levels, boxes)

    def output(self, layers: nn.Module, features: Tensor) -> ChartOutput:
        """Head features to the branch's output before any up-sampling."""
        return layers(features)

    def maps(self, output: ChartOutput) -> Tensor:
        """The output as (N, channels, S, S), without confidences and what is derived from parts."""
        own = [output.coarse_logits] if self.heads.densepose_predictor.has_coarse else []
        return torch.cat([*own, output.part_logits, output.u, output.v], dim=1)

    def rows(self, foreground: Instances) -> Tensor:
        """Indices of the foreground proposals of one image that train the branch."""
        return self.heads.densepose_rows(foreground)

    def losses(self, matched: list[Instances], output: ChartOutput) -> dict[str, Tensor]:
        """Losses of the matched proposals of all images, under the names of a single stage."""
        return self.heads.densepose_losses(matched, output)

    def attach(self, instances: list[Instances], output: ChartOutput) -> None:
        """Give the detections of all images their predictions."""
        attach_densepose(output, instances)

    @staticmethod
    def last_layer(layers: nn.Module) -> nn.Module:
        """The part of ``layers`` that is linear and has no layer behind it."""
        return layers


class MaskBranch:
    """Instance masks: logits of twice the side of the features. Methods as of DensePoseBranch."""

    name = "mask"
    first_output_layer = "deconv"

    def __init__(self, heads: DensePoseROIHeads) -> None:
        self.heads = heads
        self.head = getattr(heads, f"{self.name}_head")
        output_layer_index(self.head, self.first_output_layer)  # refuses other heads

    @property
    def layers(self) -> nn.Module:
        return self.head

    def features(self, levels: Mapping[str, Tensor], boxes: list[Boxes]) -> Tensor:
        names = getattr(self.heads, f"{self.name}_in_features")
        maps = getattr(self.heads, f"{self.name}_pooler")([levels[name] for name in names], boxes)
        for layer in list(self.head)[: output_layer_index(self.head, self.first_output_layer)]:
            maps = layer(maps)
        return maps

    def output(self, layers: nn.Module, features: Tensor) -> Tensor:
        for layer in list(layers)[output_layer_index(layers, self.first_output_layer) :]:
            features = layer(features)
        return features

    def maps(self, output: Tensor) -> Tensor:
        return output

    def rows(self, foreground: Instances) -> Tensor:
        return torch.arange(len(foreground), device=foreground.proposal_boxes.device)

    def losses(self, matched: list[Instances], output: Tensor) -> dict[str, Tensor]:
        loss = mask_rcnn_loss(output.float(), matched, self.head.vis_period)
        return {"loss_mask": loss * self.head.loss_weight}

    def attach(self, instances: list[Instances], output: Tensor) -> None:
        mask_rcnn_inference(output, instances)

    @staticmethod
    def last_layer(layers: nn.Module) -> nn.Module:
        return layers.predictor


class KeypointBranch(MaskBranch):
    """Keypoint heatmaps: logits of twice the side of the features, up-sampled once more."""

    name = "keypoint"
    first_output_layer = "score_lowres"

    def rows(self, foreground: Instances) -> Tensor:
        return has_visible_keypoint(foreground).nonzero()[:, 0]

    def losses(self, matched: list[Instances], output: Tensor) -> dict[str, Tensor]:
        return keypoint_losses(self.head, self._heatmaps(output), matched)

    def attach(self, instances: list[Instances], output: Tensor) -> None:
        attach_keypoints(self._heatmaps(output), instances)

    def _heatmaps(self, logits: Tensor) -> Tensor:
        scale = self.head.up_scale
        return F.interpolate(logits, scale_factor=scale, mode="bilinear", align_corners=False)

    @staticmethod
    def last_layer(layers: nn.Module) -> nn.Module:
        return layers.score_lowres


# By the names in MODEL.ROI_CASCADE.TASKS and in parameters.
BRANCHES = {"densepose": DensePoseBranch, "mask": MaskBranch, "keypoints": KeypointBranch}


def output_layer_index(head: nn.Module, name: str) -> int:
    """Position of the first output layer among the layers of detectron2's head.

    Raises:
        ValueError: the head is no sequence of layers, or has no layer of this name.
    """
    names = [name for name, _ in head.named_children()]
    if not isinstance(head, nn.Sequential) or name not in names:
        raise ValueError(
            f"a cascade splits a head in front of its layer {name!r}, but {type(head).__name__} has"
            f" {', '.join(names) or 'no layers'}; use detectron2's MaskRCNNConvUpsampleHead and"
            " KRCNNConvDeconvUpsampleHead, or take the branch out of MODEL.ROI_CASCADE.TASKS"
        )
    return names.index(name)
