"""An array whose values still lie in the file it was found in, to be read piece by piece.

Reading pickles of NumPy arrays and plain containers, without running any code of theirs.

The official DensePose files are pickles, some written by Python 2, one of them gigabytes long. A
pickle can name any function to call; this reader knows the few that arrays are made of and refuses
every other one. It does not load large arrays but notes where their bytes lie, so that they can be
read piece by piece.
"""

from __future__ import annotations

import codecs
import math
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .reading import refuse_wrong_kind

_PIECE = 1 << 22


@dataclass(frozen=True)
class StoredBytes:
    """A string of bytes in a file, as it is ("raw") or in one of the text forms of a pickle."""

    path: str
    start: int
    length: int  # bytes in the file
    coding: str  # "raw"; "escaped": a Python literal; "utf-8": latin-1 text, coded as utf-8

    def pieces(self) -> Iterator[bytes]:
        """The decoded bytes, a few megabytes at a time."""
        coded = self._coded_pieces()
        if self.coding == "escaped":
            return _unescaped(coded)
        if self.coding == "utf-8":
            decoder = codecs.getincrementaldecoder("utf-8")()
            return (decoder.decode(piece).encode("latin1") for piece in coded)
        return coded

    def read(self) -> bytes:
        """All of them."""
        return b"".join(self.pieces())

    def _coded_pieces(self) -> Iterator[bytes]:
        left = self.length
        with open(self.path, "rb") as file:
            file.seek(self.start)
            while left:
                piece = file.read(min(left, _PIECE))
                if not piece:
                    raise ValueError(f"{self.path}: became shorter while it was read")
                left -= len(piece)
                yield piece


@dataclass(frozen=True)
class StoredArray:
    """One array of a pickle; ``data`` are its bytes, in memory or in the file."""

    data: StoredBytes | bytes | bytearray
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool  # the first index runs fastest

    def __post_init__(self) -> None:
        if not isinstance(self.dtype, np.dtype) or self.dtype.hasobject:
            raise TypeError(f"an array of Python objects ({self.dtype}) is not read from a pickle")
        if not all(isinstance(n, int) and n >= 0 for n in self.shape):
            raise ValueError(f"an array of shape {self.shape}")
        stored = self.data
        if isinstance(stored, StoredBytes):
            length = stored.length if stored.coding == "raw" else None
        else:
            length = len(stored)
        if length is not None and length != self.nbytes:
            raise ValueError(
                f"an array of shape {self.shape} and {self.dtype} needs {self.nbytes:,} bytes, got"
                f" {length:,}"
            )

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.size * self.dtype.itemsize

    def blocks(self, num_values: int) -> Iterator[NDArray]:
        """All values in the order in which they are stored.

        Args:
            num_values: values in a block; the last one may have fewer.

        Raises:
            ValueError: the bytes do not give as many values as the shape asks for.
        """
        block, got = num_values * self.dtype.itemsize, 0
        held = bytearray()
        pieces = self.data.pieces() if isinstance(self.data, StoredBytes) else (self.data,)
        for piece in pieces:
            held += piece
            while len(held) >= block:
                got += block
                yield np.frombuffer(bytes(held[:block]), self.dtype)
                del held[:block]
        got += len(held)
        if got != self.nbytes:
            raise ValueError(
                f"an array of shape {self.shape} and {self.dtype} needs {self.nbytes:,} bytes, got"
                f" {got:,}"
            )
        if held:
            yield np.frombuffer(bytes(held), self.dtype)

    def read(self) -> NDArray:
        """The whole array, in memory."""
        if isinstance(self.data, StoredBytes) and self.data.coding == "raw":
            flat = np.fromfile(self.data.path, self.dtype, self.size, offset=self.data.start)
            if len(flat) != self.size:
                raise ValueError(f"{self.data.path}: became shorter while it was read")
        else:
            flat = np.concatenate([np.zeros(0, self.dtype), *self.blocks(_PIECE)])
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


def _unescaped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Bytes of a Python literal given in pieces that may end inside an escape."""
    rest = b""
    for piece in pieces:
        whole = rest + piece
        end = _last_whole_escape(whole)
        rest = whole[end:]
        yield codecs.escape_decode(whole[:end])[0]
    if rest:
        raise ValueError("a line of text ends inside an escape")


def _last_whole_escape(text: bytes) -> int:
    r"""Length of the longest beginning that ends in no escape (\n, \\, \x00)."""
    slash = text.rfind(b"\\", max(0, len(text) - 4))
    if slash < 0:
        return len(text)
    before = text[: slash + 1]
    run = len(before) - len(before.rstrip(b"\\"))
    if run % 2 == 0:  # the second of a pair that stands for one
        return len(text)
    after = text[slash + 1 : slash + 2]
    needed = 4 if after == b"x" else 2
    return len(text) if len(text) >= slash + needed else slash


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
