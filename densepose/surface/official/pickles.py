"""Reading pickles of NumPy arrays and plain containers, without running any code of theirs.

The official DensePose files and detectron2's released weights (.pkl) are pickles, some written by
Python 2. A pickle can name any function to call; this reader knows the few that arrays are made of
and refuses every other one. The model zoo reads with it, too.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from typing import Any

import numpy as np

from densepose.errors import InputError
from densepose.files import refuse_wrong_kind

# What the pickle module and NumPy raise on bytes that are not a pickle, or only a part of one.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
)


def load_numpy_pickle(path: str | os.PathLike[str]) -> Any:
    """The content of a pickle made of arrays, dicts, lists, strings and numbers.

    Byte strings of Python 2 are read as latin-1, as NumPy asks for. A large array needs its size in
    memory twice while it is read.

    Raises:
        InputError: no such file; the file is damaged, or needs anything else to be loaded.
    """
    refuse_wrong_kind(path)
    try:
        with open(path, "rb") as file:
            return to_plain(_ArrayUnpickler(file, encoding="latin1").load())
    except _RefusedError as error:
        raise InputError(
            f"{path}: asks for {error}; only NumPy arrays and plain containers are read from a"
            " pickle, anything else could run code. Take the file from its official source"
        ) from error
    except _DAMAGE as error:
        raise InputError(
            f"{path}: not a complete pickle ({error}); fetch the file again"
        ) from error


class _RefusedError(Exception):
    """Something that no array of numbers needs."""


class _Dtype:
    """A pickled dtype. NumPy's own ``__setstate__`` believes any flags and may crash by them."""

    def __init__(self, kind: str, *_: Any) -> None:
        self.dtype = np.dtype(kind)
        if self.dtype.kind not in "biufcSU":
            raise _RefusedError(f"an array of Python objects or records ({self.dtype})")

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """A pickled array: made empty, then given version, shape, dtype, order and bytes."""

    def __init__(self, *_: Any) -> None:
        self.array = np.zeros(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, fortran, data = state
        self.array = _from_buffer(data, kind, shape, "F" if fortran else "C").array


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The callables of pickled arrays and containers, wherever the writing NumPy kept them."""
        try:
            return CALLABLES[module.replace("numpy._core.", "numpy.core."), name]
        except KeyError:
            raise _RefusedError(f"{module}.{name}") from None


def _from_buffer(data: Any, kind: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    if not isinstance(data, bytearray):  # text is of Python 2; a copy of bytes can be written to
        data = bytearray(data, "latin1") if isinstance(data, str) else bytearray(data)
    made = _Array()
    made.array = np.frombuffer(data, kind.dtype).reshape(shape, order=order)
    return made


def _scalar(kind: _Dtype, data: Any) -> np.generic:
    return _from_buffer(data, kind, (), "C").array[()]


def _latin1(text: str, encoding: str = "latin1") -> bytearray:
    """Bytes that a pickle before protocol 3 holds as text."""
    if encoding != "latin1":
        raise _RefusedError(f"the text encoding {encoding!r}")
    return bytearray(text, "latin1")


def _no_bytes() -> bytes:
    """Empty bytes in a pickle before protocol 3."""
    return b""


# What pickles of arrays and containers may call, and what stands in for it.
CALLABLES = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _latin1,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
}


def to_plain(content: Any) -> Any:
    """Containers with NumPy's arrays in place of those above."""
    if isinstance(content, _Array):
        return content.array
    if isinstance(content, dict):
        return type(content)((key, to_plain(value)) for key, value in content.items())
    if isinstance(content, (list, tuple)):
        return type(content)(to_plain(value) for value in content)
    return bytes(content) if isinstance(content, bytearray) else content
