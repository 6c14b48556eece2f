"""Losses of a chart predictor: parts and UV at annotated points, coarse segmentation densely.

Shapes: N proposals, Q annotated points inside them, D coarse channels, Z = side of the full maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.structures import Instances

from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.chart_output import ChartOutput

from ..sampling import MapPositions, sample_all_channels, sample_channel
from .dense_pixels import (
    DensePixels,
    DenseWeights,
    background_nll,
    cell_weights,
    dense_pixels,
    dense_terms,
)
from .normalizer import shared_counts
from .region import region_nll
from .targets import PointTargets, coarse_targets, mask_targets, pack_matches, point_targets


class DensePoseChartLoss:
    """Cross-entropy of parts and of the coarse segmentation, smooth L1 of U and V.

    Keys of the result: loss_densepose_I, loss_densepose_S, loss_densepose_U, loss_densepose_V,
    with a region weight loss_densepose_R, with dense targets loss_densepose_dense_I, _dense_U and
    _dense_V, with a weight of their background _dense_B; always all of them, 0 and connected to
    the parameters where nothing is annotated.
    """

    @configurable
    def __init__(
        self,
        *,
        part_weight: float = 1.0,
        coarse_weight: float = 5.0,
        uv_weight: float = 0.01,
        uv_reduction: str = "sum",
        coarse_by_masks: bool = False,
        foreground_weight: float = 1.0,
        region_weight: float = 0.0,
        dense: DenseWeights | None = None,
    ) -> None:
        """Keep the weights.

        Args:
            part_weight: of the mean cross-entropy over points.
            coarse_weight: of the mean cross-entropy over pixels of the full maps.
            uv_weight: of the UV loss.
            uv_reduction: "sum" or "mean" over points.
            coarse_by_masks: coarse targets are instance masks instead of annotated part masks.
            foreground_weight: factor of the body's pixels in the coarse loss. At its optimum,
                log-odds of the body are raised by the logarithm of this.
            region_weight: of the mean, over pixels with an annotated region, of ``region_nll``.
            dense: of inpainted annotations; None uses none.
        """
        self.part_weight = part_weight
        self.coarse_weight = coarse_weight
        self.uv_weight = uv_weight
        self.uv_reduction = uv_reduction
        self.coarse_by_masks = coarse_by_masks
        self.foreground_weight = foreground_weight
        self.region_weight = region_weight
        self.dense = dense

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments of ``__init__`` from MODEL.ROI_DENSEPOSE_HEAD."""
        head = cfg.MODEL.ROI_DENSEPOSE_HEAD
        return {
            "part_weight": head.PART_WEIGHTS,
            "coarse_weight": head.INDEX_WEIGHTS,
            "uv_weight": head.POINT_REGRESSION_WEIGHTS,
            "uv_reduction": head.UV_LOSS_REDUCTION,
            "coarse_by_masks": head.COARSE_SEGM_TRAINED_BY_MASKS,
            "foreground_weight": head.FOREGROUND_WEIGHT,
            "region_weight": head.REGION_WEIGHT,
            "dense": DenseWeights(
                head.INPAINTED.PART_WEIGHT,
                head.INPAINTED.UV_WEIGHT,
                head.INPAINTED.POINTS_WEIGHT,
                head.INPAINTED.CONFIDENCE_POWER,
                head.INPAINTED.PART_BALANCE,
                head.INPAINTED.BACKGROUND_WEIGHT,
            )
            if cfg.DATASETS.INPAINTED
            else None,
        }

    def __call__(self, proposals: Sequence[Instances], output: ChartOutput) -> dict[str, Tensor]:
        """Losses of all images together.

        Args:
            proposals: of each image, with ``proposal_boxes``, ``gt_densepose`` (the matched
                people) and, for ``coarse_by_masks``, ``gt_masks``. At least one image; an image
                may have no proposal.
            output: of all proposals, image after image.

        Returns:
            Scalars, float32 or wider.
        """
        boxes, people = pack_matches(proposals)
        coarse = self._coarse_losses(output, proposals, boxes, people)
        return self.losses(output, boxes, people, coarse)

    def losses(
        self,
        output: ChartOutput,
        boxes_xyxy_px: Tensor,
        people: DensePoseAnnotations,
        coarse: Tensor,
        map_of_person: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The weighted sums of all terms.

        Args:
            output: K maps, square or not.
            boxes_xyxy_px: (K, 4) image px that the maps cover.
            people: N people.
            coarse: any shape, cross-entropy of the coarse segmentation at each pixel.
            map_of_person: (N,) map of each person; left out where each person has its own.
        """
        side, upscale = tuple(output.part_logits.shape[2:]), output.upscale
        points = point_targets(boxes_xyxy_px, people, side, upscale, map_of_person)
        part = self._part_losses(output, points)
        uv = self._uv_losses(output, points)
        region = self._region_losses(output, boxes_xyxy_px, people, map_of_person)
        cells = self._dense_cells(output, boxes_xyxy_px, people, map_of_person)
        dense = self.dense or DenseWeights()
        cell_weight = cell_weights(cells, dense.confidence_power, dense.part_balance)
        num_uv = len(next(iter(uv.values())))
        outside = part.new_zeros(0)
        if dense.background and map_of_person is None:
            outside = background_nll(output, boxes_xyxy_px, people)
        sizes = [len(part), num_uv, coarse.numel(), len(region), len(outside)]
        sizes = torch.tensor(sizes, device=part.device, dtype=torch.float32)
        counts = shared_counts(torch.cat([sizes, cell_weight.sum()[None]]))
        per_point = counts[1] if self.uv_reduction == "mean" else 1.0
        share = dense.points
        losses = {
            "loss_densepose_I": part.sum() / counts[0] * (self.part_weight * share),
            "loss_densepose_S": coarse.sum() / counts[2] * self.coarse_weight,
            **{n: values.sum() / per_point * (self.uv_weight * share) for n, values in uv.items()},
        }
        if self.region_weight:
            losses["loss_densepose_R"] = region.sum() / counts[3] * self.region_weight
        if self.dense is not None:
            for name, values in dense_terms(output, cells).items():
                weight = dense.part if name.endswith("I") else dense.uv
                losses[name] = (values * cell_weight).sum() / counts[5] * weight
            if dense.background and map_of_person is None:
                losses["loss_densepose_dense_B"] = outside.sum() / counts[4] * dense.background
        return losses

    def _dense_cells(
        self,
        output: ChartOutput,
        boxes_xyxy_px: Tensor,
        people: DensePoseAnnotations,
        map_of_person: Tensor | None,
    ) -> DensePixels:
        if self.dense is None:
            people = replace(people, dense=None)
        side = tuple(output.part_logits.shape[2:])
        return dense_pixels(boxes_xyxy_px, people, side, output.upscale, map_of_person)

    def _part_losses(self, output: ChartOutput, points: PointTargets) -> Tensor:
        """(Q,) cross-entropy of the part at each point."""
        logits = sample_all_channels(output.part_logits, points.at)
        return F.cross_entropy(logits, points.part, reduction="none")

    def _uv_losses(self, output: ChartOutput, points: PointTargets) -> dict[str, Tensor]:
        """Loss of each foreground point by name."""
        on_body = foreground(points)
        u = sample_channel(output.u, on_body.part, on_body.at)
        v = sample_channel(output.v, on_body.part, on_body.at)
        return {
            "loss_densepose_U": F.smooth_l1_loss(u, on_body.uv[:, 0], reduction="none"),
            "loss_densepose_V": F.smooth_l1_loss(v, on_body.uv[:, 1], reduction="none"),
        }

    def _region_losses(
        self,
        output: ChartOutput,
        boxes_xyxy_px: Tensor,
        people: DensePoseAnnotations,
        map_of_person: Tensor | None,
    ) -> Tensor:
        """(Q,) ``region_nll`` of the pixels of the small maps where a region is annotated."""
        if not self.region_weight:
            return boxes_xyxy_px.new_zeros(0)
        if map_of_person is None:
            map_of_person = torch.arange(len(people), device=boxes_xyxy_px.device)
        own_map = map_of_person[people.has_masks]
        side = tuple(output.part_logits.shape[2:])
        region = coarse_targets(boxes_xyxy_px[own_map], people[people.has_masks], side)
        person, row, column = region.nonzero(as_tuple=True)
        logits = output.part_logits[own_map[person], :, row, column]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return region_nll(logits, region[person, row, column])

    def _coarse_losses(
        self,
        output: ChartOutput,
        proposals: Sequence[Instances],
        boxes_xyxy_px: Tensor,
        people: DensePoseAnnotations,
    ) -> Tensor:
        """(K, Z, Z) cross-entropy of the coarse segmentation; K proposals have a mask."""
        channels, side = output.coarse_logits.shape[1:3]
        full_side = side * output.upscale
        if self.coarse_by_masks:
            labels, has_mask = mask_targets(proposals, full_side)
        else:
            has_mask = people.has_masks
            labels = coarse_targets(boxes_xyxy_px[has_mask], people[has_mask], full_side)
        if channels == 2:
            labels = (labels > 0).long()
        logits = output.coarse_logits[has_mask]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if output.upscale > 1:
            logits = F.interpolate(
                logits, scale_factor=output.upscale, mode="bilinear", align_corners=False
            )
        return self.coarse_cross_entropy(logits, labels)

    def coarse_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W) logits, (N, H, W) labels -> (N, H, W), the body's pixels weighted."""
        losses = F.cross_entropy(logits, labels, reduction="none")
        if self.foreground_weight == 1:
            return losses
        return torch.where(labels > 0, losses * self.foreground_weight, losses)


def foreground(points: PointTargets) -> PointTargets:
    """The points whose annotated part is not background; only they have U and V."""
    on_body = points.part > 0
    at = MapPositions(points.at.person[on_body], points.at.cell[on_body], points.at.weight[on_body])
    return PointTargets(at, points.part[on_body], points.uv[on_body])
