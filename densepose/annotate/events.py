"""What annotators do, as records of a log that is only ever appended to.

A line of the log is one event in JSON, with its time and the name of the annotator. An event is on
the disk before its effect is shown. The state of a project is what its events add up to, so a
killed server loses nothing.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from filelock import FileLock, Timeout
from msgspec import Meta

from densepose.errors import InputError
from densepose.files import atomic

logger = logging.getLogger(__name__)

Pixel = Annotated[float, Meta(ge=-1e5, le=1e5)]
Side = Annotated[float, Meta(ge=1, le=1e5)]
Box = tuple[Pixel, Pixel, Side, Side]  # x, y, width, height in image px
Region = Annotated[int, Meta(ge=0, le=24)]  # 0 erases
Fraction = Annotated[float, Meta(ge=0, le=1)]
Runs = dict[str, Any] | list  # one mask of the 256-step grid; [] for none


class Event(msgspec.Struct, tag_field="event", kw_only=True, omit_defaults=True):
    """Something that happened; ``who`` is empty for what the program did by itself."""

    time: str = ""  # UTC, ISO 8601
    who: str = ""


class Imported(Event, tag="imported"):
    """A file of annotations was opened; its records follow."""

    head: dict[str, Any]  # everything but images and annotations


class Listed(Event, tag="listed"):
    """An image of a file of annotations that was opened."""

    image: str
    width: int
    height: int
    record: dict[str, Any]  # complete


class Opened(Event, tag="opened"):
    """A photo was shown for the first time."""

    image: str
    width: int
    height: int


class Added(Event, tag="added"):
    """A box was drawn, or came from a file or a model."""

    instance: int
    image: str
    box: Box
    source: str
    record: dict[str, Any] = {}  # of a file that was opened, complete


class Moved(Event, tag="moved"):
    """The box was changed."""

    instance: int
    box: Box


class Deleted(Event, tag="deleted"):
    """The instance was removed."""

    instance: int


class Started(Event, tag="started"):
    """Regions that a model found, which strokes then correct."""

    instance: int
    masks: list[Runs]
    source: str


class Stroke(Event, tag="stroke"):
    """A polygon or a line of the brush; region 0 erases."""

    instance: int
    region: Region
    tool: Literal["polygon", "brush"]
    xy: Annotated[list[tuple[Pixel, Pixel]], Meta(min_length=1, max_length=5000)]
    width: Annotated[float, Meta(ge=0, le=1e4)] = 0


class Undone(Event, tag="undone"):
    """The last stroke of this annotator was taken back."""

    instance: int


class Sampled(Event, tag="sampled"):
    """The points of an instance from now on: number, region, x, y."""

    instance: int
    points: list[tuple[int, Region, float, float]]
    regions: int = 0  # checksum of the regions they were chosen from


class Answered(Event, tag="answered"):
    """Where a point lies on the surface, or why it has no place there."""

    instance: int
    point: int
    kind: Literal["placed", "hidden", "skipped"] = "placed"
    part: int = 0
    u: Fraction = 0
    v: Fraction = 0
    vertex: int = -1
    view: int = -1
    x: float = 0  # where in that view the annotator clicked
    y: float = 0


class Confirmed(Event, tag="confirmed"):
    """A suspicious point was shown again and kept."""

    instance: int
    point: int


class Finished(Event, tag="finished"):
    """The instance is ready for the file of annotations, or is not any more."""

    instance: int
    finished: bool


_Whole = Imported | Listed | Opened | Added | Moved | Deleted | Finished
Events = _Whole | Started | Stroke | Undone | Sampled | Answered | Confirmed
_decode = msgspec.json.Decoder(Events).decode


class EventLog:
    """The log of one project; only one program at a time may write to it."""

    def __init__(self, path: Path) -> None:
        """Opens the log and reads it.

        Raises:
            InputError: another program has it open, or a line in its middle is damaged.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{path}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{path}: another densepose annotate has it open; stop that") from None
        self.path = path
        self.events = self._read()
        self._file = open(path, "ab", buffering=0)

    def _read(self) -> list[Events]:
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")
        torn = lines.pop()  # empty after a complete last line
        events = []
        for number, line in enumerate(lines, start=1):
            try:
                events.append(_decode(line))
            except msgspec.MsgspecError as error:
                raise InputError(f"{self.path}: line {number} is damaged: {error}") from error
        if torn:
            # The machine stopped while this line was written; it was never shown as done.
            logger.warning("%s: the last line was cut off and is removed", self.path)
            os.truncate(self.path, self.path.stat().st_size - len(torn))
        return events

    def append(self, event: Events, who: str = "") -> Events:
        """Write an event to the disk; returns it with time and name.

        Raises:
            OSError: the disk is full; the log is as it was before.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        event = msgspec.structs.replace(event, time=now, who=who)
        line = msgspec.json.encode(event) + b"\n"
        end = self.path.stat().st_size
        try:
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._file.fileno())
        except OSError:
            os.truncate(self.path, end)
            raise
        return event

    def begin(self, events: Iterable[Events]) -> None:
        """Write the first events of an empty log, all or none of them."""
        self._file.close()
        with atomic(self.path, durable=True) as temporary:
            temporary.write_bytes(b"".join(msgspec.json.encode(e) + b"\n" for e in events))
        self._file = open(self.path, "ab", buffering=0)

    def close(self) -> None:
        """Let other programs write."""
        self._file.close()
        self._lock.release()
