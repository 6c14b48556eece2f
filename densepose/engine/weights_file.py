"""Reading files of weights without running code from them.

Accepted: ``.pth`` / ``.pt`` / ``.bin`` written by torch.save (read with ``weights_only=True``),
    ``.safetensors``, and
the ``.pkl`` files that detectron2 releases (read by an unpickler that knows NumPy arrays and
nothing else).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from detectron2.utils.file_io import PathManager

from densepose.model_zoo.files import fetch, fetch_address
from densepose.surface.official.pickles import load_numpy_pickle

from .shipped_model import SCHEME as SHIPPED
from .shipped_model import find_shipped_model
from .weights_look import check_looks_like_weights

# Entry, or metadata, of a file whose names are only the ends of a model's names.
HEURISTICS = "matching_heuristics"
_REFUSED_BY_TORCH = re.compile(r"GLOBAL (\S+)")


@dataclass(frozen=True)
class WeightsFile:
    """What one file holds."""

    path: Path
    weights: dict[str, Tensor]  # by parameter name, without the ``module.`` of a parallel model
    extra: dict[str, Any] = field(
        default_factory=dict
    )  # everything else: optimizer, iteration, ...
    name_matching: str = (
        "exact"  # exact | suffix | caffe2: how names are to be matched to the model's
    )


def resolve_weights(name: str, zoo_dir: str = "") -> Path:
    """The local file of MODEL.WEIGHTS: a path, or an address that is fetched once and kept.

    Args:
        name: a path, ``zoo://NAME`` (see model_zoo), ``shipped://`` (the weights that come with
            the package), ``https://...`` or one of the addresses that detectron2 knows, like
            ``detectron2://...``.
        zoo_dir: MODEL.ZOO_DIR; where it is set, nothing is fetched.

    Raises:
        FileNotFoundError: the package came without weights.
        KeyError: no released model of that name.
        OSError: the address cannot be fetched, or the file is not in ``zoo_dir``.
        ValueError: what came is not a file of weights.
    """
    scheme = urlparse(name).scheme
    if scheme in ("", "file"):
        return Path(name.removeprefix("file://"))
    if scheme == SHIPPED:
        return find_shipped_model()[1]
    if scheme == "zoo":
        return fetch(name, zoo_dir)
    if scheme in ("http", "https", "detectron2"):
        return fetch_address(name, zoo_dir)
    return Path(PathManager.get_local_path(name))


def read_weights(path: str | Path) -> WeightsFile:
    """Read a checkpoint or a plain file of weights.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated, is no file of weights (an HTML page, say), or holds
            objects that are not tensors; the message says which.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights")
    check_looks_like_weights(path)
    if path.suffix == ".safetensors":
        return _from_safetensors(path)
    if path.suffix == ".pkl":
        return _from_pickle(path)
    return _from_torch(path)


def _from_safetensors(path: Path) -> WeightsFile:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
        weights = load_file(path)
    except Exception as error:  # safetensors raises its own class, which is not public everywhere
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from error
    matching = "suffix" if metadata.get(HEURISTICS) == "True" else "exact"
    return WeightsFile(path, _without_module(weights), metadata, matching)


def _from_torch(path: Path) -> WeightsFile:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on noise the reader fails in all kinds of ways
        # torch's own words advise to read such a file all the same.
        if asked := _REFUSED_BY_TORCH.search(str(error)):
            raise ValueError(
                f"{path}: asks for {asked[1]}; only tensors and plain containers are read from a"
                " file of weights, anything else could run code. If you trust where it came from,"
                " save its model.state_dict() alone there"
            ) from error
        raise ValueError(
            f"{path}: not a readable file of weights ({_first_line(error)}). It is damaged, or it"
            " holds objects other than tensors, which are not loaded because that would run code"
            " from the file"
        ) from error
    by_ends = isinstance(loaded, Mapping) and "model" in loaded and loaded.get(HEURISTICS)
    return _split(path, loaded, "suffix" if by_ends else "exact")


def _from_pickle(path: Path) -> WeightsFile:
    loaded = load_numpy_pickle(path)
    if isinstance(loaded, Mapping) and "model" in loaded and "__author__" in loaded:
        return _split(path, loaded, "suffix" if loaded.get(HEURISTICS) else "exact")
    # Files of the Caffe2 era hold the arrays directly or below "blobs", with the optimizer's
    # momentum between them.
    blobs = loaded.get("blobs", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(blobs, Mapping):
        return _split(path, {"model": blobs}, "caffe2")
    kept = {
        name: value
        for name, value in blobs.items()
        if isinstance(value, np.ndarray) and not name.endswith("_momentum")
    }
    others = {name: value for name, value in loaded.items() if name != "blobs" and name not in kept}
    momentum = [name for name in blobs if name.endswith("_momentum")]
    return _split(
        path, {**others, **{name: blobs[name] for name in momentum}, "model": kept}, "caffe2"
    )


def _split(path: Path, loaded: Any, name_matching: str) -> WeightsFile:
    if not isinstance(loaded, Mapping):
        raise ValueError(
            f"{path}: expected a dictionary of weights, got {type(loaded).__name__}; save"
            " model.state_dict()"
        )
    weights = loaded.get("model", loaded)
    if not isinstance(weights, Mapping):
        raise ValueError(
            f"{path}: 'model' holds {type(weights).__name__}, expected a dictionary of weights"
        )
    tensors = {name: _tensor(path, name, value) for name, value in weights.items()}
    extra = (
        {name: value for name, value in loaded.items() if name != "model"}
        if "model" in loaded
        else {}
    )
    return WeightsFile(path, _without_module(tensors), extra, name_matching)


def _tensor(path: Path, name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return torch.from_numpy(np.array(value))
    raise ValueError(f"{path}: entry {name!r} is a {type(value).__name__}, expected a tensor")


def _without_module(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if weights and all(name.startswith("module.") for name in weights):
        return {name.removeprefix("module."): value for name, value in weights.items()}
    return dict(weights)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
