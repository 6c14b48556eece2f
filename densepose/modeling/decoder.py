"""Merge the levels of a feature pyramid into one map (Kirillov et al., Panoptic FPN, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead

from densepose.errors import InputError


class Decoder(SemSegFPNHead):
    """detectron2's semantic segmentation head, of which only the layers are used.

    Parameter names are those of detectron2's DensePose.
    """

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """Arguments of ``__init__`` from MODEL.ROI_DENSEPOSE_HEAD and the pyramid's shapes.

        Raises:
            InputError: a level cannot be brought to DECODER_COMMON_STRIDE, or the first level of
                MODEL.ROI_HEADS.IN_FEATURES has another stride.
        """
        head = cfg.MODEL.ROI_DENSEPOSE_HEAD
        shapes = {name: input_shape[name] for name in cfg.MODEL.ROI_HEADS.IN_FEATURES}
        check_strides(shapes, head.DECODER_COMMON_STRIDE)
        return {
            "input_shape": shapes,
            "num_classes": head.DECODER_NUM_CLASSES,
            "conv_dims": head.DECODER_CONV_DIMS,
            "common_stride": head.DECODER_COMMON_STRIDE,
            "norm": head.DECODER_NORM,
        }

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """One (B, C, H_l, W_l) map for each level, fine to coarse -> (B, channels, H, W)."""
        return self.layers(dict(zip(self.in_features, features, strict=True)))

    @property
    def out_channels(self) -> int:
        """Channels of the merged map."""
        return self.predictor.out_channels


def check_strides(shapes: Mapping[str, ShapeSpec], common_stride: int) -> None:
    """Refuse levels, fine to coarse, that doubling does not bring to the stride of the first.

    Raises:
        InputError: it does not.
    """
    first, *_ = shapes
    if shapes[first].stride != common_stride:
        raise InputError(
            f"MODEL.ROI_DENSEPOSE_HEAD.DECODER_COMMON_STRIDE={common_stride} but the first of"
            f" MODEL.ROI_HEADS.IN_FEATURES, {first!r}, has stride {shapes[first].stride};"
            f" the merged map is pooled at that stride: set DECODER_COMMON_STRIDE to"
            f" {shapes[first].stride}"
        )
    for name, shape in shapes.items():
        ratio, remainder = divmod(shape.stride, common_stride)
        if remainder or ratio < 1 or ratio & (ratio - 1):
            raise InputError(
                f"level {name!r} of stride {shape.stride} cannot be brought to"
                f" DECODER_COMMON_STRIDE={common_stride} by doubling its size"
            )
