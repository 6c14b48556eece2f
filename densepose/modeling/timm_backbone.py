"""Any timm model with a feature pyramid on top, as a detectron2 backbone."""

from __future__ import annotations

from collections.abc import Sequence

import timm
from timm.layers import convert_sync_batchnorm, freeze_batch_norm_2d
from torch import Tensor, nn

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool

from .timm_weights import load_pretrained


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
    ) -> None:
        """Build the model.

        Args:
            name: of the timm model.
            out_indices: stages to give out, shallow to deep.
            norm: "FrozenBN" (statistics and affine part fixed), "BN" or "SyncBN".
            pretrained: see MODEL.TIMM.PRETRAINED; "" for random weights.
            in_channels: of the image.

        Raises:
            ValueError: timm has no such model, it has no such stages, or the weights do not fit.
        """
        super().__init__()
        options = {
            "features_only": True,
            "out_indices": tuple(out_indices),
            "in_chans": in_channels,
        }
        try:
            self.model = timm.create_model(name, pretrained=False, **options)
        except (RuntimeError, IndexError, AssertionError) as error:
            raise ValueError(
                f"MODEL.TIMM.NAME={name!r} with MODEL.TIMM.OUT_INDICES={tuple(out_indices)}"
                f" cannot be built: {error}"
            ) from error
        if pretrained:
            complete = timm.create_model(name, pretrained=False, in_chans=in_channels)
            load_pretrained(complete, pretrained, name)
            _copy_stages(self.model, complete)
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

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) normalised images -> maps (B, C_k, H / 2**k, W / 2**k)."""
        return dict(zip(self._shapes, self.model(images), strict=True))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each stage."""
        return self._shapes


def _copy_stages(stages: nn.Module, complete: nn.Module) -> None:
    """Fill a features_only model from the complete model it is a part of."""
    # Some features_only models flatten names: stages.0.x becomes stages_0.x.
    state = {name.replace(".", "_"): value for name, value in complete.state_dict().items()}
    wanted = {name: name.replace(".", "_") for name in stages.state_dict()}
    missing = [name for name, flat in wanted.items() if flat not in state]
    if missing:
        raise ValueError(
            f"this timm model names its tensors differently with features_only ({missing[0]!r},"
            " ...): MODEL.TIMM.PRETRAINED cannot be used with it"
        )
    stages.load_state_dict({name: state[flat] for name, flat in wanted.items()})


def build_timm_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Backbone:
    """FPN over stages of the timm model ``MODEL.TIMM.NAME``, one more level by max-pooling.

    MODEL.BACKBONE.FREEZE_AT has no meaning here. Pixels have to be normalised as the weights
    expect (MODEL.PIXEL_MEAN, MODEL.PIXEL_STD, INPUT.FORMAT; check_config compares them for the
    ``pip://`` weights).
    """
    bottom_up = TimmBackbone(
        cfg.MODEL.TIMM.NAME,
        out_indices=cfg.MODEL.TIMM.OUT_INDICES,
        norm=cfg.MODEL.TIMM.NORM,
        pretrained=cfg.MODEL.TIMM.PRETRAINED,
        in_channels=input_shape.channels,
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
