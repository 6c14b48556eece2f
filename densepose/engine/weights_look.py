"""A look at the first bytes and the end of a file of weights: quick, before anything is read."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

FETCH_AGAIN = "fetch it again, or remove it so that an older checkpoint is used"
TORCH_SUFFIXES = (".pth", ".pt", ".bin")
LONGEST_HEADER = 2**27  # bytes; what a file claims beyond this is noise


def check_looks_like_weights(path: Path) -> None:
    """Find the commonest kinds of damage without reading the file.

    Raises:
        ValueError: empty, a web page, a Git LFS pointer, or truncated.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        file.seek(max(0, size - 1))
        last = file.read(1)
    start = head.lstrip().lower()
    if size == 0:
        raise ValueError(f"{path}: the file is empty; {FETCH_AGAIN}")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(
            f"{path}: this is a web page, not a file of weights; the download was answered with"
            " an error page"
        )
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"{path}: this is a Git LFS pointer, not the file itself; run 'git lfs pull'"
        )
    if _is_truncated(path, size, head, last):
        raise ValueError(f"{path}: the file is truncated at {size:,} bytes; {FETCH_AGAIN}")


def _is_truncated(path: Path, size: int, head: bytes, last: bytes) -> bool:
    if path.suffix in TORCH_SUFFIXES and head[:4] == b"PK\x03\x04":
        return not zipfile.is_zipfile(path)
    if path.suffix == ".pkl" and head[:1] == b"\x80":
        return last != b"."  # the opcode that ends a pickle
    if path.suffix == ".safetensors":
        return size < _safetensors_size(path)
    return False


def _safetensors_size(path: Path) -> int:
    """Bytes that the header of a safetensors file promises; 0 where there is no such header."""
    with path.open("rb") as file:
        header_size = int.from_bytes(file.read(8), "little")
        if not 2 <= header_size <= LONGEST_HEADER:
            return 0
        header = file.read(header_size)
    if not header.startswith(b"{"):
        return 0
    if len(header) < header_size:
        return 8 + header_size
    try:
        entries = json.loads(header)
        ends = [
            entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"
        ]
        return 8 + header_size + max(ends, default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return 0  # damaged in another way; the reader will say how
