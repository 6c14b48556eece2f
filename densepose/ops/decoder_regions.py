"""The pyramid decoder around the boxes only; the same values as on the whole map.

Three things save work on CPU. Levels are added before their last doubling, which is linear. Only
the part of the map around the boxes is computed, if the boxes leave much of it out. The 1x1
predictor is applied to pooled cells where these are fewer than the cells of the map.

A region is found backwards through the layers: every layer asks for the part of its input that its
own part depends on. Forwards, each result is cut to what was asked for, so the values are those of
the whole map (up to rounding, where an algorithm's rounding depends on the size).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from detectron2.layers import FrozenBatchNorm2d, ROIAlign
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from detectron2.structures import Boxes

# Fraction of the map up to which the part around the boxes is computed by itself.
_LARGEST_PART = 0.75


@dataclass(frozen=True)
class Region:
    """Cells [top, bottom) x [left, right) of a map."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        """Number of cells; 0 where the edges have crossed."""
        return max(self.bottom - self.top, 0) * max(self.right - self.left, 0)

    def contains(self, other: Region) -> bool:
        """Whether all of ``other`` lies in here."""
        return (
            self.top <= other.top
            and other.bottom <= self.bottom
            and self.left <= other.left
            and other.right <= self.right
        )

    def grown(self, cells: int, size: tuple[int, int]) -> Region:
        """With ``cells`` more on every side, as far as a map of this height and width goes."""
        height, width = size
        return Region(
            max(self.top - cells, 0),
            min(self.bottom + cells, height),
            max(self.left - cells, 0),
            min(self.right + cells, width),
        )

    def before_doubling(self, size: tuple[int, int]) -> Region:
        """Cells of the small map (of this size) that bilinear doubling reads for this region."""
        halved = Region(self.top // 2, -(-self.bottom // 2), self.left // 2, -(-self.right // 2))
        return halved.grown(1, size)

    def doubled(self) -> Region:
        """Where this region lies on the map of twice the size."""
        return Region(2 * self.top, 2 * self.bottom, 2 * self.left, 2 * self.right)

    def cut_from(self, maps: Tensor, covers: Region) -> Tensor:
        """This region of ``maps`` (B, C, h, w), which hold the region ``covers``; a view."""
        return maps[
            :,
            :,
            self.top - covers.top : self.bottom - covers.top,
            self.left - covers.left : self.right - covers.left,
        ]


def run_on_region(layers: Sequence[nn.Module], maps: Tensor, wanted: Region) -> Tensor:
    """``layers`` of ``maps``, of which only the region ``wanted`` is returned.

    Args:
        layers: 3x3 convolutions of padding 1, and ``nn.Upsample`` by 2 (bilinear, corners not
            aligned).
        maps: (B, C, H, W), the whole map.
        wanted: of the output.

    Returns:
        (B, K, wanted height, wanted width).
    """
    size = tuple(maps.shape[2:])
    sizes = []
    for layer in layers:
        sizes.append(size)
        size = tuple(2 * s for s in size) if isinstance(layer, nn.Upsample) else size
    needs = [wanted]
    for layer, size in zip(reversed(layers), reversed(sizes), strict=True):
        doubles = isinstance(layer, nn.Upsample)
        needs.append(needs[-1].before_doubling(size) if doubles else needs[-1].grown(1, size))
    needs.reverse()
    whole = Region(0, maps.shape[2], 0, maps.shape[3])
    maps = needs[0].cut_from(maps, whole)
    for layer, before, after in zip(layers, needs, needs[1:], strict=False):
        covers = before.doubled() if isinstance(layer, nn.Upsample) else before
        maps = after.cut_from(layer(maps), covers)
    return maps


@cache
def region_class(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass of heads with ``pool_levels``, ``decoder`` and ``densepose_pooler``."""

    class RegionPooling(kind):
        def pool_levels(self, levels: list[Tensor], boxes: list[Boxes]) -> Tensor:
            return pool_regions(self.decoder, levels, boxes, self.densepose_pooler)

    RegionPooling.__name__ = RegionPooling.__qualname__ = f"Region{kind.__name__}"
    return RegionPooling


@cache
def merging_class(kind: type[SemSegFPNHead]) -> type[SemSegFPNHead]:
    """A subclass of a decoder that adds the levels before their last doubling."""

    class MergingDecoder(kind):
        merges_levels = True

        def layers(self, features: dict[str, Tensor]) -> Tensor:
            levels = [features[name] for name in self.in_features]
            return self.predictor(merge_levels(self, levels, _whole(levels[0])))

    MergingDecoder.__name__ = MergingDecoder.__qualname__ = f"Merging{kind.__name__}"
    return MergingDecoder


def pool_regions(
    decoder: SemSegFPNHead, levels: Sequence[Tensor], boxes: Sequence[Boxes], pooler: nn.Module
) -> Tensor:
    """The values of ``pooler([decoder(levels)], boxes)``.

    Args:
        decoder: of the levels.
        levels: one (B, C, H_l, W_l) map for each level, fine to coarse.
        boxes: image px, of each of the B images.
        pooler: of one level, the common stride.

    Returns:
        (K, channels, rows, columns), boxes image by image.
    """
    whole = _whole(levels[0])
    corners = torch.cat([image.tensor for image in boxes]).detach()
    rows, columns = pooler.output_size
    if len(corners) == 0:
        # No work, but in training every parameter takes part in every step.
        nothing = sum(parameter.flatten()[:0].sum() for parameter in decoder.parameters())
        return levels[0].new_zeros(0, decoder.predictor.out_channels, rows, columns) + nothing
    outline = _outline(corners, decoder.common_stride)
    region = whole if outline is None else _needed(decoder, outline, whole)
    if region != whole:
        shift = [decoder.common_stride * cells for cells in (region.left, region.top)]
        moved = corners - corners.new_tensor(shift * 2)
        boxes = [Boxes(image) for image in moved.split([len(image) for image in boxes])]
    merged = merge_levels(decoder, levels, region)
    # Pooling is a weighted mean of cells, so it can change places with the 1x1 predictor; not for
    # a box that leaves the map, where weights are missing that the bias would need.
    inside = outline is not None and whole.contains(outline)
    fewer = len(corners) * rows * columns < len(merged) * region.area
    if inside and fewer and _takes_means(pooler):
        return decoder.predictor(pooler([merged], boxes))
    return pooler([decoder.predictor(merged)], boxes)


def merge_levels(decoder: SemSegFPNHead, levels: Sequence[Tensor], region: Region) -> Tensor:
    """The sum of all branches on a region of the common map: (B, hidden, height, width)."""
    merged = doubled = None
    size = tuple(-(-cells // 2) for cells in levels[0].shape[2:])
    half = region.before_doubling(size)
    for branch, level in zip(decoder.scale_heads, levels, strict=True):
        if len(branch) == 1:
            level = run_on_region(list(branch), level, region)
            merged = level if merged is None else merged + level
        else:
            level = run_on_region(list(branch)[:-1], level, half)
            doubled = level if doubled is None else doubled + level
    if doubled is not None:
        doubled = F.interpolate(doubled, scale_factor=2, mode="bilinear", align_corners=False)
        doubled = region.cut_from(doubled, half.doubled())
        merged = doubled if merged is None else merged + doubled
    return merged


def _outline(corners: Tensor, stride: int) -> Region | None:
    """Cells of the common map that (K, 4) boxes cover; None for boxes that are not finite."""
    low = corners[:, :2].amin(dim=0)
    # Pooling counts a box that is smaller than a cell as one cell.
    high = torch.maximum(corners[:, 2:], corners[:, :2] + stride).amax(dim=0)
    left, top, right, bottom = (torch.cat([low, high]) / stride).tolist()
    if not all(map(math.isfinite, (left, top, right, bottom))):
        return None
    return Region(math.floor(top), math.ceil(bottom), math.floor(left), math.ceil(right))


def _needed(decoder: SemSegFPNHead, outline: Region, whole: Region) -> Region:
    """What has to be computed of the map: the outline with a border, or all of it."""
    region = outline.grown(2, (whole.bottom, whole.right))
    pays = 0 < region.area < _LARGEST_PART * whole.area
    layers = [m for branch in decoder.scale_heads for m in list(branch.modules())[1:]]
    return region if pays and all(map(_is_local, layers)) else whole


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
