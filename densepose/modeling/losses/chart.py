"""Losses of a chart predictor: parts and UV at annotated points, coarse segmentation densely.

Every term is one loss per element; ``weighted_sums`` normalises them together.

Shapes: N instances, K maps (a proposal each, or whole images) of S x S cells, P annotated points,
Z = side of the full maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.structures import Instances

from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.chart_output import ChartOutput

from ..sampling import sample_all_channels, sample_channel
from .dense_pixels import DenseWeights, background_nll, cell_weights, dense_pixels
from .region import region_nll
from .targets import (
    UNKNOWN,
    PointTargets,
    coarse_labels,
    mask_labels,
    pack_matches,
    point_targets,
)
from .uv_likelihood import anisotropic_uv_loss, isotropic_uv_loss


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
        self.uv_is_mean = uv_reduction == "mean"
        self.coarse_by_masks = coarse_by_masks
        self.foreground_weight = foreground_weight
        self.region_weight = region_weight
        self.dense = dense

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments of ``__init__`` from MODEL.ROI_DENSEPOSE_HEAD."""
        head = cfg.MODEL.ROI_DENSEPOSE_HEAD
        inpainted = head.INPAINTED
        return {
            "part_weight": head.PART_WEIGHTS,
            "coarse_weight": head.INDEX_WEIGHTS,
            "uv_weight": head.POINT_REGRESSION_WEIGHTS,
            "uv_reduction": head.UV_LOSS_REDUCTION,
            "coarse_by_masks": head.COARSE_SEGM_TRAINED_BY_MASKS,
            "foreground_weight": head.FOREGROUND_WEIGHT,
            "region_weight": head.REGION_WEIGHT,
            "dense": DenseWeights(
                part=inpainted.PART_WEIGHT,
                uv=inpainted.UV_WEIGHT,
                points=inpainted.POINTS_WEIGHT,
                confidence_power=inpainted.CONFIDENCE_POWER,
                part_balance=inpainted.PART_BALANCE,
                background=inpainted.BACKGROUND_WEIGHT,
            )
            if cfg.DATASETS.INPAINTED
            else None,
        }

    def __call__(self, proposals: Sequence[Instances], output: ChartOutput) -> dict[str, Tensor]:
        """Losses of all images together, of a map for each proposal.

        Args:
            proposals: of each image, with ``proposal_boxes``, ``gt_densepose`` (of the matched
                instances) and, for ``coarse_by_masks``, ``gt_masks``. At least one image; an image
                may have no proposal.
            output: of all proposals, image after image.

        Returns:
            Scalars, float32 or wider.
        """
        boxes, annotations = pack_matches(proposals)
        if self.coarse_by_masks:
            labels = mask_labels(proposals, output.full_size)
        else:
            labels = coarse_labels(boxes, annotations, output.full_size)
        own_map = torch.arange(len(annotations), device=boxes.device)
        output = output.at_least_float32()
        terms = self.terms(output, boxes, annotations, own_map, labels)
        if self.dense is not None and self.dense.background:
            outside = background_nll(output, boxes, annotations)
            terms.append(Term("loss_densepose_dense_B", outside, self.dense.background))
        return weighted_sums(terms)

    def of_shared_maps(
        self,
        output: ChartOutput,
        boxes_xyxy_px: Tensor,
        annotations: DensePoseAnnotations,
        map_of_instance: Tensor,
        labels: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of maps that several instances lie on; arguments as of ``terms``."""
        output = output.at_least_float32()
        terms = self.terms(output, boxes_xyxy_px, annotations, map_of_instance, labels)
        return weighted_sums(terms)

    def terms(
        self,
        output: ChartOutput,
        boxes_xyxy_px: Tensor,
        annotations: DensePoseAnnotations,
        map_of_instance: Tensor,
        labels: Tensor,
    ) -> list[Term]:
        """The terms that every chart model has; which ones depends on the weights alone.

        Args:
            output: K maps, square or not.
            boxes_xyxy_px: (K, 4) image px that the maps cover.
            annotations: of N instances.
            map_of_instance: (N,) int64 in [0, K).
            labels: (K, rows, columns) int64 of the coarse segmentation, on small or full maps.
        """
        given = (boxes_xyxy_px, annotations, map_of_instance)
        points = point_targets(*given, output.size, output.upscale)
        terms = [
            self.part_term(output, points),
            self.coarse_term(output.coarse_logits, labels),
            *self.uv_terms(output, points),
        ]
        if self.region_weight:
            terms.append(self._region_term(output, *given))
        if self.dense is not None:
            terms += self._dense_terms(output, *given)
        return terms

    @property
    def points_factor(self) -> float:
        """Factor of the terms at annotated points."""
        return 1.0 if self.dense is None else self.dense.points

    def part_term(self, output: ChartOutput, points: PointTargets) -> Term:
        """(P,) cross-entropy of the part at each point inside its proposal."""
        logits = sample_all_channels(output.part_logits, points.at)
        values = F.cross_entropy(logits, points.part, reduction="none")
        weight = self.part_weight * self.points_factor
        return Term("loss_densepose_I", values, weight, points.inside.to(values.dtype))

    def uv_terms(self, output: ChartOutput, points: PointTargets) -> list[Term]:
        """(P,) smooth L1 of U and of V in the annotated part."""
        u, v = (sample_channel(maps, points.part, points.at) for maps in (output.u, output.v))
        return [
            self.uv_term(name, F.smooth_l1_loss(value, wanted, reduction="none"), points)
            for name, value, wanted in zip("UV", (u, v), points.uv.unbind(dim=1), strict=True)
        ]

    def uv_term(self, name: str, values: Tensor, points: PointTargets) -> Term:
        """A term over the points on the body."""
        return Term(
            f"loss_densepose_{name}",
            values,
            self.uv_weight * self.points_factor,
            (points.inside & (points.part > 0)).to(values.dtype),
            is_mean=self.uv_is_mean,
        )

    def coarse_term(self, logits: Tensor, labels: Tensor) -> Term:
        """(K, rows, columns) cross-entropy, the body's pixels weighted; 0 at UNKNOWN labels."""
        if labels.shape[1:] != logits.shape[2:]:
            logits = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
        is_known = labels != UNKNOWN
        if logits.shape[1] == 2:
            labels = torch.where(is_known, (labels > 0).long(), labels)
        values = F.cross_entropy(logits, labels, reduction="none", ignore_index=UNKNOWN)
        if self.foreground_weight != 1:
            values = torch.where(labels > 0, values * self.foreground_weight, values)
        return Term("loss_densepose_S", values, self.coarse_weight, is_known.to(values.dtype))

    def _region_term(
        self,
        output: ChartOutput,
        boxes_xyxy_px: Tensor,
        annotations: DensePoseAnnotations,
        map_of_instance: Tensor,
    ) -> Term:
        """``region_nll`` at the cells of the small maps where a region is annotated."""
        region = coarse_labels(boxes_xyxy_px[map_of_instance], annotations, output.size)
        instance, row, column = (region > 0).nonzero(as_tuple=True)
        logits = output.part_logits[map_of_instance[instance], :, row, column]
        values = region_nll(logits, region[instance, row, column])
        return Term("loss_densepose_R", values, self.region_weight)

    def _dense_terms(
        self,
        output: ChartOutput,
        boxes_xyxy_px: Tensor,
        annotations: DensePoseAnnotations,
        map_of_instance: Tensor,
    ) -> list[Term]:
        """Cross-entropy of the part, smooth L1 of U and V in it, at labelled cells."""
        cells = dense_pixels(
            boxes_xyxy_px, annotations, map_of_instance, output.size, output.upscale
        )
        weights = cell_weights(cells, self.dense.confidence_power, self.dense.part_balance)
        at = (cells.map_index, cells.part, cells.row, cells.column)
        logits = output.part_logits[cells.map_index, :, cells.row, cells.column]
        part = F.cross_entropy(logits, cells.part, reduction="none")
        u = F.smooth_l1_loss(output.u[at], cells.uv[:, 0], reduction="none")
        v = F.smooth_l1_loss(output.v[at], cells.uv[:, 1], reduction="none")
        return [
            Term("loss_densepose_dense_I", part, self.dense.part, weights),
            Term("loss_densepose_dense_U", u, self.dense.uv, weights),
            Term("loss_densepose_dense_V", v, self.dense.uv, weights),
        ]


class DensePoseChartWithConfidenceLoss(DensePoseChartLoss):
    """The chart loss; with UV confidences, a likelihood loss_densepose_UV replaces U and V."""

    @configurable
    def __init__(
        self, *, uv_confidence: str = "none", uv_epsilon: float = 0.01, **chart_arguments: Any
    ) -> None:
        """Keep the weights.

        Args:
            uv_confidence: "none", "iid_iso" or "indep_aniso".
            uv_epsilon: lower bound of the variance.
            chart_arguments: of DensePoseChartLoss.
        """
        super().__init__(**chart_arguments)
        self.uv_confidence = uv_confidence
        self.uv_epsilon = uv_epsilon

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments of ``__init__`` from MODEL.ROI_DENSEPOSE_HEAD."""
        confidence = cfg.MODEL.ROI_DENSEPOSE_HEAD.UV_CONFIDENCE
        return {
            **super().from_config(cfg),
            "uv_confidence": confidence.TYPE if confidence.ENABLED else "none",
            "uv_epsilon": confidence.EPSILON,
        }

    def uv_terms(self, output: ChartOutput, points: PointTargets) -> list[Term]:
        """(P,) negative log-likelihood of U and V together, in the annotated part."""
        if self.uv_confidence == "none":
            return super().uv_terms(output, points)

        def read(*maps: Tensor) -> Tensor:
            return torch.stack([sample_channel(m, points.part, points.at) for m in maps], dim=1)

        residual = read(output.u, output.v) - points.uv
        raw_variance = read(output.log_variance)[:, 0]
        if self.uv_confidence == "iid_iso":
            values = isotropic_uv_loss(residual, raw_variance, self.uv_epsilon)
        else:
            direction = read(output.residual_u, output.residual_v)
            values = anisotropic_uv_loss(residual, raw_variance, direction, self.uv_epsilon)
        return [self.uv_term("UV", values, points)]


@dataclass(frozen=True)
class Term:
    """One entry of the dictionary of losses: ``weight * sum(element_weights * values) / n``.

    n is the sum of the element weights of all processes for a mean, 1 for a sum.
    """

    name: str
    values: Tensor  # loss of each element, any shape
    weight: float
    element_weights: Tensor | None = None  # of the shape of ``values``; None: all 1
    is_mean: bool = True

    @property
    def count(self) -> Tensor:
        """Sum of the element weights, a float32 scalar."""
        if self.element_weights is None:
            return self.values.new_full((), self.values.numel(), dtype=torch.float32)
        return self.element_weights.sum(dtype=torch.float32)

    @property
    def total(self) -> Tensor:
        """Weighted sum of the values; 0 and connected to the maps where there are none."""
        if self.element_weights is None:
            return self.values.sum()
        return (self.values * self.element_weights).sum()


def weighted_sums(terms: Sequence[Term]) -> dict[str, Tensor]:
    """The scalar of each term, by name. One collective for the normalisers of all of them."""
    divisors = shared_counts(torch.stack([term.count for term in terms]))
    return {
        term.name: term.total / (divisor if term.is_mean else 1.0) * term.weight
        for term, divisor in zip(terms, divisors, strict=True)
    }


def shared_counts(counts: Tensor) -> Tensor:
    """Mean of each count over all processes.

    Averaged gradients then equal those of one process on all images.

    Args:
        counts: (K,) how many values each of K sums holds in this process.

    Returns:
        (K,) float32 divisors, positive also where nothing was counted anywhere.
    """
    total = counts.to(torch.float32)
    world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if world > 1:
        dist.all_reduce(total)
    return total.clamp(min=1) / world
