"""Reading MATLAB files with checks that name the file, the key and what is wrong with it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from densepose.errors import InputError
from densepose.files import refuse_wrong_kind

BELONGS_HERE = (
    "the official evaluation files belong into this folder (`densepose download --list`"
    " prints where to get them)"
)


def read_mat(
    path: str | os.PathLike[str], names: tuple[str, ...], missing: str = BELONGS_HERE
) -> dict[str, NDArray[Any]]:
    """The named arrays of a MATLAB file.

    Args:
        path: the file.
        names: keys that it must have.
        missing: what the message about a missing file says besides its name.

    Raises:
        InputError: no such file; it is damaged or no MATLAB file, or lacks a key.
    """
    refuse_wrong_kind(path, missing)
    try:
        content = loadmat(path, variable_names=names)
        absent = [name for name in names if name not in content]
        held = sorted(k for k in loadmat(path) if not k.startswith("__")) if absent else []
    except Exception as error:  # scipy raises many kinds on a damaged file
        raise InputError(f"{path}: not a complete MATLAB file ({error}); fetch it again") from error
    if absent:
        raise InputError(
            f"{path}: no {absent[0]!r}; it holds {', '.join(held) if held else 'nothing'}"
        )
    return {name: content[name] for name in names}


def as_column(path: str | os.PathLike[str], name: str, array: NDArray) -> NDArray[np.float64]:
    """(N,) numbers of an array that is one row or one column.

    Raises:
        InputError: it is neither, or holds no numbers.
    """
    if array.dtype.kind not in "fiu" or array.size != max(array.shape, default=0):
        raise InputError(
            f"{path}: {name} must be one column of numbers, got shape {array.shape} of"
            f" {array.dtype}"
        )
    return array.reshape(-1).astype(np.float64)


def read_columns(path: str | os.PathLike[str], names: tuple[str, ...]) -> list[NDArray[np.float64]]:
    """Columns of one length, (N,) each.

    Raises:
        InputError: no such file; as for :func:`read_mat`; a key is not a column, or lengths differ.
    """
    content = read_mat(path, names)
    flat = [as_column(path, name, content[name]) for name in names]
    if len({len(column) for column in flat}) != 1:
        lengths = {name: len(column) for name, column in zip(names, flat, strict=True)}
        raise InputError(f"{path}: columns of different lengths: {lengths}")
    return flat


def check_range(
    path: str | os.PathLike[str],
    name: str,
    values: NDArray[np.number],
    low: float,
    high: float,
    *,
    whole: bool = False,
) -> None:
    """Check numbers that were read.

    Raises:
        InputError: one is outside [low, high], not a number, or (``whole``) not a whole number.
    """
    wrong = ~((values >= low) & (values <= high))
    if whole:
        wrong |= values != np.floor(values)
    if wrong.any():
        raise InputError(
            f"{path}: {name} must be {'whole numbers ' if whole else ''}from {low} to {high}, got"
            f" {values[wrong][0]} ({int(wrong.sum())} wrong values)"
        )
