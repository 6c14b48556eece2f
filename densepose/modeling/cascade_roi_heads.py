"""ROI heads whose branches refine one another in a cascade.

Shapes: N boxes of all images together, R = side of the head features, K foreground proposals of one
image, T branches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import StandardROIHeads
from detectron2.modeling.roi_heads import (
    KRCNNConvDeconvUpsampleHead,
    MaskRCNNConvUpsampleHead,
    select_foreground_proposals,
)
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_inference, mask_rcnn_loss
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import get_event_storage

from densepose.structures.chart_output import ChartOutput

from .cascade import BranchShape, CascadeStage
from .keypoints import attach_keypoints, has_visible_keypoint, keypoint_losses
from .losses.targets import MATCH
from .registry import DENSEPOSE_PREDICTOR_REGISTRY
from .roi_heads import DensePoseROIHeads, attach_densepose, first_of_each

Outputs = dict[str, Tensor | ChartOutput]  # by branch


# The branches as the cascade sees them. They hold no layers: these stay in the ROI heads, so that
# names of parameters are those of a model without a cascade. ``layers`` are those of the first
# stage (the head's own) or of the second.


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

    @property
    def layers(self) -> nn.Module:
        return self.head

    def features(self, levels: Mapping[str, Tensor], boxes: list[Boxes]) -> Tensor:
        names = getattr(self.heads, f"{self.name}_in_features")
        maps = getattr(self.heads, f"{self.name}_pooler")([levels[name] for name in names], boxes)
        return self._split(self.head)[0](maps)

    def output(self, layers: nn.Module, features: Tensor) -> Tensor:
        return self._split(layers)[1](features)

    def _split(self, head: nn.Module) -> tuple[nn.Sequential, nn.Sequential]:
        """Layers of detectron2's head before its output layers, and these."""
        names = [name for name, _ in head.named_children()]
        first = names.index(self.first_output_layer)
        return nn.Sequential(*list(head)[:first]), nn.Sequential(*list(head)[first:])

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


class CascadeDensePoseROIHeads(DensePoseROIHeads):
    """A second stage behind the DensePose, mask and keypoint branches, see ``cascade.py``.

    Losses of the first stage keep their names, those of the second end in ``_stage2``. Weights of
    DensePoseROIHeads start the first stage.
    """

    @configurable
    def __init__(
        self,
        *,
        cascade_stage: CascadeStage,
        refined: str = "add",
        test_stage: int = 0,
        cascade_rois_per_person: int = 0,
        **densepose_arguments: Any,
    ) -> None:
        """Keep the parts.

        Args:
            cascade_stage: the second stage; its ``mixing`` names the branches that cascade.
            refined: "add": an output layer gives what is added to the output of the first stage,
                and is 0 in the beginning; "replace": it gives the refined output.
            test_stage: the stage whose outputs are the detections'; 0: the last.
            cascade_rois_per_person: proposals of one instance that train the cascade at most; 0:
                all.
            densepose_arguments: of DensePoseROIHeads.
        """
        super().__init__(**densepose_arguments)
        self.test_stage = test_stage
        self.cascade_rois_per_person = cascade_rois_per_person
        self.refined = refined
        self.cascade = nn.ModuleDict({"stage2": cascade_stage})  # the name in checkpoints
        if refined == "add":
            for name, layers in cascade_stage.output_layers.items():
                for parameter in BRANCHES[name].last_layer(layers).parameters():
                    nn.init.zeros_(parameter)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """Arguments of ``__init__`` from the config and the pyramid's shapes."""
        arguments = super().from_config(cfg, input_shape)
        config = cfg.MODEL.ROI_CASCADE
        shapes = _branch_shapes(cfg, arguments)
        names = [name for name in BRANCHES if name in shapes and name in config.TASKS]
        channels = config.CHANNELS or cfg.MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM
        arguments["cascade_stage"] = CascadeStage(
            {name: shapes[name] for name in names},
            {name: _output_layers(cfg, name, channels) for name in names},
            channels=channels,
            conv_kernel=config.CONV_KERNEL,
            conv_dilation=config.CONV_DILATION,
        )
        arguments["refined"] = config.REFINED
        arguments["test_stage"] = config.TEST_STAGE
        arguments["cascade_rois_per_person"] = config.ROIS_PER_PERSON
        return arguments

    def losses_of_matches(
        self, features: Mapping[str, Tensor], sampled: list[Instances]
    ) -> dict[str, Tensor]:
        """Losses of both stages of the branches that cascade, and of a DensePose branch beside."""
        beside = not self._cascades("densepose")
        losses = super().losses_of_matches(features, sampled) if beside else {}
        proposals = self._shared_proposals(sampled)
        stages = self._stages(features, proposals.boxes, 2)
        for suffix, outputs in zip(("", "_stage2"), stages, strict=True):
            with get_event_storage().name_scope(suffix.lstrip("_")):
                for name, branch in self._branches().items():
                    output = outputs[name][proposals.rows[name]]
                    found = branch.losses(proposals.matched[name], output)
                    losses.update({key + suffix: value for key, value in found.items()})
        return losses

    def forward_with_given_boxes(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> list[Instances]:
        """See DensePoseROIHeads; predictions are those of the ``test_stage``."""
        switches = zip(BRANCHES, (self.densepose_on, self.mask_on, self.keypoint_on), strict=True)
        # Test-time augmentation switches all branches off to get the boxes alone.
        if not any(self._cascades(name) and on for name, on in switches):
            return super().forward_with_given_boxes(features, instances)
        if self._cascades("densepose"):
            instances = StandardROIHeads.forward_with_given_boxes(self, features, instances)
        else:
            instances = super().forward_with_given_boxes(features, instances)
        boxes = [image.pred_boxes for image in instances]
        outputs = self._stages(features, boxes, self.test_stage or 2)[-1]
        for name, branch in self._branches().items():
            branch.attach(instances, outputs[name])
        return instances

    def _cascades(self, name: str) -> bool:
        return name in self.cascade["stage2"].mixing

    def _branches(self) -> dict[str, Any]:
        return {name: kind(self) for name, kind in BRANCHES.items() if self._cascades(name)}

    def _stages(
        self, levels: Mapping[str, Tensor], boxes: list[Boxes], num_stages: int
    ) -> list[Outputs]:
        """Outputs of the first stages for the boxes of all images."""
        branches = self._branches()
        features = {name: branch.features(levels, boxes) for name, branch in branches.items()}
        first = {name: b.output(b.layers, features[name]) for name, b in branches.items()}
        if num_stages == 1:
            return [first]
        stage = self.cascade["stage2"]
        maps = {name: branch.maps(first[name]) for name, branch in branches.items()}
        features = stage(features, maps)
        second = {
            name: branch.output(stage.output_layers[name], features[name])
            for name, branch in branches.items()
        }
        if self.refined == "add":
            second = {name: first[name] + output for name, output in second.items()}
        return [first, second]

    def _forward_mask(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> dict[str, Tensor] | list[Instances]:
        if self._cascades("mask"):
            return {} if self.training else instances
        return super()._forward_mask(features, instances)

    def _forward_keypoint(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> dict[str, Tensor] | list[Instances]:
        if self._cascades("keypoints"):
            return {} if self.training else instances
        return super()._forward_keypoint(features, instances)

    def _shared_proposals(self, sampled: list[Instances]) -> SharedProposals:
        branches = self._branches()
        boxes: list[Boxes] = []
        rows: dict[str, list[Tensor]] = {name: [] for name in branches}
        matched: dict[str, list[Instances]] = {name: [] for name in branches}
        first = 0
        foreground, _ = select_foreground_proposals(sampled, self.num_classes)
        for image in foreground:
            device = image.proposal_boxes.device
            wanted = torch.zeros(len(branches), len(image), dtype=torch.bool, device=device)
            for of_branch, branch in zip(wanted, branches.values(), strict=True):
                of_branch[branch.rows(image)] = True
            match = image.get(MATCH) if image.has(MATCH) else wanted.new_zeros(0, dtype=torch.long)
            taken = taken_together(wanted, match, self.cascade_rois_per_person)
            position = first + taken.cumsum(0) - 1
            for name, of_branch in zip(branches, wanted & taken, strict=True):
                own = of_branch.nonzero().squeeze(1)
                rows[name].append(position[own])
                matched[name].append(image[own])
            boxes.append(image.proposal_boxes[taken.nonzero().squeeze(1)])
            first += len(boxes[-1])
        return SharedProposals(
            boxes, {name: torch.cat(each) for name, each in rows.items()}, matched
        )


@dataclass(frozen=True)
class SharedProposals:
    """Proposals that all branches see, and which of them train which branch."""

    boxes: list[Boxes]  # of each image
    rows: dict[str, Tensor]  # branch -> int64 positions among the boxes of all images
    matched: dict[str, list[Instances]]  # branch -> for each image the proposals of ``rows``


def taken_together(wanted: Tensor, match: Tensor, limit: int) -> Tensor:
    """Which proposals all branches see.

    Args:
        wanted: (T, K) bool, whether a branch would be trained by a proposal.
        match: (K,) matched instance.
        limit: of proposals of each instance, which then are of those that train the most branches
            alone: the others would cost all branches and teach few; 0: none.

    Returns:
        (K,) bool; never True where no branch wants the proposal.
    """
    votes = wanted.sum(dim=0)
    taken = votes > 0
    if not limit or len(match) == 0:
        return taken
    most = (votes * (match == match[:, None])).amax(dim=1)  # of proposals of the same instance
    best = (taken & (votes == most)).nonzero().squeeze(1)
    taken = torch.zeros_like(taken)
    taken[best[first_of_each(match[best], limit)]] = True
    return taken


def _branch_shapes(cfg: CfgNode, arguments: Mapping[str, Any]) -> dict[str, BranchShape]:
    """Of the branches that are on."""
    shapes = {}
    if cfg.MODEL.DENSEPOSE_ON:
        config = cfg.MODEL.ROI_DENSEPOSE_HEAD
        maps = config.NUM_COARSE_SEGM_CHANNELS + 3 * (1 + config.NUM_PATCHES)
        shapes["densepose"] = BranchShape(arguments["densepose_head"].out_channels, maps)
    if cfg.MODEL.MASK_ON:
        head = arguments["mask_head"]
        shapes["mask"] = BranchShape(head.deconv.in_channels, head.predictor.out_channels)
    if cfg.MODEL.KEYPOINT_ON:
        last = arguments["keypoint_head"].score_lowres
        shapes["keypoints"] = BranchShape(last.in_channels, last.out_channels)
    return shapes


def _output_layers(cfg: CfgNode, name: str, channels: int) -> nn.Module:
    """Output layers of the second stage: those of the first one, on refined features."""
    if name == "densepose":
        kind = cfg.MODEL.ROI_DENSEPOSE_HEAD.PREDICTOR_NAME
        return DENSEPOSE_PREDICTOR_REGISTRY.get(kind)(cfg, channels)
    if name == "mask":
        agnostic = cfg.MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK
        return MaskRCNNConvUpsampleHead(
            ShapeSpec(channels=channels),
            num_classes=1 if agnostic else cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            conv_dims=[cfg.MODEL.ROI_MASK_HEAD.CONV_DIM],
        )
    return KRCNNConvDeconvUpsampleHead(
        ShapeSpec(channels=channels),
        num_keypoints=cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS,
        conv_dims=(),
    )
