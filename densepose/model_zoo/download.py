"""Fetching a file over HTTP: resumed after a stop, checked, and there in full or not at all.

A download lies beside its goal as ``.NAME.part`` until it is complete; what it was part of is noted
in ``.NAME.part.tag``, so that it is not continued with the rest of another file.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iopath.common import file_lock

import densepose

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0  # doubled after each attempt
TIMEOUT_SECONDS = 30.0  # without a byte
CHUNK = 2**20  # bytes
BUSY = (408, 425, 429)  # answers worth another attempt, like all from 500

Progress = Callable[[int, "int | None"], None]  # bytes that are there, bytes in all


@dataclass(frozen=True)
class Downloaded:
    """A file that was just fetched."""

    path: Path
    size_bytes: int
    sha256: str


class DownloadError(OSError):
    """The file cannot be had: no connection, or the server refuses."""


class _InterruptedError(Exception):
    """The connection failed; the next attempt goes on from what is there."""


def download(
    url: str,
    path: Path,
    *,
    check: Callable[[Path], None] | None = None,
    size_bytes: int | None = None,
    sha256: str | None = None,
    on_progress: Progress | None = None,
) -> Downloaded | None:
    """Fetch ``url`` to ``path``; one of several processes does it while the others wait.

    Args:
        url: ``http://`` or ``https://``.
        path: where the file will be.
        check: raises ValueError for a file that is not what was asked for; it is given a name with
            the suffix of ``path``.
        size_bytes: of the whole file, where it is known.
        sha256: of the whole file in hexadecimal, where it is known.
        on_progress: called after each megabyte.

    Returns:
        None where the file was there already.

    Raises:
        DownloadError: no connection, or an error of the server; what came so far is kept and
            continued by the next call.
        OSError: the file cannot be written.
        ValueError: the file that came is another one than asked for; it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(str(path)):
        if path.is_file():
            return None
        part = part_of(path)
        _fetch_all(url, part, on_progress)
        try:
            found = _checked(url, part, check, size_bytes, sha256)
        except ValueError:
            part.unlink()
            _tag_file(part).unlink(missing_ok=True)
            raise
        os.replace(part, path)
        _tag_file(part).unlink(missing_ok=True)
        return Downloaded(path, path.stat().st_size, found)


def part_of(path: Path) -> Path:
    """Where a download to ``path`` lies until it is complete."""
    return path.with_name(f".{path.stem}.part{path.suffix}")


def sha256_of(path: Path) -> str:
    """Hash of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fetch_all(url: str, part: Path, on_progress: Progress | None) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _fetch_rest(url, part, on_progress)
        except _InterruptedError as error:
            if attempt == ATTEMPTS:
                have = part.stat().st_size if part.is_file() else 0
                raise DownloadError(
                    f"{url}: the download stopped after {have:,} bytes ({error}); they are kept,"
                    " the same command goes on from there"
                ) from error
            time.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))


def _fetch_rest(url: str, part: Path, on_progress: Progress | None) -> None:
    """One attempt: append what is missing to ``part``, or write it anew if that is impossible."""
    tag = _tag_file(part)
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": f"densepose/{densepose.__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag.is_file():
            headers["If-Range"] = tag.read_text(encoding="utf-8")
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS
        ) as response:
            continued = response.status == 206 and _first_byte(response) == have
            if response.status == 206 and not continued:
                part.unlink()
                raise _InterruptedError("the server sent another range than asked for")
            _append(url, response, part, have if continued else 0, on_progress)
    except urllib.error.HTTPError as error:
        with error:
            _judge_answer(url, error, part, have)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
        raise _InterruptedError(getattr(error, "reason", None) or error) from error
    except ConnectionError as error:
        raise _InterruptedError(error) from error


def _append(
    url: str,
    response: http.client.HTTPResponse,
    part: Path,
    have: int,
    on_progress: Progress | None,
) -> None:
    kind = response.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        raise ValueError(f"{url}: the server answers with a web page ({kind}) in place of the file")
    validator = response.headers.get("ETag", "")
    if not validator or validator.startswith("W/"):  # weak ones say nothing about bytes
        validator = response.headers.get("Last-Modified", "")
    with contextlib.suppress(FileNotFoundError):
        _tag_file(part).unlink()
    if validator:
        _tag_file(part).write_text(validator, encoding="utf-8")
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    with part.open("ab" if have else "wb") as file:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            have += len(chunk)
            if on_progress is not None:
                on_progress(have, total)
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
    raise DownloadError(f"{url}: the server answers {error.code} {error.reason}") from error


def _first_byte(response: http.client.HTTPResponse) -> int:
    span = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(span[1]) if span else -1


def _checked(
    url: str,
    part: Path,
    check: Callable[[Path], None] | None,
    size_bytes: int | None,
    sha256: str | None,
) -> str:
    """The hash of a complete download, after everything known about it was compared."""
    size = part.stat().st_size
    if check is not None:
        try:
            check(part)
        except ValueError as error:
            raise ValueError(f"{url}: {str(error).removeprefix(f'{part}: ')}") from error
    if size_bytes is not None and size != size_bytes:
        raise ValueError(f"{url}: {size:,} bytes came, {size_bytes:,} were expected")
    found = sha256_of(part)
    if sha256 is not None and found != sha256:
        raise ValueError(
            f"{url}: the file that came has sha256 {found}, expected {sha256}; it is not used"
        )
    return found


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")
