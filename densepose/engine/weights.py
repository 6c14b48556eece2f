"""Reading files of weights without running their code; matching their names to a model's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from detectron2.utils.env import TORCH_VERSION

from densepose.errors import InputError
from densepose.model_zoo.files import check_weights_file
from densepose.surface.official.pickles import CALLABLES, load_numpy_pickle, to_plain

BOTTOM_UP = "backbone.bottom_up"
HEURISTICS = "matching_heuristics"  # entry of a file whose names are only ends of a model's names
_REFUSED_BY_TORCH = re.compile(r"GLOBAL (\S+)")
# Where programs keep the weights in what they save: detectron2, mmcv and Lightning, pycls, others.
_NESTED = ("model", "state_dict", "model_state", "model_state_dict")
_FIRST_OF_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # of files before its version 1.6


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Content of a checkpoint or plain file of weights, in detectron2's form.

    Accepted are files of torch.save (read with ``weights_only=True``), safetensors, and the pickles
    that detectron2 and Detectron released (read by an unpickler that knows NumPy arrays and nothing
    else). The content decides, not the name.

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
    kind = _kind(path)
    content = {
        "safetensors": _from_safetensors,
        "pickle": load_numpy_pickle,
        "torch": _from_torch,
    }[kind](path)
    if not isinstance(content, Mapping):
        raise InputError(
            f"{path}: expected a dictionary of weights, got {type(content).__name__}; save"
            " model.state_dict()"
        )
    nested = next((key for key in _NESTED if isinstance(content.get(key), Mapping)), None)
    if nested is None:
        content = _from_caffe2(content) if kind == "pickle" else _from_flat(content)
    elif nested == "model_state":  # of pycls
        content = {"model": content[nested], HEURISTICS: True}
    else:
        content = {key: value for key, value in content.items() if key != nested} | {
            "model": content[nested]
        }
    weights = content["model"]
    if not weights:
        others = ", ".join(str(key) for key in content if key != "model") or "nothing"
        raise InputError(f"{path}: holds no weights, but {others}; save model.state_dict()")
    weights = {name: _tensor(path, name, value) for name, value in weights.items()}
    consume_prefix_in_state_dict_if_present(weights, "module.")
    return _as_detectron2_now({**content, "model": weights})


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(len(_FIRST_OF_TORCH))
    if head.startswith((b"PK\x03\x04", _FIRST_OF_TORCH)):
        return "torch"
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return "safetensors"
    return "pickle" if path.suffix == ".pkl" or head[:1] == b"\x80" else "torch"


def _from_safetensors(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
    if metadata.pop(HEURISTICS, "") == "True":
        metadata[HEURISTICS] = True
    return {**metadata, "model": load_file(path)}


def _from_torch(path: Path) -> Any:
    # Scores beside the weights are often NumPy's; they are read without NumPy's own code.
    arrays = [(value, ".".join(name)) for name, value in CALLABLES.items() if "numpy" in name[0]]
    arrays += [(v, n.replace("numpy.core", "numpy._core")) for v, n in arrays if ".core" in n]
    named = TORCH_VERSION >= (2, 6)  # earlier versions allow no function under another's name
    try:
        with torch.serialization.safe_globals(arrays) if named else nullcontext():
            return to_plain(torch.load(path, map_location="cpu", weights_only=True))
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


def _from_flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """A ``state_dict()`` alone, or with other values between its tensors."""
    weights = {n: v for n, v in content.items() if isinstance(v, Tensor | np.ndarray)}
    return {**{n: v for n, v in content.items() if n not in weights}, "model": weights}


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


def _as_detectron2_now(content: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint in the form of DefaultTrainer's.

    detectron2 up to 0.5 kept optimizer and scheduler beside the model.
    """
    if "optimizer" not in content or "trainer" in content:
        return content
    content = dict(content)
    steps = {"iteration": content.get("iteration", -1), "optimizer": content.pop("optimizer")}
    hooks = {"LRScheduler": content.pop("scheduler", {})}
    state = {"iteration": steps["iteration"], "hooks": hooks, "_trainer": steps}
    return {**content, "trainer": state}


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
