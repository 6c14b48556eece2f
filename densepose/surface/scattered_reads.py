"""Reading single elements of a large mapped array without making its pages part of the process.

Every access through a map keeps 64 KiB resident: some ten thousand elements all over a table of
distances, and the whole table counts as memory of the process.
"""

from __future__ import annotations

import mmap
import os
from itertools import repeat

import numpy as np


def read_scattered(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Elements of a 1-D array: (K,) places -> (K,) values, as ``array[index]``.

    Of a read-only map they are read from its file, which is about as fast.

    Raises:
        IndexError: a place is below 0 or beyond the end.
        OSError: the file has become shorter than it was when it was mapped.
    """
    if len(index) and (index.min() < 0 or index.max() >= len(array)):
        raise IndexError(f"places must be from 0 to {len(array) - 1}")
    # A slice of a map keeps the attributes of the whole, its offset among them.
    whole = isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap)
    if not (whole and array.mode == "r" and array.filename and hasattr(os, "pread")):
        return np.asarray(array[index])
    order = np.argsort(index)
    places = (array.offset + index[order] * array.itemsize).tolist()
    file = os.open(array.filename, os.O_RDONLY)
    try:
        content = b"".join(map(os.pread, repeat(file), repeat(array.itemsize), places))
    finally:
        os.close(file)
    if len(content) != array.itemsize * len(index):
        raise OSError(f"{array.filename}: shorter than it was when it was opened")
    values = np.empty(len(index), array.dtype)
    values[order] = np.frombuffer(content, array.dtype)
    return values
