"""Frames of a video one after another, and a video of pictures with its sound; by PyAV.

Frames are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from densepose.data.bootstrap.videos import open_video, require_video_reader
from densepose.files import atomic

logger = logging.getLogger(__name__)

_DEFAULT_RATE = Fraction(25)
_QUALITY = "20"  # constant rate factor of H.264: hardly different from the original
_TICKS = 60_000  # a second; whole for the usual rates, and MPEG-4 knows no finer ones


@dataclass(frozen=True)
class VideoFacts:
    """What a container says about its first video stream."""

    num_frames: int  # 0 where the container does not say
    rate: Fraction  # frames a second, on average


@dataclass(frozen=True)
class Frame:
    """One frame of a video."""

    number: int  # from 0
    seconds: float  # when it is shown
    image: np.ndarray  # (H, W, 3) uint8 RGB, upright as the video says


def video_facts(path: str | Path) -> VideoFacts:
    """Number and rate of frames, without decoding any.

    Raises:
        InputError: missing, damaged or no video, or PyAV is missing.
    """
    with open_video(path) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or _DEFAULT_RATE
        count = stream.frames
        if not count and stream.duration and stream.time_base:
            count = int(stream.duration * stream.time_base * rate)
        return VideoFacts(count, Fraction(rate))


def read_frames(path: str | Path, step: int = 1) -> Iterator[Frame]:
    """Every ``step``-th frame.

    Raises:
        InputError: missing, damaged or no video, or PyAV is missing; it may come after some frames.
    """
    with open_video(path) as container:
        stream = container.streams.video[0]
        rate, first = stream.average_rate or _DEFAULT_RATE, None
        for number, frame in enumerate(container.decode(stream)):
            if number % step == 0:
                shown = float(number / rate) if frame.time is None else frame.time
                first = shown if first is None else first
                # Degrees counterclockwise, as np.rot90 turns.
                quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4  # av 12 has none
                image = np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns)
                yield Frame(number, shown - first, np.ascontiguousarray(image))


@contextmanager
def write_video(
    path: str | Path, rate: Fraction, sound_of: str | Path | None = None
) -> Iterator[VideoWriter]:
    """An MP4 file of pictures of one size, which is there in full after the block, or not at all.

    Args:
        path: of the file.
        rate: pictures a second, on average.
        sound_of: a video whose sound goes along unchanged.

    Raises:
        InputError: PyAV is missing.
    """
    with atomic(path) as temporary, ExitStack() as stack:
        require_video_reader()
        import av

        container = stack.enter_context(av.open(str(temporary), "w", format="mp4"))
        source = stack.enter_context(open_video(sound_of)) if sound_of is not None else None
        writer = VideoWriter(container, rate, source)
        yield writer
        writer.finish()


class VideoWriter:
    """Adds pictures, each shown at its own time, see ``write_video``."""

    def __init__(self, container: Any, rate: Fraction, sound_source: Any) -> None:
        self._container, self._source = container, sound_source
        codec = "libx264" if "libx264" in container.supported_codecs else "mpeg4"
        options = {"crf": _QUALITY} if codec == "libx264" else {}
        self._stream = container.add_stream(codec, rate=rate, options=options)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._sound = self._sound_packets()
        self._waiting = next(self._sound, None)
        self._last = -1  # time of the last picture in ticks

    def write(self, picture: np.ndarray, seconds: float) -> None:
        """Add a picture (H, W, 3) that is shown from this time on.

        H.264 needs even sides: an odd one gets another line.
        """
        import av

        odd = [(0, side % 2) for side in picture.shape[:2]]
        picture = np.pad(picture, [*odd, (0, 0)], mode="edge")
        if self._last < 0:
            self._stream.height, self._stream.width = picture.shape[:2]
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        self._last = max(round(seconds * _TICKS), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))
        self._copy_sound(until_seconds=seconds)

    def finish(self) -> None:
        """Write what the codec still holds, and the rest of the sound."""
        if self._last >= 0:
            self._container.mux(self._stream.encode())
            self._copy_sound(until_seconds=float("inf"))

    def _sound_packets(self) -> Iterator[Any]:
        """The packets of the first sound stream, for the new container."""
        if self._source is None or not self._source.streams.audio:
            return
        sound = self._source.streams.audio[0]
        try:
            copy = self._container.add_stream_from_template(sound)
        except ValueError as error:
            logger.warning("the sound does not fit into an MP4 file and is not copied: %s", error)
            return
        for packet in self._source.demux(sound):
            if packet.dts is not None:
                packet.stream = copy
                yield packet

    def _copy_sound(self, until_seconds: float) -> None:
        while self._waiting is not None:
            if float(self._waiting.dts * self._waiting.time_base) > until_seconds:
                return
            self._container.mux(self._waiting)
            self._waiting = next(self._sound, None)
