"""Reading what ``torch.save`` and ``pickle.dump`` wrote, without torch and without running code.

A pickle can name any function to call. This reader knows those that tensors are made of, puts plain
objects in place of the classes it is told about, and refuses every other name. The numbers of a
tensor stay in the file until they are asked for.

Three forms: the archive that torch.save writes since 1.6, its older stream of pickles, and a plain
pickle in which every tensor carries such a stream.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# The first value of the older stream, and the only version of it there ever was.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DAMAGE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, EOFError, ValueError, TypeError, LookupError),
    *(AttributeError, OverflowError, RecursionError, NotImplementedError, RuntimeError),
)


@dataclass(frozen=True)
class Storage:
    """Numbers in a file."""

    dtype: np.dtype
    count: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements

    def array(self) -> np.ndarray:
        """Its numbers, read now.

        Raises:
            ValueError: the view leaves its storage, or the storage is cut.
        """
        size = self.storage.count
        last = self.offset + sum(
            (side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True)
        )
        empty = 0 in self.shape
        # Numbers that are shown more than once could fill the memory from a small file.
        fits = empty or (last < size and math.prod(self.shape) <= size)
        if min(self.offset, *self.shape, *self.strides, 0) < 0 or not fits:
            raise ValueError(f"a tensor of {self.shape} leaves its storage of {size} numbers")
        content = self.storage.read()
        if len(content) != size * self.storage.dtype.itemsize:
            raise ValueError(f"a storage of {size} numbers has {len(content)} bytes")
        if empty:
            return np.zeros(self.shape, self.storage.dtype)
        numbers = np.frombuffer(content, self.storage.dtype)[self.offset :]
        steps = [stride * numbers.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(numbers, self.shape, steps, writeable=False)


class PlainObject:
    """Stands for an instance of a class that was not imported; has its attributes."""

    class_name = ""


def load_torch_pickle(path: str | os.PathLike[str], classes: Collection[str]) -> Any:
    """The content of a file, with :class:`StoredTensor` and :class:`PlainObject` in it.

    Args:
        path: of the file; it must stay while tensors are read.
        classes: names of the classes whose instances may be in it, wherever they were defined.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, or needs any other class or function to be loaded.
    """
    try:
        if zipfile.is_zipfile(path):
            return _load_archive(path, classes)
        with open(path, "rb") as file:
            return _load_stream(file, path, classes)
    except _RefusedError as error:
        raise ValueError(
            f"{path}: asks for {error}; only tensors, plain containers and"
            f" {', '.join(sorted(classes))} are read from a pickle, anything else could run code"
        ) from error
    except _DAMAGE as error:
        raise ValueError(f"{path}: damaged, or not written by torch.save ({error})") from error


class _RefusedError(Exception):
    """A name that is neither of a tensor nor among the classes."""


class _TensorUnpickler(pickle.Unpickler):
    def __init__(
        self,
        file: BinaryIO,
        classes: Collection[str],
        storage: Callable[[Any], Storage] | None = None,
    ) -> None:
        super().__init__(file, encoding="latin1")
        self._classes = {name: type(name, (PlainObject,), {"class_name": name}) for name in classes}
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """What tensors and containers are made of, and stand-ins for the known classes."""
        if module == "torch" and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        if (module, name) in _CALLS:
            return _CALLS[module, name]
        if module.split(".")[0] == "densepose" and name in self._classes:
            return self._classes[name]
        raise _RefusedError(f"{module}.{name}")

    def persistent_load(self, key: Any) -> Storage:
        """The storage that a tensor refers to."""
        if self._storage is None or not isinstance(key, tuple) or key[:1] != ("storage",):
            raise pickle.UnpicklingError(f"an unknown reference {str(key)[:80]}")
        return self._storage(key)


def _load_archive(path: str | os.PathLike[str], classes: Collection[str]) -> Any:
    # Stays open for the tensors: listing its members again for each of them would take for ever.
    archive = zipfile.ZipFile(path)
    names = archive.namelist()
    root = next((n for n in names if n.count("/") == 1 and n.endswith("/data.pkl")), None)
    if root is None:
        raise ValueError("an archive without data.pkl")
    folder = root.removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in names and archive.read(order) != b"little":
        raise ValueError("written on a machine of the other byte order")

    def storage(key: tuple) -> Storage:
        _, dtype, name, _, count = key[:5]
        return Storage(dtype, int(count), lambda: archive.read(f"{folder}data/{name}"))

    return _TensorUnpickler(io.BytesIO(archive.read(root)), classes, storage).load()


def _load_stream(file: BinaryIO, path: str | os.PathLike[str], classes: Collection[str]) -> Any:
    """A plain pickle, or the older stream of torch.save, whose storages follow the pickles."""
    first = _TensorUnpickler(file, classes).load()
    if first != _MAGIC:
        return first
    places: dict[str, int] = {}

    def storage(key: tuple) -> Storage:
        _, dtype, name, _, count = key[:5]

        def read() -> bytes:
            with open(path, "rb") as again:
                again.seek(places[name])
                return again.read(int(count) * dtype.itemsize)

        return Storage(dtype, int(count), read)

    content, sizes = _load_older(file, classes, storage)
    for name, dtype in sizes:
        count = int.from_bytes(file.read(8), "little")
        places[name] = file.tell()
        file.seek(count * dtype.itemsize, os.SEEK_CUR)
    return content


def _load_older(
    file: BinaryIO, classes: Collection[str], storage: Callable[[Any], Storage]
) -> tuple[Any, list[tuple[str, np.dtype]]]:
    """Content after the magic number, and name and dtype of the storages in their order."""
    dtypes: dict[str, np.dtype] = {}

    def noted(key: tuple) -> Storage:
        if len(key) > 5 and key[5] is not None:
            raise ValueError("a storage that is part of another")
        dtypes[key[2]] = key[1]
        return storage(key)

    if _TensorUnpickler(file, classes).load() != _PROTOCOL:
        raise ValueError("an unknown version of torch.save")
    if not _TensorUnpickler(file, classes).load().get("little_endian", True):
        raise ValueError("written on a machine of the other byte order")
    content = _TensorUnpickler(file, classes, noted).load()
    names = _TensorUnpickler(file, classes).load()
    return content, [(name, dtypes[name]) for name in names]


def _storage_of_bytes(data: bytes) -> Storage:
    """A storage in a pickle that torch.save did not write: a stream of its own."""
    file = io.BytesIO(data)
    if _TensorUnpickler(file, ()).load() != _MAGIC:
        raise ValueError("a storage of an unknown form")
    found, sizes = _load_older(file, (), lambda key: Storage(key[1], int(key[4]), lambda: b""))
    if not isinstance(found, Storage) or len(sizes) != 1:
        raise ValueError("a storage of an unknown form")
    start = file.tell() + 8
    stop = start + found.count * found.dtype.itemsize
    return Storage(found.dtype, found.count, lambda: data[start:stop])


def _tensor(
    storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> StoredTensor:
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise ValueError("a tensor without storage")
    return StoredTensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _nothing(*_: Any) -> None:
    """Stands for devices."""


_CALLS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _storage_of_bytes,
    ("torch", "Size"): tuple,
    ("torch", "device"): _nothing,
}
