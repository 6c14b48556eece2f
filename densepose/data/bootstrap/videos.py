"""Key frames of video files, read by PyAV.

A key frame is stored whole, so that it can be decoded without its neighbours; key frames lie
seconds apart, which also makes them differ. PyAV (``pip install av``) is needed for this alone.
"""

from __future__ import annotations

import csv
import importlib.util
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from densepose.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer

STRATEGIES = ("random_k", "first_k", "last_k", "all")


class VideoSet(NamedTuple):
    """A list of video files, known by name; paths are relative to the folder of all data sets."""

    video_list: str  # text file, one path a line
    base: str  # folder the paths start at


VIDEO_SETS = {
    "chimpnsee": VideoSet("chimpnsee/cdna.eva.mpg.de/video_list.txt", "chimpnsee/cdna.eva.mpg.de"),
}


def require_video_reader() -> None:
    """Check that PyAV is there.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec("av") is None:
        raise InputError(
            "reading videos needs PyAV: pip install av. Without it, take images; for bootstrapping,"
            " IMAGE_LOADER.TYPE image_folder or image_list"
        )


def list_key_frames(path: str | Path) -> list[int]:
    """Time stamps of all key frames, in units of the stream's time base; nothing is decoded.

    Raises:
        InputError: the file is missing or no video.
    """
    with open_video(path) as container:
        stream = container.streams.video[0]
        stamps = {p.pts for p in container.demux(stream) if p.is_keyframe and p.pts is not None}
    return sorted(stamps)


def read_key_frames(path: str | Path, stamps: Sequence[int]) -> list[np.ndarray]:
    """The frames (H, W, 3) uint8 RGB at the given time stamps of ``list_key_frames``.

    Raises:
        InputError: the file is damaged, or has no frame there.
    """
    frames = []
    with open_video(path) as container:
        stream = container.streams.video[0]
        for stamp in stamps:
            container.seek(stamp, stream=stream)
            frame = next((f for f in container.decode(stream) if f.pts >= stamp), None)
            if frame is None:
                raise InputError(f"{path}: no frame at time stamp {stamp}; the video is cut short")
            frames.append(frame.to_ndarray(format="rgb24"))
    return frames


@contextmanager
def open_video(path: str | Path) -> Iterator[InputContainer]:
    """The container of a video file, open as long as the ``with`` block lasts.

    Raises:
        InputError: the file is missing, damaged or no video; also when that shows inside the block;
            PyAV is missing.
    """
    require_video_reader()
    import av

    try:
        # As a file, because FFmpeg takes some names for addresses or patterns.
        with open(path, "rb") as file, av.open(file) as container:
            if not container.streams.video:
                raise InputError(f"{path}: no video in this file")
            yield container
    except (av.error.FFmpegError, OSError) as error:
        why = error.strerror or error
        raise InputError(f"{path}: cannot be read as a video ({why})") from error


def select_frames(stamps: Sequence[int], strategy: str, count: int) -> list[int]:
    """Some of the frames of a video.

    Args:
        stamps: of all key frames, ascending.
        strategy: one of ``STRATEGIES``: random ones (by Python's ``random``), the first, the last.
        count: how many at most; not used by "all".
    """
    if strategy not in STRATEGIES:
        raise InputError(f"strategy must be one of {STRATEGIES}, got {strategy!r}")
    if strategy == "random_k":
        return random.sample(list(stamps), min(count, len(stamps)))
    chosen = {"first_k": slice(count), "last_k": slice(-count, None), "all": slice(None)}
    return list(stamps[chosen[strategy]])


def read_path_list(path: str | Path, base: str | Path | None = None) -> list[Path]:
    """Paths in a text file, one a line; empty lines are skipped.

    Args:
        path: of the text file.
        base: folder that relative paths start at; by default the folder of the text file.

    Raises:
        InputError: the file is missing; it names nothing.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: the list of files is missing; expected one path a line")
    base = path.parent if base is None else Path(base)
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    paths = [base / line for line in lines if line]
    if not paths:
        raise InputError(f"{path}: the list of files is empty; expected one path a line")
    return paths


def read_key_frame_table(path: str | Path) -> dict[int, list[int]]:
    """Key frames that were listed before, to save listing them again.

    Args:
        path: CSV file with the columns video_id (number of the video in its list) and keyframes,
            time stamps as in "[1, 11, 21]".

    Raises:
        InputError: the file or a column is missing, or a row is not a number and a list of numbers.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: the table of key frames is missing")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table: dict[int, list[int]] = {}
    for number, row in enumerate(rows, start=2):
        try:
            video, stamps = int(row["video_id"]), row["keyframes"].strip("[] ")
            table[video] = [int(value) for value in stamps.split(",") if value.strip()]
        except (KeyError, TypeError, ValueError, AttributeError):
            got = ", ".join(f"{key}={value}" for key, value in row.items())
            raise InputError(
                f"{path}: line {number}: expected the columns video_id, a number, and keyframes,"
                f" as in [1, 11, 21]; got {got}"
            ) from None
    return table
