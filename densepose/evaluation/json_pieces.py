"""A large JSON file piece by piece: memory holds one element of its lists, not the whole.

Positions are in bytes. The structure of JSON is ASCII, so the file is looked at byte for byte
(as Latin-1), and only what is not ASCII is decoded as UTF-8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 1 << 20
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Piece:
    """A value of the top-level object, or an element of a list that is one."""

    key: str  # "" in a file that is a list
    value: Any  # of an empty list: that list
    first: int  # bytes [first, last) of the file
    last: int


def pieces(path: str | Path) -> Iterator[Piece]:
    """All pieces of a file in its order; the file is an object or a list.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, or neither an object nor a list.
    """
    with Path(path).open("rb") as file:
        window = _Window(file, str(path))
        yield from _elements(window, "") if window.peek() == "[" else _entries(window)
        if window.peek():
            raise window.error("expected the end of the file")


def _entries(window: _Window) -> Iterator[Piece]:
    window.expect("{")
    if window.peek() == "}":
        window.expect("}")
        return
    while True:
        if window.peek() != '"':
            raise window.error("expected a key")
        key = str(window.value().value)
        window.expect(":")
        if window.peek() == "[":
            yield from _elements(window, key)
        else:
            found = window.value()
            yield Piece(key, found.value, found.first, found.last)
        if window.peek() != ",":
            window.expect("}")
            return
        window.expect(",")


def _elements(window: _Window, key: str) -> Iterator[Piece]:
    first = window.position
    window.expect("[")
    if window.peek() == "]":
        window.expect("]")
        yield Piece(key, [], first, window.position)
        return
    while True:
        found = window.value()
        yield Piece(key, found.value, found.first, found.last)
        if window.peek() != ",":
            window.expect("]")
            return
        window.expect(",")


def read_values(path: str | Path, spans: Sequence[tuple[int, int]]) -> list[Any]:
    """The values at some positions that ``pieces`` gave.

    Raises:
        ValueError: the file is another one by now.
    """
    values = []
    with Path(path).open("rb") as file:
        for first, last in spans:
            file.seek(first)
            try:
                values.append(json.loads(file.read(last - first)))
            except ValueError as error:
                raise ValueError(f"{path}: changed while it was being read ({error})") from error
    return values


@dataclass(frozen=True)
class _Value:
    value: Any
    first: int
    last: int


class _Window:
    """The part of the file that is looked at."""

    def __init__(self, file: BinaryIO, source: str) -> None:
        self._file, self._source = file, source
        self._text, self._at, self._before, self._all_read = "", 0, 0, False

    @property
    def position(self) -> int:
        """Bytes of the file before the next character."""
        return self._before + self._at

    def _read_more(self) -> None:
        """Forget what lies behind and read on: as much as there is already, at least a chunk."""
        kept = self._text[self._at :]
        new = self._file.read(max(CHUNK, len(kept)))
        self._all_read = not new
        self._before += self._at
        self._text, self._at = kept + new.decode("latin-1"), 0

    def peek(self) -> str:
        """The next character that is no space; "" at the end of the file."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._all_read:
                return ""
            self._read_more()

    def expect(self, character: str) -> None:
        """Step over one character."""
        if self.peek() != character:
            raise self.error(f"expected {character!r}")
        self._at += 1

    def value(self) -> _Value:
        """Step over a value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (json.JSONDecodeError, RecursionError) as error:
                if self._all_read:
                    raise self.error(getattr(error, "msg", "nested too deeply")) from error
                self._read_more()
                continue
            # A number at the end of what was read may go on.
            if end < len(self._text) or self._all_read:
                break
            self._read_more()
        text = self._text[self._at : end]
        if not text.isascii():
            try:
                value = json.loads(text.encode("latin-1"))
            except UnicodeDecodeError as error:
                raise self.error(str(error)) from error
        first, self._at = self.position, end
        return _Value(value, first, self.position)

    def error(self, what: str) -> ValueError:
        """What to raise for the present place."""
        return ValueError(
            f"{self._source}: not a JSON file ({what}, at byte {self.position}); copy or make the"
            " file again"
        )
