"""Reading pickles of NumPy arrays and plain containers, without running any code of theirs.

The official DensePose files are pickles, some written by Python 2, one of them gigabytes long. A
pickle can name any function to call; this reader knows the few that arrays are made of and refuses
every other one. It does not load large arrays but notes where their bytes lie, so that they can be
read piece by piece.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from .file_kind import refuse_wrong_kind
from .stored_array import StoredArray, StoredBytes

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
# Strings from this length on are left in the file.
LARGE_BYTES = 1 << 20
_LINE_PIECE = 1 << 20


def load_numpy_pickle(path: str | os.PathLike[str]) -> Any:
    """The content of a pickle made of arrays, dicts, lists, strings and numbers.

    Byte strings of Python 2 are read as latin-1, as NumPy asks for.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, or needs anything else to be loaded.
    """
    return _read(path, StoredArray.read, StoredBytes.read)


def open_numpy_pickle(path: str | os.PathLike[str]) -> Any:
    """The same with a :class:`StoredArray` in place of every array; large ones are not read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or cut off, or needs anything else to be loaded.
    """
    return _read(path, lambda array: array, lambda text: text)


def _read(path: str | os.PathLike[str], array: Callable, text: Callable) -> Any:
    refuse_wrong_kind(path)
    with open(path, "rb") as file:
        try:
            return _replaced(_ArrayLocator(file, os.fspath(path)).load(), array, text)
        except _RefusedError as error:
            raise ValueError(
                f"{path}: asks for {error}; only NumPy arrays and plain containers are read from"
                " a pickle, anything else could run code. Take the file from its official source"
            ) from error
        except _DAMAGE as error:
            raise ValueError(
                f"{path}: not a complete pickle ({error}); fetch the file again"
            ) from error


# What the pickle module raises on bytes that are no pickle, or only the beginning of one.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    AssertionError,
    RecursionError,
    struct.error,
)


class _RefusedError(Exception):
    """A name that no array needs."""


class _Shell:
    """An array while it is read: what NumPy's ``__setstate__`` is given."""

    stored: StoredArray

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        if isinstance(data, str):  # of Python 2
            data = data.encode("latin1")
        self.stored = StoredArray(data, tuple(shape), dtype, bool(fortran))


class _ArrayLocator(pickle._Unpickler):
    """Python's own unpickler with large strings and arrays replaced by notes of their place."""

    # A file position is needed, which the C version does not tell.
    dispatch: dict[int, Callable] = dict(pickle._Unpickler.dispatch)  # noqa: RUF012

    def __init__(self, file: BinaryIO, path: str) -> None:
        super().__init__(file, encoding="latin1")
        self._stream, self._path = file, path
        self._size = os.fstat(file.fileno()).st_size

    def load_frame(self) -> None:
        """Frames only say how much to read ahead; their content follows either way."""
        self.read(8)

    dispatch[pickle.FRAME[0]] = load_frame

    def load_string(self) -> None:
        """A line of text with escapes, in protocol 0."""
        start = self._stream.tell()
        length = _line_length(self._stream)
        self._stream.seek(start)
        if length < LARGE_BYTES:
            super().load_string()
        else:
            # Without the quotes around it and the end of the line.
            self.append(StoredBytes(self._path, start + 1, length - 3, "escaped"))
            self._stream.seek(start + length)

    dispatch[pickle.STRING[0]] = load_string

    def find_class(self, module: str, name: str) -> Any:
        """The callables of pickled arrays and containers, wherever the writing NumPy kept them."""
        if module in _MULTIARRAY and name == "_reconstruct":
            return _new_shell
        if module in _NUMERIC and name == "_frombuffer":
            return _from_buffer
        if module in _MULTIARRAY and name == "scalar":
            return _scalar
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("numpy", "ndarray"):
            return _Shell
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if name == "bytes" and module in ("builtins", "__builtin__"):
            return _no_bytes
        raise _RefusedError(f"{module}.{name}")


def _skipping(original: Callable, length_format: str, coding: str) -> Callable:
    """The handler of a counted string that leaves large ones in the file."""
    width = struct.calcsize(length_format)

    def load(self: _ArrayLocator) -> None:
        start = self._stream.tell()
        length = struct.unpack(length_format, self.read(width))[0]
        if start + width + length > self._size:
            needed = start + width + length
            raise EOFError(f"the file ends at byte {self._size:,} of at least {needed:,}")
        if length < LARGE_BYTES:
            self._stream.seek(start)
            original(self)
        else:
            self.append(StoredBytes(self._path, start + width, length, coding))
            self._stream.seek(length, os.SEEK_CUR)

    return load


for _code, _format, _coding in (
    (pickle.BINSTRING, "<i", "raw"),
    (pickle.BINBYTES, "<I", "raw"),
    (pickle.BINBYTES8, "<Q", "raw"),
    (pickle.BYTEARRAY8, "<Q", "raw"),
    (pickle.BINUNICODE, "<I", "utf-8"),
    (pickle.BINUNICODE8, "<Q", "utf-8"),
):
    _ArrayLocator.dispatch[_code[0]] = _skipping(
        pickle._Unpickler.dispatch[_code[0]], _format, _coding
    )


def _line_length(file: BinaryIO) -> int:
    """Bytes up to and with the next end of a line; the line is not kept."""
    length = 0
    while piece := file.readline(_LINE_PIECE):
        length += len(piece)
        if piece.endswith(b"\n"):
            return length
    raise EOFError("a line of text has no end")


def _new_shell(*_: Any) -> _Shell:
    return _Shell()


def _from_buffer(data: Any, dtype: np.dtype, shape: tuple, order: str) -> _Shell:
    """An array of protocol 5."""
    shell = _Shell()
    shell.stored = StoredArray(data, tuple(shape), dtype, order == "F")
    return shell


def _scalar(dtype: np.dtype, data: Any) -> np.generic:
    data = data.encode("latin1") if isinstance(data, str) else data
    return StoredArray(data, (), dtype, False).read()[()]


def _latin1(text: Any, encoding: str = "latin1") -> Any:
    """Bytes that a pickle before protocol 3 holds as text."""
    if encoding != "latin1":
        raise _RefusedError(f"the text encoding {encoding!r}")
    return text if isinstance(text, StoredBytes) else text.encode("latin1")


def _no_bytes() -> bytes:
    """Empty bytes in a pickle before protocol 3."""
    return b""


def _dtype(kind: str, *flags: Any) -> np.dtype:
    """The constructor of a pickled dtype; old pickles give its two flags as numbers."""
    return np.dtype(kind, *(bool(flag) for flag in flags))


def _replaced(content: Any, array: Callable, text: Callable) -> Any:
    """Plain containers with arrays and large strings replaced by what the functions return."""
    if isinstance(content, _Shell):
        return array(content.stored)
    if isinstance(content, StoredBytes):
        return text(content)
    if isinstance(content, dict):
        pairs = content.items()
        return type(content)((k, _replaced(value, array, text)) for k, value in pairs)
    if isinstance(content, (list, tuple)):
        return type(content)(_replaced(value, array, text) for value in content)
    return content
