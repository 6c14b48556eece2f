"""ROI heads whose branches refine one another in a cascade.

Shapes: K foreground proposals of one image, T branches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import StandardROIHeads
from detectron2.modeling.roi_heads import (
    KRCNNConvDeconvUpsampleHead,
    MaskRCNNConvUpsampleHead,
    select_foreground_proposals,
)
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import get_event_storage

from .cascade import BranchShape, Cascade, CascadeStage
from .cascade_tasks import TASKS, CascadeTask
from .matches import MATCH, first_of_each
from .registry import DENSEPOSE_PREDICTOR_REGISTRY
from .roi_heads import DensePoseROIHeads


class CascadeDensePoseROIHeads(DensePoseROIHeads):
    """Later stages behind the DensePose, mask and keypoint branches, see ``cascade.py``.

    Losses of the first stage keep their names, those of stage s end in ``_stage<s>``. Without a
    cascade this is DensePoseROIHeads; with one, its weights start the first stage.
    """

    @configurable
    def __init__(
        self,
        *,
        cascade: Cascade | None = None,
        cascade_rois_per_person: int = 0,
        **densepose_arguments: Any,
    ) -> None:
        """Keep the parts.

        Args:
            cascade: the later stages; ``None``: there is one stage only.
            cascade_rois_per_person: proposals of one person that train the cascade at most; 0:
                all.
            densepose_arguments: of DensePoseROIHeads.
        """
        super().__init__(**densepose_arguments)
        self.cascade = cascade
        self.cascade_rois_per_person = cascade_rois_per_person

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """Arguments of ``__init__`` from the config and the pyramid's shapes."""
        arguments = super().from_config(cfg, input_shape)
        config = cfg.MODEL.ROI_CASCADE
        if config.NUM_STAGES > 1:
            arguments["cascade"] = _cascade_from_config(cfg, arguments)
            arguments["cascade_rois_per_person"] = config.ROIS_PER_PERSON
        return arguments

    def losses_of_matches(
        self, features: Mapping[str, Tensor], sampled: list[Instances], targets: list[Instances]
    ) -> dict[str, Tensor]:
        """Losses of all stages of the branches that cascade, and of a DensePose branch beside."""
        if self.cascade is None:
            return super().losses_of_matches(features, sampled, targets)
        beside = not self._cascades("densepose")
        losses = super().losses_of_matches(features, sampled, targets) if beside else {}
        shared = self._shared_proposals(sampled, targets)
        stages = self.cascade(self, features, shared.boxes)
        for number, outputs in enumerate(stages, start=1):
            weight = self.cascade.stage_weights[number - 1]
            suffix = f"_stage{number}" if number > 1 else ""
            with get_event_storage().name_scope(suffix.lstrip("_")):
                for task in self.cascade.tasks:
                    output = outputs[task.name][shared.rows[task.name]]
                    of_task = task.losses(self, shared.matched[task.name], output)
                    losses.update({name + suffix: weight * x for name, x in of_task.items()})
        return losses

    def forward_with_given_boxes(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> list[Instances]:
        """See DensePoseROIHeads; predictions are those of the cascade's ``test_stage``."""
        # Test-time augmentation switches all branches off to get the boxes alone.
        if not any(self._cascades(name) and on for name, on in self._switches().items()):
            return super().forward_with_given_boxes(features, instances)
        if self._cascades("densepose"):
            instances = StandardROIHeads.forward_with_given_boxes(self, features, instances)
        else:
            instances = super().forward_with_given_boxes(features, instances)
        boxes = [image.pred_boxes for image in instances]
        outputs = self.cascade(self, features, boxes, self.cascade.test_stage)[-1]
        for task in self.cascade.tasks:
            task.attach(self, instances, outputs[task.name])
        return instances

    def _cascades(self, name: str) -> bool:
        return self.cascade is not None and any(t.name == name for t in self.cascade.tasks)

    def _switches(self) -> dict[str, bool]:
        return {
            "densepose": self.densepose_on,
            "mask": self.mask_on,
            "keypoints": self.keypoint_on,
        }

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

    def _shared_proposals(
        self, sampled: list[Instances], targets: list[Instances]
    ) -> SharedProposals:
        tasks = self.cascade.tasks
        boxes: list[Boxes] = []
        rows: dict[str, list[Tensor]] = {task.name: [] for task in tasks}
        matched: dict[str, list[Instances]] = {task.name: [] for task in tasks}
        first = 0
        foreground, _ = select_foreground_proposals(sampled, self.num_classes)
        for image, target in zip(foreground, targets, strict=True):
            wanted = torch.stack([task.wanted(self, image, target) for task in tasks])
            person = image.get(MATCH) if image.has(MATCH) else wanted.new_zeros(0, dtype=torch.long)
            taken = taken_together(wanted, person, self.cascade_rois_per_person)
            position = first + taken.cumsum(0) - 1
            for task, of_task in zip(tasks, wanted & taken, strict=True):
                mine = of_task.nonzero().squeeze(1)
                rows[task.name].append(position[mine])
                matched[task.name].append(task.matched(self, image, mine, target))
            boxes.append(image.proposal_boxes[taken])
            first += len(boxes[-1])
        return SharedProposals(
            boxes, {name: torch.cat(each) for name, each in rows.items()}, matched
        )


@dataclass(frozen=True)
class SharedProposals:
    """Proposals that all branches look at, and which of them train which branch."""

    boxes: list[Boxes]  # of each image
    rows: dict[str, Tensor]  # branch -> int64 positions among the boxes of all images
    matched: dict[str, list[Instances]]  # branch -> for each image the proposals of ``rows``


def taken_together(wanted: Tensor, person: Tensor, limit: int) -> Tensor:
    """Which proposals all branches look at.

    Args:
        wanted: (T, K) bool, whether a branch would be trained by a proposal.
        person: (K,) matched person.
        limit: of proposals of each person, which then are of those that train the most branches
            alone: the others would cost all branches and teach few; 0: none.

    Returns:
        (K,) bool; never True where no branch wants the proposal.
    """
    votes = wanted.sum(dim=0)
    taken = votes > 0
    if not limit or len(person) == 0:
        return taken
    most = (votes * (person == person[:, None])).amax(dim=1)  # of the proposals of the same person
    best = (taken & (votes == most)).nonzero().squeeze(1)
    taken = torch.zeros_like(taken)
    taken[best[first_of_each(person[best], limit)]] = True
    return taken


def _cascade_from_config(cfg: CfgNode, arguments: Mapping[str, Any]) -> Cascade:
    """The later stages behind the branches that ``arguments`` of the ROI heads hold."""
    config = cfg.MODEL.ROI_CASCADE
    shapes = _branch_shapes(cfg, arguments)
    tasks = [task for task in TASKS if task.name in shapes and task.name in config.TASKS]
    channels = config.CHANNELS or cfg.MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM
    stages = []
    for number in range(2, config.NUM_STAGES + 1):
        branches = {task.name: shapes[task.name] for task in tasks}
        if number > 2:
            branches = {
                name: BranchShape(channels, shape.output_channels, shape.cells)
                for name, shape in branches.items()
            }
        stages.append(
            CascadeStage(
                branches,
                {task.name: _output_layers(cfg, task, channels) for task in tasks},
                channels=channels,
                shared_projections=config.SHARED_PROJECTIONS,
                output_cells=config.OUTPUT_CELLS,
                activation=config.ACTIVATION,
                conv_kernel=config.CONV_KERNEL,
                conv_dilation=config.CONV_DILATION,
            )
        )
    return Cascade(
        tasks,
        stages,
        refined=config.REFINED,
        gradient_through_outputs=config.GRADIENT_THROUGH_OUTPUTS,
        stage_weights=config.STAGE_WEIGHTS,
        test_stage=config.TEST_STAGE,
    )


def _branch_shapes(cfg: CfgNode, arguments: Mapping[str, Any]) -> dict[str, BranchShape]:
    """Of the branches that are on."""
    shapes = {}
    if cfg.MODEL.DENSEPOSE_ON:
        config = cfg.MODEL.ROI_DENSEPOSE_HEAD
        maps = config.NUM_COARSE_SEGM_CHANNELS + 3 * (1 + config.NUM_PATCHES)
        # With segmentation confidences the predictor up-samples by itself.
        cells = 2 * (config.UP_SCALE if config.SEGM_CONFIDENCE.ENABLED else 1)
        channels = arguments["densepose_head"].out_channels
        shapes["densepose"] = BranchShape(channels, maps, cells)
    if cfg.MODEL.MASK_ON:
        head = arguments["mask_head"]
        shapes["mask"] = BranchShape(head.deconv.in_channels, head.predictor.out_channels, 2)
    if cfg.MODEL.KEYPOINT_ON:
        last = arguments["keypoint_head"].score_lowres
        shapes["keypoints"] = BranchShape(last.in_channels, last.out_channels, 2)
    return shapes


def _output_layers(cfg: CfgNode, task: CascadeTask, channels: int) -> nn.Module:
    """Output layers of a later stage: those of the first one, on refined features."""
    if task.name == "densepose":
        name = cfg.MODEL.ROI_DENSEPOSE_HEAD.PREDICTOR_NAME
        return DENSEPOSE_PREDICTOR_REGISTRY.get(name)(cfg, channels)
    if task.name == "mask":
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
