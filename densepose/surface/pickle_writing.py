"""Writing one float32 array as a pickle, piece by piece, for programs that read nothing else."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_EMPTY_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
_FLOAT32 = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"
_LITTLE_ENDIAN = b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def write_array_pickle(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    blocks: Iterable[NDArray[np.float32]],
    *,
    key: str | None = None,
) -> None:
    """Write what ``pickle.dump`` writes for a float32 array, whole or not at all.

    Args:
        path: the file.
        shape: of the array.
        blocks: its values in C order, some at a time.
        key: write a dict with the array under this key.

    Raises:
        ValueError: the blocks have more or fewer values than the shape.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    size = math.prod(shape)
    sides = b"".join(b"J" + struct.pack("<i", side) for side in shape)
    # What follows is a program for the stack machine of pickle, protocol 4: make an empty array,
    # then give it its version, shape, type, order and bytes.
    head = b"\x80\x04" + (b"}" + _text(key) if key is not None else b"")
    head += _EMPTY_ARRAY + b"(K\x01(" + sides + b"t" + _FLOAT32 + _LITTLE_ENDIAN + b"\x89"
    head += b"\x8e" + struct.pack("<Q", 4 * size)
    written = 0
    try:
        with open(temporary, "wb") as file:
            file.write(head)
            for block in blocks:
                file.write(np.ascontiguousarray(block, "<f4").tobytes())
                written += block.size
            file.write(b"tb" + (b"s." if key is not None else b"."))
        if written != size:
            raise ValueError(f"{path}: shape {shape} needs {size} values, got {written}")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _text(text: str) -> bytes:
    coded = text.encode("utf-8")
    return b"X" + struct.pack("<I", len(coded)) + coded
