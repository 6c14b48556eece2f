"""Recognising what was fetched instead of a file: a web page, an archive, a Git LFS pointer.

A failed download leaves such a thing under the right name more often than nothing at all.
"""

from __future__ import annotations

import os
from pathlib import Path

_HEAD_BYTES = 512
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


def refuse_wrong_kind(path: str | os.PathLike[str], missing: str = "") -> None:
    """Check that a file is there and is none of the things that come in place of a file.

    Args:
        path: the file.
        missing: what a message about a missing file says besides its name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is empty, a web page, an archive or a pointer; the message says how to mend.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: missing" + (f"; {missing}" if missing else ""))
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise ValueError(f"{path}: the file is empty; fetch it again")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for wrong, meaning in _WRONG_STARTS.items():
        if start.startswith(wrong):
            raise ValueError(f"{path}: this is {meaning}")
