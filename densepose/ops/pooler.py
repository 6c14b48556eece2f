"""Drop-in for detectron2's ROIPooler on CPU: all levels in one gather."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densepose.ops.roi_align import multilevel_roi_align


class GatherROIPooler(nn.Module):
    """Pools the boxes of a batch from a feature pyramid; same call and values as ``ROIPooler``.

    No parameters, no buffers: checkpoints of a model do not change when its poolers are swapped.
    """

    def __init__(
        self,
        *,
        output_size: tuple[int, int],
        scales: tuple[float, ...],
        sampling_ratio: int,
        aligned: bool,
        min_level: int,
        canonical_box_size: int,
        canonical_level: int,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.scales = scales
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.min_level = min_level
        self.canonical_box_size = canonical_box_size
        self.canonical_level = canonical_level

    @classmethod
    def replacing(cls, pooler: nn.Module) -> GatherROIPooler | None:
        """The equivalent of a detectron2 ``ROIPooler``; None where it is not one of plain RoIAlign.

        RoIPool, rotated boxes and the adaptive sampling ratio 0 stay with the original.
        """
        from detectron2.layers import ROIAlign

        levels = list(pooler.level_poolers)
        if not all(isinstance(level, ROIAlign) and level.sampling_ratio > 0 for level in levels):
            return None
        return cls(
            output_size=tuple(pooler.output_size),
            scales=tuple(level.spatial_scale for level in levels),
            sampling_ratio=levels[0].sampling_ratio,
            aligned=levels[0].aligned,
            min_level=pooler.min_level,
            canonical_box_size=pooler.canonical_box_size,
            canonical_level=pooler.canonical_level,
        )

    def forward(self, features: list[Tensor], box_lists: list) -> Tensor:
        """L maps (B, C, H, W), B ``Boxes`` -> (K, C, rows, columns), boxes image by image."""
        from detectron2.modeling.poolers import assign_boxes_to_levels

        boxes = torch.cat([boxes.tensor for boxes in box_lists])
        count = torch.tensor([len(boxes) for boxes in box_lists], device=boxes.device)
        image = torch.repeat_interleave(
            torch.arange(len(box_lists), device=boxes.device), count, output_size=len(boxes)
        )
        if len(self.scales) == 1 or len(boxes) == 0:
            level = torch.zeros_like(image)
        else:
            level = assign_boxes_to_levels(
                box_lists,
                self.min_level,
                self.min_level + len(self.scales) - 1,
                self.canonical_box_size,
                self.canonical_level,
            )
        return multilevel_roi_align(
            features,
            boxes,
            image,
            level,
            scales=self.scales,
            output_size=self.output_size,
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
        )
