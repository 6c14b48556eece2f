"""Golden files: a small, fixed part of what detectron2's DensePose computes.

``summary`` is made of either side's results; ``differences`` finds what is not equal but for
rounding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .bootstrap import pixels_of
from .inputs import Case, seeded_tensor

SEED = 1  # with it every kind of head sees people in a good part of the boxes
# Everything behind the backbone is narrow, or the golden tests would take ten minutes.
NARROW = (
    *("MODEL.FPN.OUT_CHANNELS", "64", "MODEL.HRNET.HRFPN.OUT_CHANNELS", "64"),
    *("MODEL.ROI_BOX_HEAD.FC_DIM", "64", "MODEL.ROI_MASK_HEAD.CONV_DIM", "64"),
    *("MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM", "64"),
    *("MODEL.ROI_DENSEPOSE_HEAD.DECODER_CONV_DIMS", "64"),
    *("MODEL.ROI_DENSEPOSE_HEAD.DECODER_NUM_CLASSES", "64"),
)
MAP_LIMIT = 1e-4  # of raw outputs, by the root mean square of the map
RELATIVE_LIMIT = 1e-5  # of losses and gradients, which are computed in float64
UV_LIMIT = 1  # steps of 1 / 255
PIXEL_LIMIT = 2  # pixels that may fall to another label by rounding, of a person
_SAMPLES, _PIXELS = 16, 64  # of a map, of a person


def case_of(config: str) -> Case:
    """The case whose results are kept."""
    return Case(config, NARROW, SEED)


def names_digest(shapes: Mapping[str, list[int]]) -> str:
    """A number that shows whether two models have the same parameter names and shapes."""
    lines = [f"{name} {'x'.join(map(str, shapes[name]))}" for name in sorted(shapes)]
    return sha256("\n".join(lines).encode()).hexdigest()


def summary(results: Mapping[str, Tensor], seed: int = SEED) -> dict[str, Any]:
    """Norms and sampled values of maps and people, losses, gradients by group of parameters.

    A group is the first three parts of a name. Its gradient is kept as its length and as its
    component along the seeded weights, which changes with the sign or the order of values, too.

    Args:
        results: map/NAME, iuv/PERSON, loss/NAME and gradient/NAME.
        seed: of the weights.
    """
    found: dict[str, Any] = {"maps": {}, "people": {}, "losses": {}, "gradients": {}}
    groups: dict[str, list[str]] = {}
    for key in sorted(results):
        kind, _, name = key.partition("/")
        if kind == "map":
            found["maps"][name] = _map_summary(name, results[key].double())
        elif kind == "iuv":
            found["people"][name] = _person_summary(results[key])
        elif kind == "loss":
            found["losses"][name] = float(results[key])
        else:
            groups.setdefault(".".join(name.split(".")[:3]), []).append(name)
    for group, names in groups.items():
        gradient = torch.cat([results[f"gradient/{name}"].double().flatten() for name in names])
        shapes = [tuple(results[f"gradient/{name}"].shape) for name in names]
        weights = [seeded_tensor(n, s, seed) for n, s in zip(names, shapes, strict=True)]
        along = torch.cat([tensor.double().flatten() for tensor in weights])
        component = float(gradient @ along / along.norm())
        found["gradients"][group] = [float(gradient.norm()), component]
    return found


def _map_summary(name: str, values: Tensor) -> dict[str, Any]:
    places = _places(name, values.numel(), _SAMPLES)
    return {
        "shape": list(values.shape),
        "rms": _short(values.square().mean().sqrt()),
        "mean": _short(values.mean()),
        "samples": [_short(value) for value in values.flatten()[places]],
    }


def _short(value: Tensor) -> float:
    return float(f"{float(value):.8g}")


def _person_summary(iuv: Tensor) -> dict[str, Any]:
    labels, counts = iuv[0].unique(return_counts=True)
    places = _places("pixels", iuv[0].numel(), _PIXELS)
    return {
        "size": list(iuv.shape[1:]),
        "pixels_of_label": dict(zip(map(str, labels.tolist()), counts.tolist(), strict=True)),
        "samples": iuv.flatten(1)[:, places].tolist(),  # labels, U, V
    }


def _places(name: str, count: int, number: int) -> Tensor:
    """Places among ``count`` that depend on a name alone."""
    seed = int.from_bytes(sha256(name.encode()).digest()[:4], "big")
    return torch.from_numpy(np.random.default_rng(seed).integers(0, count, number))


def differences(got: Mapping[str, Any], want: Mapping[str, Any]) -> list[str]:
    """One sentence for each part of a summary that is not equal but for rounding."""
    wrong = []
    for part in ("maps", "people", "losses", "gradients"):
        if set(got[part]) != set(want[part]):
            wrong.append(f"{part}: {sorted(got[part])} instead of {sorted(want[part])}")
    if wrong:
        return wrong
    for name, theirs in want["maps"].items():
        wrong += _map_differences(name, got["maps"][name], theirs)
    for name, theirs in want["people"].items():
        wrong += _person_differences(name, got["people"][name], theirs)
    for name, theirs in want["losses"].items():
        ours = got["losses"][name]
        if abs(ours - theirs) > RELATIVE_LIMIT * abs(theirs):
            wrong.append(f"{name} is {ours!r} instead of {theirs!r}")
    whole = sum(length**2 for length, _ in want["gradients"].values()) ** 0.5
    for name, theirs in want["gradients"].items():
        ours = got["gradients"][name]
        apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        # Gradients of biases before a norm are zero but for rounding.
        if apart > RELATIVE_LIMIT * theirs[0] + 1e-10 * whole:
            wrong.append(f"gradient of {name}: length, component {ours} instead of {theirs}")
    return wrong


def _map_differences(name: str, got: dict[str, Any], want: dict[str, Any]) -> list[str]:
    if got["shape"] != want["shape"]:
        return [f"map {name} has shape {got['shape']} instead of {want['shape']}"]
    apart = np.abs(
        np.array([got["rms"], got["mean"], *got["samples"]])
        - np.array([want["rms"], want["mean"], *want["samples"]])
    ).max()
    if not apart <= MAP_LIMIT * want["rms"]:
        return [f"map {name} differs by {apart:.2g}; its root mean square is {want['rms']:.2g}"]
    return []


def _person_differences(name: str, got: dict[str, Any], want: dict[str, Any]) -> list[str]:
    if got["size"] != want["size"]:
        return [f"person {name} has {got['size']} pixels instead of {want['size']}"]
    ours, theirs = got["pixels_of_label"], want["pixels_of_label"]
    moved = sum(abs(ours.get(k, 0) - theirs.get(k, 0)) for k in {*ours, *theirs}) // 2
    labels, *uv = (np.array(row) for row in got["samples"])
    their_labels, *their_uv = (np.array(row) for row in want["samples"])
    same = labels == their_labels
    if moved > PIXEL_LIMIT or (~same).sum() > PIXEL_LIMIT:
        return [f"person {name}: {moved} pixels of all, {(~same).sum()} samples of another label"]
    steps = max(np.abs(a[same] - b[same]).max(initial=0) for a, b in zip(uv, their_uv, strict=True))
    return [f"person {name}: U, V differ by {steps} steps of 1/255"] if steps > UV_LIMIT else []


def bootstrap_differences(got: Mapping[str, Any], want: Mapping[str, Any]) -> list[str]:
    """The same of what ``bootstrap.collect`` returns."""
    if set(got) != set(want):
        return [f"results {sorted(got)} instead of {sorted(want)}"]
    wrong = []
    for name, theirs in want.items():
        for kind, value in theirs.items():
            ours = got[name][kind]
            if kind == "uv":
                same = _close_points(ours, value)
            elif kind == "places" or name == "masks":
                same = len(ours) == len(value) and all(
                    (pixels_of(a) != pixels_of(b)).sum() <= PIXEL_LIMIT
                    for a, b in zip(ours, value, strict=True)
                )
            else:
                same = ours == value
            if not same:
                wrong.append(f"{name}: {kind} differ")
    return wrong


def _close_points(got: list[Any], want: list[Any]) -> bool:
    """Whether U and V are equal at all but a few of the places that both have."""
    for ours, theirs in zip(got, want, strict=True):
        ours, theirs = ({point[0]: point[1:] for point in points} for points in (ours, theirs))
        if len(set(ours) ^ set(theirs)) > PIXEL_LIMIT:
            return False
        both = set(ours) & set(theirs)
        if any(abs(a - b) > 1e-5 for k in both for a, b in zip(ours[k], theirs[k], strict=True)):
            return False
    return True


def read(path: Path) -> Any:
    """A golden file."""
    return json.loads(path.read_text(encoding="utf-8"))
