"""Reading pickles of NumPy arrays and plain containers, without running any code of theirs.

The official DensePose files are pickles, some written by Python 2. A pickle can name any function
to call; this reader knows the few that arrays are made of and refuses every other one.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


def load_numpy_pickle(path: str | os.PathLike[str]) -> Any:
    """The content of a pickle made of arrays, dicts, lists, strings and numbers.

    Byte strings of Python 2 are read as latin-1, as NumPy asks for.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, or needs anything else to be loaded.
    """
    with open(path, "rb") as file:
        try:
            return _ArrayUnpickler(file, encoding="latin1").load()
        except _RefusedError as error:
            raise ValueError(
                f"{path}: asks for {error}; only NumPy arrays and plain containers are read from"
                " a pickle, anything else could run code. Take the file from its official source"
            ) from error
        except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError) as error:
            raise ValueError(
                f"{path}: not a complete pickle ({error}); fetch the file again"
            ) from error


class _RefusedError(Exception):
    """A name that no array needs."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The callables of pickled arrays and containers, wherever the writing NumPy kept them."""
        if module in _MULTIARRAY and name == "_reconstruct":
            return np.zeros(0).__reduce__()[0]
        if module in _NUMERIC and name == "_frombuffer":
            return np.zeros(1).__reduce_ex__(5)[0]
        if module in _MULTIARRAY and name == "scalar":
            return np.float32(0).__reduce__()[0]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if name == "bytes" and module in ("builtins", "__builtin__"):
            return _no_bytes
        raise _RefusedError(f"{module}.{name}")


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Bytes that a pickle before protocol 3 holds as text."""
    if encoding != "latin1":
        raise _RefusedError(f"the text encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Empty bytes in a pickle before protocol 3."""
    return b""


def _dtype(kind: str, *flags: Any) -> np.dtype:
    """The constructor of a pickled dtype; old pickles give its two flags as numbers."""
    return np.dtype(kind, *(bool(flag) for flag in flags))
