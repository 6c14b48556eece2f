"""Reading files of weights without running their code; matching their names to a model's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts

from densepose.errors import InputError
from densepose.model_zoo.files import check_weights_file
from densepose.surface.official.pickles import load_numpy_pickle

BOTTOM_UP = "backbone.bottom_up"
HEURISTICS = "matching_heuristics"  # entry of a file whose names are only ends of a model's names
_REFUSED_BY_TORCH = re.compile(r"GLOBAL (\S+)")


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Content of a checkpoint or plain file of weights, in detectron2's form.

    Accepted are files of torch.save (read with ``weights_only=True``), ``.safetensors``, and the
    ``.pkl`` files that detectron2 and Detectron released (read by an unpickler that knows NumPy
    arrays and nothing else).

    Returns:
        ``model``: name -> tensor, and whatever else the file holds. ``matching_heuristics``, where
        present, says that the names are ends of a model's names, ``__author__`` "Caffe2" that they
        are Caffe2's.

    Raises:
        InputError: there is no such file; the file is damaged, holds no weights, or holds objects
            that are not tensors.
    """
    path = Path(path)
    check_weights_file(path)
    if path.suffix == ".safetensors":
        content = _from_safetensors(path)
    else:
        content = load_numpy_pickle(path) if path.suffix == ".pkl" else _from_torch(path)
        if not isinstance(content, Mapping):
            raise InputError(
                f"{path}: expected a dictionary of weights, got {type(content).__name__}; save"
                " model.state_dict()"
            )
        if path.suffix == ".pkl" and not {"model", "__author__"} <= content.keys():
            content = _from_caffe2(content)
        elif path.suffix == ".pyth":  # of pycls
            content = {"model": content["model_state"], HEURISTICS: True}
        elif "model" not in content:
            content = {"model": content}
    weights = content["model"]
    if not isinstance(weights, Mapping):
        raise InputError(
            f"{path}: 'model' holds {type(weights).__name__}, expected a dictionary of weights"
        )
    weights = {name: _tensor(path, name, value) for name, value in weights.items()}
    consume_prefix_in_state_dict_if_present(weights, "module.")
    return {**content, "model": weights}


def _from_safetensors(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
    if metadata.pop(HEURISTICS, "") == "True":
        metadata[HEURISTICS] = True
    return {**metadata, "model": load_file(path)}


def _from_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on noise the reader fails in all kinds of ways
        # torch's own words advise to read such a file all the same.
        if asked := _REFUSED_BY_TORCH.search(str(error)):
            raise InputError(
                f"{path}: asks for {asked[1]}; only tensors and plain containers are read from a"
                " file of weights, anything else could run code. If you trust where it came from,"
                " save its model.state_dict() alone there"
            ) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise InputError(
            f"{path}: not a readable file of weights ({reason}). It is damaged, or it holds objects"
            " other than tensors, which are not loaded because that would run code from the file"
        ) from error


def _from_caffe2(content: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays of the Caffe2 era, directly or below "blobs", the optimizer's momentum among them."""
    weights, others = {}, dict(content)
    for name, value in others.pop("blobs", content).items():
        is_weight = isinstance(value, np.ndarray) and not name.endswith("_momentum")
        (weights if is_weight else others)[name] = value
    others = {name: value for name, value in others.items() if name not in weights}
    return {**others, "model": weights, "__author__": "Caffe2", HEURISTICS: True}


def _tensor(path: Path, name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return torch.from_numpy(np.array(value))
    raise InputError(f"{path}: entry {name!r} is a {type(value).__name__}, expected a tensor")


def match_names(
    source: str, checkpoint: Mapping[str, Any], model: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The weights of a checkpoint under the names of a model's ``state_dict()``.

    Names that are only ends of the model's are matched by detectron2. A backbone's own state dict
    (as HRNet's authors give it) gets the place of the backbone. Other names stay.

    Raises:
        InputError: one weight of the file fits two of the model, or the names are not Caffe2's.
    """
    weights = checkpoint["model"]
    if checkpoint.get(HEURISTICS):
        is_caffe2 = checkpoint.get("__author__") == "Caffe2"
        try:
            return align_and_update_state_dicts(model, dict(weights), c2_conversion=is_caffe2)
        except (AssertionError, IndexError, ValueError) as error:
            raise InputError(
                f"{source}: its names cannot be matched to the model's"
                f" ({error or 'two names become one'}); save model.state_dict() of the program"
                " that made it under the model's full names"
            ) from error
    if any(name in model for name in weights):
        return dict(weights)
    places = {name: f"{BOTTOM_UP}.{name}" for name in weights if f"{BOTTOM_UP}.{name}" in model}
    return {places.get(name, name): value for name, value in weights.items()}
