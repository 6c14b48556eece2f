"""Reading the arrays of an NPZ file at once.

``zipfile`` and NumPy's header parser take longer for the eight small arrays of an image than
inflating its maps. Archives of the plain form that ``PredictionWriter`` and ``np.savez`` write are
taken apart here; ``zipfile`` reads any other.
"""

from __future__ import annotations

import functools
import io
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

# End of the directory, one entry of it, and the header in front of a member (PKWARE's APPNOTE).
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s4B4H3L5H2L")
_MEMBER = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 1
_IN_ANOTHER_FIELD = 0xFFFFFFFF
# What .npy files of format 1.0 begin with; two bytes of header length follow.
_NPY_1_0 = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<>|][a-z]\d+)', 'fortran_order': False, 'shape': \(([\d, ]*)\), \}\s*"
)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file by name, read-only.

    Raises:
        FileNotFoundError: no such file.
        zipfile.BadZipFile, zlib.error, EOFError, ValueError: damaged, or no arrays of numbers.
    """
    content = memoryview(Path(path).read_bytes())
    members = _plain_members(content)
    if members is None:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    return {name.removesuffix(".npy"): _array(data, name) for name, data in members.items()}


def _plain_members(content: memoryview) -> dict[str, bytes] | None:
    """Contents of an archive without comments, encryption or members of 4 GiB; None for others.

    Raises:
        zipfile.BadZipFile: a member is cut or does not have its checksum.
    """
    if len(content) < _END.size:
        return None
    signature, _, _, _, count, _, start, comment = _END.unpack_from(
        content, len(content) - _END.size
    )
    if signature != b"PK\x05\x06" or comment or _IN_ANOTHER_FIELD in (start, count):
        return None
    members, place = {}, start
    for _ in range(count):
        if place + _ENTRY.size > len(content):
            raise zipfile.BadZipFile("its directory is cut")
        entry = _ENTRY.unpack_from(content, place)
        signature, flags, method = entry[0], entry[5], entry[6]
        checksum, packed, size, name_length, extra, note = entry[9:15]
        offset = entry[18]
        known = signature == b"PK\x01\x02" and method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if not known or flags & _ENCRYPTED or _IN_ANOTHER_FIELD in (packed, size, offset):
            return None
        place += _ENTRY.size
        name = bytes(content[place : place + name_length]).decode("utf-8")
        place += name_length + extra + note
        members[name] = _member(content, offset, packed, size, method, checksum, name)
    return members


def _member(
    content: memoryview, offset: int, packed: int, size: int, method: int, checksum: int, name: str
) -> bytes:
    if offset + _MEMBER.size > len(content):
        raise zipfile.BadZipFile(f"{name} is cut")
    header = _MEMBER.unpack_from(content, offset)
    start = offset + _MEMBER.size + header[9] + header[10]
    data = content[start : start + packed]
    if header[0] != b"PK\x03\x04" or len(data) != packed:
        raise zipfile.BadZipFile(f"{name} is cut")
    if method == zipfile.ZIP_DEFLATED:
        # One byte more than promised is enough to see that there are too many.
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    if len(data) != size or zlib.crc32(data) != checksum:
        raise zipfile.BadZipFile(f"{name} does not have its checksum")
    return bytes(data)


def _array(content: bytes, name: str) -> np.ndarray:
    if content[: len(_NPY_1_0)] != _NPY_1_0:
        raise ValueError(f"{name} is no array in the .npy format 1.0")
    start = len(_NPY_1_0) + 2
    start += int.from_bytes(content[start - 2 : start], "little")
    plain = _HEADER.fullmatch(content, len(_NPY_1_0) + 2, start)
    if plain is None:
        shape, dtype = _parsed_header(content[:start])
    else:
        dtype = _dtype(plain[1])
        shape = tuple(int(side) for side in plain[2].split(b",") if side.strip())
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


@functools.lru_cache(maxsize=64)
def _dtype(name: bytes) -> np.dtype:
    return np.dtype(name.decode("ascii"))


def _parsed_header(header: bytes) -> tuple[tuple[int, ...], np.dtype]:
    stream = io.BytesIO(header)
    np.lib.format.read_magic(stream)
    shape, in_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject or (in_columns and len(shape) > 1):
        raise ValueError("an array holds objects, or columns before rows")
    return shape, dtype
