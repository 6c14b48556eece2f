"""Any timm model with a feature pyramid on top, as a detectron2 backbone."""

from __future__ import annotations

from collections.abc import Sequence

import timm
import torch
from timm.layers import convert_sync_batchnorm, freeze_batch_norm_2d
from torch import Tensor

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool

from .timm_weights import pretrained_state


class TimmBackbone(Backbone):
    """Stages of a timm model; a stage of stride 2**k px is called ``res<k>``."""

    def __init__(
        self,
        name: str,
        *,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        norm: str = "FrozenBN",
        pretrained: str = "",
        in_channels: int = 3,
        freeze_at: int = 0,
    ) -> None:
        """Build the model.

        Args:
            name: of the timm model.
            out_indices: stages to give out, shallow to deep.
            norm: "FrozenBN" (statistics and affine part fixed), "BN" or "SyncBN".
            pretrained: see MODEL.TIMM.PRETRAINED; "" for random weights.
            in_channels: of the image.
            freeze_at: all that ``res<freeze_at>`` depends on keeps its weights; below 2 nothing
                is frozen.

        Raises:
            ValueError: timm has no such model, it has no such stages, or the weights do not fit.
        """
        super().__init__()
        stages = {"features_only": True, "out_indices": tuple(out_indices)}
        try:
            weights = {"state_dict": pretrained_state(pretrained, name)} if pretrained else None
            self.model = timm.create_model(
                name,
                pretrained=bool(pretrained),
                pretrained_cfg_overlay=weights,
                in_chans=in_channels,
                **stages,
            )
        except (RuntimeError, IndexError, AssertionError) as error:
            raise ValueError(
                f"MODEL.TIMM.NAME={name!r} with MODEL.TIMM.OUT_INDICES={tuple(out_indices)}"
                f" cannot be built: {error}"
            ) from error
        if norm == "FrozenBN":
            self.model = freeze_batch_norm_2d(self.model)
        elif norm == "SyncBN":
            self.model = convert_sync_batchnorm(self.model)
        elif norm != "BN":
            raise ValueError(f"MODEL.TIMM.NORM={norm!r}; allowed: 'FrozenBN', 'BN', 'SyncBN'")
        strides = self.model.feature_info.reduction()
        self._shapes = {
            f"res{stride.bit_length() - 1}": ShapeSpec(channels=channels, stride=stride)
            for stride, channels in zip(strides, self.model.feature_info.channels(), strict=True)
        }

        if freeze_at >= 2:
            self._freeze(f"res{freeze_at}", in_channels)

    def _freeze(self, stage: str, in_channels: int) -> None:
        if stage not in self._shapes:
            raise ValueError(
                f"MODEL.BACKBONE.FREEZE_AT asks for {stage} but the stages of this model are"
                f" {', '.join(self._shapes)}; 0 freezes nothing"
            )
        was_training = self.training
        output = self.eval()(torch.zeros(1, in_channels, 64, 64))[stage].sum()
        parameters = [p for p in self.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(output, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(gradient is None)
        self.train(was_training)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) normalised images -> maps (B, C_k, H / 2**k, W / 2**k)."""
        return dict(zip(self._shapes, self.model(images), strict=True))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each stage."""
        return self._shapes


def build_timm_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Backbone:
    """FPN over stages of the timm model ``MODEL.TIMM.NAME``, one more level by max-pooling.

    MODEL.BACKBONE.FREEZE_AT freezes as in detectron2's ResNets: 2 the stem and ``res2``.
    Pixels have to be normalised as the weights
    expect (MODEL.PIXEL_MEAN, MODEL.PIXEL_STD, INPUT.FORMAT; check_config compares them for the
    ``pip://`` weights).
    """
    bottom_up = TimmBackbone(
        cfg.MODEL.TIMM.NAME,
        out_indices=cfg.MODEL.TIMM.OUT_INDICES,
        norm=cfg.MODEL.TIMM.NORM,
        pretrained=cfg.MODEL.TIMM.PRETRAINED,
        in_channels=input_shape.channels,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
    )
    shapes = bottom_up.output_shape()
    missing = [name for name in cfg.MODEL.FPN.IN_FEATURES if name not in shapes]
    if missing:
        raise ValueError(
            f"MODEL.FPN.IN_FEATURES names {', '.join(missing)} but"
            f" MODEL.TIMM.NAME={cfg.MODEL.TIMM.NAME!r} with"
            f" OUT_INDICES={tuple(cfg.MODEL.TIMM.OUT_INDICES)} gives {', '.join(shapes)}"
        )
    top = LastLevelMaxPool()
    top.in_feature = cfg.MODEL.FPN.IN_FEATURES[-1].replace("res", "p")
    return FPN(
        bottom_up=bottom_up,
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=top,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
