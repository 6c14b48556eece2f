"""Merge the levels of a feature pyramid into one map (Kirillov et al., Panoptic FPN, 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import fvcore.nn.weight_init as weight_init
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, FrozenBatchNorm2d, ROIAlign, ShapeSpec, get_norm
from detectron2.structures import Boxes

from .map_regions import Region, run_on_region

# Share of the map up to which the part around the boxes is computed by itself.
_LARGEST_PART = 0.75


class Decoder(nn.Module):
    """Convolves and doubles each level until it has the common stride, then adds them.

    Parameter names are those of detectron2's DensePose: ``<level>.<position>`` where up-samplings
    take a position.
    """

    @configurable
    def __init__(
        self,
        input_shape: Mapping[str, ShapeSpec],
        *,
        in_features: Sequence[str],
        hidden_channels: int,
        out_channels: int,
        common_stride: int,
        norm: str = "",
    ) -> None:
        """Build one branch for each level.

        Raises:
            ValueError: a level's stride is not ``common_stride`` times a power of two, or the
                first differs from it.
        """
        super().__init__()
        self.in_features = list(in_features)
        strides = [input_shape[name].stride for name in self.in_features]
        doublings = [_doublings(stride, common_stride) for stride in strides]
        if strides[0] != common_stride:
            raise ValueError(
                f"MODEL.ROI_DENSEPOSE_HEAD.DECODER_COMMON_STRIDE={common_stride} but the first of"
                f" MODEL.ROI_HEADS.IN_FEATURES, {self.in_features[0]!r}, has stride {strides[0]};"
                " the merged map is"
                f" pooled at that stride: set DECODER_COMMON_STRIDE to {strides[0]}"
            )
        for name, count in zip(self.in_features, doublings, strict=True):
            channels = input_shape[name].channels
            self.add_module(name, _branch(channels, hidden_channels, count, norm))
        self.predictor = Conv2d(hidden_channels, out_channels, kernel_size=1)
        weight_init.c2_msra_fill(self.predictor)
        self.out_channels = out_channels
        self.common_stride = common_stride

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """Arguments of ``__init__`` from MODEL.ROI_DENSEPOSE_HEAD and the pyramid's shapes."""
        head = cfg.MODEL.ROI_DENSEPOSE_HEAD
        return {
            "input_shape": input_shape,
            "in_features": cfg.MODEL.ROI_HEADS.IN_FEATURES,
            "hidden_channels": head.DECODER_CONV_DIMS,
            "out_channels": head.DECODER_NUM_CLASSES,
            "common_stride": head.DECODER_COMMON_STRIDE,
            "norm": head.DECODER_NORM,
        }

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """One (B, C, H_l, W_l) map for each level -> (B, out_channels, H, W), common stride."""
        return self.predictor(self._merge(features, _whole(features[0])))

    def pool(self, features: Sequence[Tensor], boxes: Sequence[Boxes], pooler: nn.Module) -> Tensor:
        """The values of ``pooler([self(features)], boxes)`` with less work where that is possible.

        Only the part of the map around the boxes is computed if they leave much of it out. The
        1x1 predictor is applied to the pooled cells if these are fewer than the map's: pooling is
        a weighted mean of cells, so the two can change places (not for a box that leaves the map,
        where weights are missing that the bias would need).

        Args:
            features: one (B, C, H_l, W_l) map for each level.
            boxes: image px, of each of the B images.
            pooler: of one level, the common stride.

        Returns:
            (K, out_channels, rows, columns), boxes image by image.
        """
        whole = _whole(features[0])
        corners = torch.cat([image.tensor for image in boxes]).detach()
        rows, columns = pooler.output_size
        if len(corners) == 0:
            # No work, but in training every parameter takes part in every step.
            nothing = sum(parameter.flatten()[:0].sum() for parameter in self.parameters())
            return features[0].new_zeros(0, self.out_channels, rows, columns) + nothing
        outline = self._outline(corners)
        region = whole if outline is None else self._needed(outline, whole)
        if region != whole:
            shift = [self.common_stride * cells for cells in (region.left, region.top)]
            moved = corners - corners.new_tensor(shift * 2)
            boxes = [Boxes(image) for image in moved.split([len(image) for image in boxes])]
        merged = self._merge(features, region)
        inside = outline is not None and whole.contains(outline)
        fewer = len(corners) * rows * columns < len(merged) * region.area
        if inside and fewer and _takes_means(pooler):
            return self.predictor(pooler([merged], boxes))
        return pooler([self.predictor(merged)], boxes)

    def _merge(self, features: Sequence[Tensor], region: Region) -> Tensor:
        """The sum of all branches on a region of the common map: (B, hidden, height, width)."""
        merged = None
        doubled = None
        size = tuple(-(-cells // 2) for cells in features[0].shape[2:])
        half = region.before_doubling(size)
        for name, level in zip(self.in_features, features, strict=True):
            branch = list(getattr(self, name))
            if len(branch) == 1:
                level = run_on_region(branch, level, region)
                merged = level if merged is None else merged + level
            else:
                # The last doubling is linear: add the levels first, then double once.
                level = run_on_region(branch[:-1], level, half)
                doubled = level if doubled is None else doubled + level
        if doubled is not None:
            doubled = F.interpolate(doubled, scale_factor=2, mode="bilinear", align_corners=False)
            doubled = region.cut_from(doubled, half.doubled())
            merged = doubled if merged is None else merged + doubled
        return merged

    def _outline(self, corners: Tensor) -> Region | None:
        """Cells of the common map that (K, 4) boxes cover; None for boxes that are not finite."""
        low = corners[:, :2].amin(dim=0)
        # Pooling counts a box that is smaller than a cell as one cell.
        high = torch.maximum(corners[:, 2:], corners[:, :2] + self.common_stride).amax(dim=0)
        left, top, right, bottom = (torch.cat([low, high]) / self.common_stride).tolist()
        if not all(map(math.isfinite, (left, top, right, bottom))):
            return None
        return Region(math.floor(top), math.ceil(bottom), math.floor(left), math.ceil(right))

    def _needed(self, outline: Region, whole: Region) -> Region:
        """What has to be computed of the map: the outline with a border, or all of it."""
        region = outline.grown(2, (whole.bottom, whole.right))
        pays = 0 < region.area < _LARGEST_PART * whole.area
        branches = [getattr(self, name) for name in self.in_features]
        local = all(_is_local(m) for branch in branches for m in list(branch.modules())[1:])
        return region if pays and local else whole


def _whole(level: Tensor) -> Region:
    return Region(0, level.shape[2], 0, level.shape[3])


def _takes_means(pooler: nn.Module) -> bool:
    levels = getattr(pooler, "level_poolers", None)
    return levels is None or all(isinstance(level, ROIAlign) for level in levels)


def _is_local(module: nn.Module) -> bool:
    """Whether each output value depends on its surroundings alone, not on the whole map."""
    if isinstance(module, _BatchNorm):
        return not module.training
    return isinstance(module, (nn.Conv2d, nn.Upsample, FrozenBatchNorm2d))


def _doublings(stride: int, common_stride: int) -> int:
    ratio, rest = divmod(stride, common_stride)
    if rest or ratio < 1 or ratio & (ratio - 1):
        raise ValueError(
            f"a feature level of stride {stride} cannot be brought to"
            f" DECODER_COMMON_STRIDE={common_stride} by"
            " doubling its size"
        )
    return ratio.bit_length() - 1


def _branch(in_channels: int, channels: int, doublings: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step in range(max(1, doublings)):
        conv = Conv2d(
            in_channels if step == 0 else channels,
            channels,
            kernel_size=3,
            padding=1,
            bias=not norm,
            norm=get_norm(norm, channels),
            activation=F.relu,
        )
        weight_init.c2_msra_fill(conv)
        layers.append(conv)
        if doublings:
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
    return nn.Sequential(*layers)
