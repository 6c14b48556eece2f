"""Frames of a video one after another, and a video of pictures; by PyAV.

Frames are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from densepose.data.bootstrap.videos import open_video

_DEFAULT_RATE = Fraction(25)
_QUALITY = "20"  # constant rate factor of H.264: hardly to be told from the original


@dataclass(frozen=True)
class VideoFacts:
    """What a container says about its first video stream."""

    num_frames: int  # 0 where the container does not say
    rate: Fraction  # frames a second


def video_facts(path: str | Path) -> VideoFacts:
    """Number and rate of frames, without decoding any.

    Raises:
        OSError: missing, damaged or no video.
        ValueError: PyAV is missing.
    """
    with open_video(path) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or _DEFAULT_RATE
        count = stream.frames
        if not count and stream.duration and stream.time_base:
            count = int(stream.duration * stream.time_base * rate)
        return VideoFacts(count, Fraction(rate))


def read_frames(path: str | Path, step: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Every ``step``-th frame with its number from 0, upright as the video says.

    Raises:
        OSError: missing, damaged or no video; it may come after some frames.
        ValueError: PyAV is missing.
    """
    with open_video(path) as container:
        for number, frame in enumerate(container.decode(container.streams.video[0])):
            if number % step == 0:
                quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4  # av 12 has none
                image = np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns)
                yield number, np.ascontiguousarray(image)


class VideoWriter:
    """Writes pictures of one size into an MP4 file, which is there in full or not at all."""

    def __init__(self, path: str | Path, rate: Fraction) -> None:
        """The file is opened with the first picture, which tells the size."""
        self.path = Path(path)
        self.rate = rate
        self._part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        self._container = None

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, picture: np.ndarray) -> None:
        """Add a picture (H, W, 3); H.264 wants even sides, an odd one gets a line more."""
        import av

        odd = [(0, side % 2) for side in picture.shape[:2]]
        picture = np.pad(picture, [*odd, (0, 0)], mode="edge")
        if self._container is None:
            self._container = av.open(str(self._part), "w", format="mp4")
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            options = {"crf": _QUALITY} if codec == "libx264" else {}
            self._stream = self._container.add_stream(codec, rate=self.rate, options=options)
            self._stream.height, self._stream.width = picture.shape[:2]
            self._stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._container is None:
            return
        try:
            if kind is None:
                self._container.mux(self._stream.encode())
            self._container.close()
            if kind is None:
                os.replace(self._part, self.path)
        finally:
            self._part.unlink(missing_ok=True)
