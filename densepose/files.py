"""Files: written whole or not at all, hashed, recognised; JSON, tables and hints as text.

Every part of the package may import this module. It needs neither torch nor detectron2.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from tabulate import tabulate

from densepose.errors import InputError

_PIECE = 1 << 20
_HEAD_BYTES = 512
LOCK = ".lock"  # in a folder that a process writes into
_PAGE = "a web page or an error message of a server, not the file itself; fetch it again"
# First bytes, without leading white space and in lower case, and what they mean.
_WRONG_STARTS = {
    b"<!doctype": _PAGE,
    b"<html": _PAGE,
    b"<head": _PAGE,
    b"<?xml": _PAGE,
    b"<error": _PAGE,
    b"\x1f\x8b": "a gzip archive; unpack it first (tar xzf, or gunzip)",
    b"pk\x03\x04": "a zip archive; unpack it first",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run `git lfs pull`",
}


@contextmanager
def atomic(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[Path]:
    """Write a file so that other programs see the old one or the complete new one, never a part.

    The block writes to the path it is given: same name, in a new hidden folder beside ``path``.
    When the block ends, the file takes the place of ``path``. When it raises, nothing stays behind.

        with atomic(path) as temporary:
            temporary.write_text(report)

    Args:
        path: the file to write; its folder is created where it does not exist.
        durable: also survive a power failure right afterwards (``fsync``), for files that cost
            hours. It takes as long as the disk needs.

    Raises:
        InputError: the disk is full, a limit of file sizes is reached, or the folder refuses files.
    """
    path = Path(path)
    # The process id names the owner of what a killed process leaves. A long name is cut off,
    # because that of the folder may have 255 bytes as well.
    prefix = f".{path.name[:40]}.{os.getpid()}."
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = tempfile.TemporaryDirectory(
            prefix=prefix, dir=path.parent, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    with holder as folder:
        temporary = Path(folder) / path.name
        try:
            yield temporary
            if durable:
                _flush_to_disk(temporary)
            os.replace(temporary, path)
            if durable and os.name == "posix":
                _flush_to_disk(path.parent)
        except Exception as error:
            if reason := _refusal(error, temporary):
                raise InputError(f"{path}: cannot be written ({reason})") from error
            raise


def _refusal(error: BaseException | None, file: Path) -> str | None:
    """What the operating system has against writing ``file``, where that made a writer fail."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            named = error.filename
            return (
                error.strerror if named is None or str(named).startswith(str(file.parent)) else None
            )
        error = error.__cause__ or error.__context__
    # Libraries hide the reason: PyTorch says "unexpected pos", NumPy counts values.
    try:
        with file.open("ab") as probe:
            probe.write(bytes(_PIECE))
    except OSError as refused:
        return refused.strerror
    return None


@contextmanager
def refusals_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Give errors of writing that come without a file's name the name of ``path``.

    Raises:
        InputError: in place of such an error.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


_held: set[Path] = set()


@contextmanager
def held(folder: str | os.PathLike[str], *, again: bool = False) -> Iterator[None]:
    """Keep everybody else from writing into a folder while the block runs.

    The lock ends with the process, however that ends.

    Args:
        folder: is made where it does not exist.
        again: a block around this one may hold it already.

    Raises:
        InputError: the folder is held, or it cannot be written.
    """
    path = Path(folder).resolve() / LOCK
    if again and path in _held:
        yield
        return
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        path.write_text(f"{os.getpid()}", encoding="utf-8")
    except Timeout:
        owner = path.read_text(encoding="utf-8") if path.is_file() else ""
        raise InputError(
            f"{folder}: process {owner} is writing into this folder; wait for its end, or"
            " name another folder"
        ) from None
    except OSError as error:
        lock.release()
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        path.unlink(missing_ok=True)
        lock.release()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, as ``atomic`` does."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: str | os.PathLike[str]) -> str:
    """Hash of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def refuse_wrong_kind(path: str | os.PathLike[str], missing: str = "") -> None:
    """Check that a file is there and is none of the things that come in place of a file.

    Args:
        path: the file.
        missing: what a message about a missing file says besides its name.

    Raises:
        InputError: no such file; it is empty, a web page, an archive or a pointer; the message says
            how to get the file.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: missing" + (f"; {missing}" if missing else ""))
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise InputError(f"{path}: the file is empty; fetch it again")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for wrong, meaning in _WRONG_STARTS.items():
        if start.startswith(wrong):
            raise InputError(f"{path}: this is {meaning}")


def to_json(value: Any, *, indent: int | None = 1) -> str:
    """Text of a value in JSON. Numbers that JSON does not know (NaN, infinities) become null.

    NumPy arrays and numbers, tuples and paths are accepted as well.

    Raises:
        TypeError: a value of another type.
    """
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of a table in Markdown: the first column to the left, others to the right."""
    sides = ("left", *("right",) * (len(header) - 1))
    return tabulate(rows, header, "pipe", colalign=sides, disable_numparse=True)


def did_you_mean(word: str, known: Iterable[str], *, count: int = 1, cutoff: float = 0.5) -> str:
    """``, did you mean 'a' or 'b'?`` for the known words most like ``word``; empty without any.

    Args:
        word: what was not found.
        known: what there is.
        count: at most so many words, best first.
        cutoff: likeness that a word must have, 0 to 1 (``difflib.get_close_matches``).
    """
    near = difflib.get_close_matches(word, list(known), n=count, cutoff=cutoff)
    return f", did you mean {' or '.join(map(repr, near))}?" if near else ""
