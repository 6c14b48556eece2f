"""Files of weights written anew: as safetensors or .pth, under a model's names, in half precision.

Only weights are written. What else a checkpoint holds (optimizer, schedule) is told and left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import densepose

from .name_matching import rename_caffe2
from .weights_file import HEURISTICS, WeightsFile, read_weights

SUFFIXES = (".safetensors", ".pth")
NOTES = ("config", "iteration", "licence", "__author__")  # of a file's extra, kept as text
SHOWN = 8  # names printed of a list


@dataclass(frozen=True)
class Conversion:
    """What was written."""

    target: Path
    num_tensors: int
    num_values: int
    bytes_before: int
    bytes_after: int
    num_halved: int
    # Matrices that half precision cannot hold (values beyond 65504), by name.
    kept_full: tuple[str, ...]
    largest_rounding: float  # of a halved value, as a share of the largest of its tensor
    left_out: tuple[str, ...]  # entries of the source that are no weights

    def text(self) -> str:
        """Lines for a person."""
        lines = [
            f"{self.num_tensors} tensors, {self.num_values / 1e6:.1f} million values:"
            f" {self.bytes_before / 2**20:.1f} MB -> {self.bytes_after / 2**20:.1f} MB"
        ]
        if self.num_halved:
            lines.append(
                f"{self.num_halved} in half precision, largest rounding"
                f" {self.largest_rounding:.1e} of the tensor's largest value"
            )
        if self.kept_full:
            lines.append(f"too large for half precision: {', '.join(self.kept_full)}")
        if self.left_out:
            shown = ", ".join(self.left_out[:SHOWN])
            more = len(self.left_out) - SHOWN
            rest = f" and {more} more" if more > 0 else ""
            lines.append(f"left out, being no weights: {shown}{rest}")
        return "\n".join(lines)


def convert_weights(
    file: WeightsFile,
    target: Path,
    *,
    named: Mapping[str, Tensor] | None = None,
    half: bool = False,
    notes: Mapping[str, str] | None = None,
) -> Conversion:
    """Write the weights of a file to ``target``, in full or not at all, and read them back.

    Args:
        file: as read.
        target: ends in ``.safetensors`` or ``.pth``; an existing file is replaced.
        named: the weights to write, under a model's names; by default those of the file, with
            Caffe2's names rewritten.
        half: matrices and kernels as float16; norms, biases and statistics stay as they are.
        notes: further metadata.

    Raises:
        ValueError: another ending, or names that cannot be rewritten.
        OSError: the file cannot be written.
    """
    if target.suffix not in SUFFIXES:
        raise ValueError(f"{target}: the name has to end in {' or '.join(SUFFIXES)}")
    weights, by_ends = named, False
    if weights is None:
        is_caffe2 = file.name_matching == "caffe2"
        weights = rename_caffe2(str(file.path), file.weights) if is_caffe2 else file.weights
        by_ends = file.name_matching != "exact"
    rounding: dict[str, float] = {}
    kept_full: list[str] = []
    written = {
        name: _halved(name, value, rounding, kept_full) if half else value
        for name, value in weights.items()
    }
    # Tensors may be views of one another, which safetensors refuses.
    written = {name: value.contiguous().clone() for name, value in written.items()}
    metadata = _metadata(file, by_ends, notes or {})
    write_whole(target, lambda part: _write(part, written, metadata))
    return Conversion(
        target=target,
        num_tensors=len(written),
        num_values=sum(value.numel() for value in written.values()),
        bytes_before=file.path.stat().st_size,
        bytes_after=target.stat().st_size,
        num_halved=len(rounding),
        kept_full=tuple(kept_full),
        largest_rounding=max(rounding.values(), default=0.0),
        left_out=tuple(sorted(file.extra.keys() - {*NOTES, HEURISTICS, "metadata"})),
    )


def write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Call ``write`` with a name beside ``target``, then rename; a failure leaves nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        write(part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _write(part: Path, weights: dict[str, Tensor], metadata: dict[str, str]) -> None:
    if part.suffix == ".safetensors":
        save_file(weights, part, metadata={"format": "pt", **metadata})
    else:
        content = {"model": weights, "metadata": metadata, "__author__": metadata["__author__"]}
        if metadata.get(HEURISTICS):
            content[HEURISTICS] = True
        torch.save(content, part)
    read = read_weights(part).weights
    if {n: (v.shape, v.dtype) for n, v in read.items()} != {
        n: (v.shape, v.dtype) for n, v in weights.items()
    }:
        raise OSError(f"{part}: what was written is not what can be read; is the disk sound?")


def _metadata(file: WeightsFile, by_ends: bool, notes: Mapping[str, str]) -> dict[str, str]:
    known = {**file.extra, **file.extra.get("metadata", {})}
    found = {key: str(known[key]) for key in NOTES if key in known}
    metadata = {
        "__author__": "unknown",
        **found,
        **notes,
        "source": file.path.name,
        "written_by": f"densepose {densepose.__version__}",
    }
    return {**metadata, HEURISTICS: "True"} if by_ends else metadata


def _halved(name: str, value: Tensor, rounding: dict[str, float], kept_full: list[str]) -> Tensor:
    """The tensor in half precision where that is possible; the two collections are added to."""
    if value.ndim < 2 or value.dtype not in (torch.float32, torch.float64) or not value.numel():
        return value
    small = value.to(torch.float16)
    if not torch.isfinite(small).all():
        kept_full.append(name)
        return value
    largest = value.abs().max()
    difference = (value - small.to(value.dtype)).abs().max()
    rounding[name] = float(difference / largest) if largest else 0.0
    return small
