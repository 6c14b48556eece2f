"""An array whose values still lie in the file it was found in, to be read piece by piece."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
