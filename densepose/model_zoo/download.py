"""Downloading a file over HTTP: resumed after a stop, checked, and there in full or not at all.

A download lies beside its goal as ``.NAME.part`` until it is complete. Which version of the file it
is a part of is noted in ``.NAME.part.tag``, so that it is not continued with another one. The size
and the sha256 of what came, where it came from and its licence are noted in ``NAME.json``.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iopath.common import file_lock

import densepose
from densepose.errors import InputError
from densepose.files import refuse_wrong_kind, sha256, to_json, write_text
from densepose.progress import progress_bar

PAUSES_SECONDS = (1.0, 2.0, 4.0)  # between the attempts
TIMEOUT_SECONDS = 30.0  # without a byte
CHUNK = 2**20  # bytes
BUSY = (408, 425, 429)  # answers worth another attempt, like all from 500


class _InterruptedError(Exception):
    """The connection failed; the next attempt resumes after what is there."""


def download(
    url: str,
    path: Path,
    *,
    check: Callable[[Path], object] = refuse_wrong_kind,
    size_bytes: int | None = None,
    sha256_wanted: str | None = None,
    licence: str = "",
) -> bool:
    """Download ``url`` to ``path``; one of several processes does it while the others wait.

    Args:
        url: ``http://`` or ``https://``.
        path: where the file will be.
        check: raises ValueError for a file that is not what was asked for; it gets a path with the
            suffix of ``path``.
        size_bytes: of the whole file, where it is known.
        sha256_wanted: of the whole file in hexadecimal, where it is known.
        licence: of the file, for the note beside it.

    Returns:
        Whether it was downloaded; False where the file was there already.

    Raises:
        InputError: no connection, or an error of the server; what came so far is kept and resumed
            by the next call. Or another file came than asked for, which is removed.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(str(path)):
        if path.is_file():
            return False
        part = part_of(path)
        _download_all(url, part, path.name)
        try:
            digest = _checked(url, part, check, size_bytes, sha256_wanted)
        except ValueError:
            part.unlink()
            _tag_file(part).unlink(missing_ok=True)
            raise
        note = {"url": url, "size_bytes": part.stat().st_size, "sha256": digest, "licence": licence}
        write_text(_note_file(path), to_json(note) + "\n")
        part.replace(path)
        _tag_file(part).unlink(missing_ok=True)
        return True


def part_of(path: Path) -> Path:
    """Where a download to ``path`` lies until it is complete."""
    return path.with_name(f".{path.stem}.part{path.suffix}")


def note_of(path: Path) -> dict[str, Any]:
    """What was noted about a downloaded file; empty where it was put there by hand."""
    try:
        return json.loads(_note_file(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(
            f"{_note_file(path)}: not readable ({error}); remove it and {path.name}"
        ) from error


def _note_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _download_all(url: str, part: Path, label: str) -> None:
    with progress_bar(label, in_bytes=True) as show:
        for pause in (*PAUSES_SECONDS, None):
            try:
                return _download_rest(url, part, show)
            except _InterruptedError as error:
                if pause is None:
                    have = part.stat().st_size if part.is_file() else 0
                    raise InputError(
                        f"{url}: the download stopped after {have:,} bytes ({error}); they are"
                        " kept, the same command resumes there"
                    ) from error
                time.sleep(pause)


def _download_rest(url: str, part: Path, show: Callable[..., None]) -> None:
    """One attempt: append what is missing to ``part``, or write it anew if that is impossible."""
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": f"densepose/{densepose.__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if _tag_file(part).is_file():
            headers["If-Range"] = _tag_file(part).read_text(encoding="utf-8")
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            if response.status == 206 and _first_byte(response) != have:
                part.unlink()
                raise _InterruptedError("the server sent another range than asked for")
            _append(url, response, part, have if response.status == 206 else 0, show)
    except urllib.error.HTTPError as error:
        with error:
            _judge_answer(url, error, part, have)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # the disk, not the connection
        raise _InterruptedError(getattr(error, "reason", None) or error) from error


def _append(
    url: str, response: http.client.HTTPResponse, part: Path, have: int, show: Callable[..., None]
) -> None:
    kind = response.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        raise InputError(f"{url}: the server answers with a web page ({kind}) in place of the file")
    tag = response.headers.get("ETag", "")
    if not tag or tag.startswith("W/"):  # weak ones say nothing about bytes
        tag = response.headers.get("Last-Modified", "")
    _tag_file(part).unlink(missing_ok=True)
    if tag:
        _tag_file(part).write_text(tag, encoding="utf-8")
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    with part.open("ab" if have else "wb") as file:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            have += len(chunk)
            show(have, total)
    if total is not None and have < total:
        raise _InterruptedError(f"the connection ended at {have:,} of {total:,} bytes")


def _judge_answer(url: str, error: urllib.error.HTTPError, part: Path, have: int) -> None:
    """Return where the file is complete, else raise."""
    if error.code == 416 and have:
        total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if total and int(total[1]) == have:
            return
        part.unlink()
        raise _InterruptedError("what was there is longer than the file") from error
    if error.code in BUSY or error.code >= 500:
        raise _InterruptedError(f"the server answers {error.code} {error.reason}") from error
    raise InputError(f"{url}: the server answers {error.code} {error.reason}") from error


def _first_byte(response: http.client.HTTPResponse) -> int:
    span = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(span[1]) if span else -1


def _checked(
    url: str,
    part: Path,
    check: Callable[[Path], object],
    size_bytes: int | None,
    sha256_wanted: str | None,
) -> str:
    """The hash of a complete download, after everything known about it was compared."""
    try:
        check(part)
    except ValueError as error:
        raise InputError(f"{url}: {str(error).removeprefix(f'{part}: ')}") from error
    size = part.stat().st_size
    if size_bytes is not None and size != size_bytes:
        raise InputError(f"{url}: {size:,} bytes came, {size_bytes:,} were expected")
    found = sha256(part)
    if sha256_wanted is not None and found != sha256_wanted:
        raise InputError(
            f"{url}: the file that came has sha256 {found}, expected {sha256_wanted}; it is not"
            " used"
        )
    return found
