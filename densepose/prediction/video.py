"""Frames of a video or a camera with their times, and a video of pictures with its sound.

Frames are (H, W, 3) uint8 RGB. Times are in seconds from the start of the file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from densepose.data.bootstrap.videos import open_video, require_video_reader
from densepose.errors import InputError
from densepose.files import atomic

logger = logging.getLogger(__name__)

_DEFAULT_RATE = Fraction(25)
_TICKS = 60_000  # a second; whole for the usual rates, and MPEG-4 knows no finer ones
_COPIED = ("aac", "mp3", "opus", "flac", "ac3", "eac3", "alac")  # sound that MP4 players know
# Constant rate factor of H.264: hardly different from the original. Without B-frames packets leave
# the encoder in the order of their times, and each can say how long it is shown.
_H264 = {"crf": "20", "bf": "0"}


@dataclass(frozen=True)
class Frame:
    """One frame of a video."""

    number: int  # from 0
    seconds: float  # when it is shown
    image: np.ndarray  # (H, W, 3) uint8 RGB, upright as the video says


class VideoFile:
    """Reads the frames of a video file; what is damaged or cut off costs frames, not the video.

    Attributes:
        path: of the file.
        rate: frames a second, on average.
        num_frames: that the file promises; 0 where it does not say.
        end_seconds: when the last frame that was read ends.
        incomplete: which part could be read, one clause; empty if all was.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the header; no frame is decoded.

        Raises:
            InputError: missing, damaged or no video, or PyAV is missing.
        """
        self.path, self.end_seconds, self.incomplete = path, 0.0, ""
        self._last_seconds = self._longest_gap = 0.0
        with open_video(path) as container:
            stream = container.streams.video[0]
            self.rate = Fraction(stream.average_rate or _DEFAULT_RATE)
            self._counted = stream.frames
            self._promised_seconds = _promised_seconds(container, stream)
        self.num_frames = self._counted or round(self._promised_seconds * self.rate)

    def frames(self, step: int = 1) -> Iterator[Frame]:
        """Every ``step``-th frame, in the order and at the times they are shown.

        Raises:
            InputError: the first frame cannot be read.
        """
        read = 0
        for frame, seconds in self._decoded():
            if read % step == 0:
                # Degrees counterclockwise, as np.rot90 turns.
                quarter_turns = round(frame.rotation / 90) % 4
                image = np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns)
                yield Frame(read, seconds, np.ascontiguousarray(image))
            read += 1
        if not read:
            raise InputError(f"{self.path}: no frame in this video can be read")
        self._compare(read)

    def _decoded(self) -> Iterator[tuple[Any, float]]:
        import av

        with open_video(self.path) as container:
            stream = container.streams.video[0]
            origin = (container.start_time or 0) / av.time_base
            packets, shift = container.demux(stream), 0.0
            while True:
                try:
                    decoded = next(packets).decode()
                except StopIteration:
                    return
                except av.error.FFmpegError as error:
                    self.incomplete = f"damaged at {self.end_seconds:.1f} s ({error.strerror})"
                    if isinstance(error, av.error.InvalidDataError):
                        continue  # the next packet may be whole
                    return
                for frame in decoded:
                    lasts = frame.duration * frame.time_base if frame.duration else 1 / self.rate
                    at = self.end_seconds if frame.time is None else frame.time - origin + shift
                    if at < self._last_seconds:  # clips behind one another, each from 0
                        shift, at = shift + self.end_seconds - at, self.end_seconds
                    self._longest_gap = max(self._longest_gap, at - self._last_seconds)
                    self._last_seconds, self.end_seconds = at, at + float(lasts)
                    yield frame, at

    def _compare(self, read: int) -> None:
        """Say what is missing of what the header promises."""
        # Not every format says how long the last frame is shown.
        end = max(self.end_seconds, self._last_seconds + self._longest_gap)
        reaches_end = end > self._promised_seconds - 0.5 / self.rate
        if reaches_end and not self.incomplete:
            return  # a file may count frames that are empty, or trimmed away
        if self._counted:
            self.incomplete = f"{read} of {self._counted} frames can be read"
        elif not reaches_end:
            self.incomplete = (
                f"{self.end_seconds:.1f} of {self._promised_seconds:.1f} seconds can be read"
            )


def _promised_seconds(container: Any, stream: Any) -> float:
    """How long the video is by the header; 0 where it does not say, or only for all streams."""
    if "avi" in container.format.name:  # FFmpeg takes the duration from the bytes that are there
        return float(stream.frames / (stream.average_rate or _DEFAULT_RATE))
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if written := stream.metadata.get("DURATION"):  # of Matroska: 00:00:04.000000000
        hours, minutes, seconds = written.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return (container.duration or 0) / 1e6 if len(container.streams) == 1 else 0.0


def camera_frames(camera: str, seconds: float | None = None) -> Iterator[Frame]:
    """Frames of a camera, each at the time it came.

    Args:
        camera: number of the camera from 0, or an address that OpenCV reads (``rtsp://...``).
        seconds: for so long; until the camera ends if None.

    Raises:
        InputError: it cannot be opened, or gives no picture.
    """
    capture = cv2.VideoCapture(int(camera) if camera.isdigit() else camera)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # not what was seen while the last one was predicted
    try:
        start, number = time.monotonic(), 0
        while True:
            there, image = capture.read()
            shown = time.monotonic() - start
            if not there and not number:
                raise InputError(
                    f"camera {camera}: no picture comes from it; expected the number of a camera"
                    " that no other program uses, or an address such as rtsp://..."
                )
            if not there or (seconds is not None and shown >= seconds):
                return
            yield Frame(number, shown, np.ascontiguousarray(image[..., ::-1]))
            number += 1
    finally:
        capture.release()


@contextmanager
def write_video(
    path: str | Path, rate: Fraction, sound_of: str | Path | None = None
) -> Iterator[VideoWriter]:
    """An MP4 file of pictures of one size, which is there in full after the block, or not at all.

    Args:
        path: of the file.
        rate: pictures a second, on average.
        sound_of: a video whose sound goes along.

    Raises:
        InputError: PyAV is missing.
    """
    require_video_reader()
    import av

    with atomic(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        with closing(_sound(sound_of, container)) as sound:
            writer = VideoWriter(container, rate, sound)
            yield writer
            writer.finish()


class VideoWriter:
    """Adds pictures, each shown at its own time, see ``write_video``."""

    def __init__(self, container: Any, rate: Fraction, sound: Iterator[tuple[float, Any]]) -> None:
        self._container, self._sound = container, sound
        h264 = "libx264" in container.supported_codecs
        codec, options = ("libx264", _H264) if h264 else ("mpeg4", {})
        self._stream = container.add_stream(codec, rate=rate, options=options)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._heard = next(sound, None)  # adds its stream, which must be there before any packet
        self._usual = round(_TICKS / rate)
        self._lasts: dict[int, int] = {}  # ticks of pictures in the encoder: start -> duration
        self._held: Any = None  # the last picture, until it is known how long it is shown
        self.end_seconds = 0.0  # of the last picture; to be set before the block ends

    def write(self, picture: np.ndarray, seconds: float) -> None:
        """Add a picture (H, W, 3) that is shown from this time on.

        H.264 needs even sides: an odd one gets another line. A picture of another size than the
        first is resized.
        """
        import av

        odd = [(0, side % 2) for side in picture.shape[:2]]
        frame = av.VideoFrame.from_ndarray(np.pad(picture, [*odd, (0, 0)], "edge"), format="rgb24")
        if self._held is None:
            self._stream.width, self._stream.height = frame.width, frame.height
        if (frame.width, frame.height) != (self._stream.width, self._stream.height):
            frame = frame.reformat(self._stream.width, self._stream.height)
        frame.pts, frame.time_base = round(seconds * _TICKS), Fraction(1, _TICKS)
        if self._held is not None:
            frame.pts = max(frame.pts, self._held.pts + 1)
            self._encode(frame.pts)
        self._held = frame

    def finish(self) -> None:
        """Write what is still held, and the rest of the sound."""
        if self._held is not None:
            end = round(self.end_seconds * _TICKS)
            self._encode(end if end > self._held.pts else self._held.pts + self._usual)
            self._mux(self._stream.encode())
            self._write_sound(until_seconds=float("inf"))

    def _encode(self, until: int) -> None:
        self._lasts[self._held.pts] = until - self._held.pts
        self._mux(self._stream.encode(self._held))
        self._write_sound(until / _TICKS)

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            packet.duration = self._lasts.pop(packet.pts)  # the encoder's is that of the usual rate
            self._container.mux(packet)

    def _write_sound(self, until_seconds: float) -> None:
        while self._heard is not None and self._heard[0] <= until_seconds:
            self._container.mux(self._heard[1])
            self._heard = next(self._sound, None)


def _sound(path: str | Path | None, target: Any) -> Iterator[tuple[float, Any]]:
    """Packets of the first sound of a file for another container, with the times they are heard.

    They are copied where MP4 takes their codec, else encoded as AAC. The stream is added to
    ``target`` before the first one is yielded.
    """
    import av

    if path is None:
        return
    with open_video(path) as source:
        if not source.streams.audio:
            return
        heard = source.streams.audio[0]
        origin = (source.start_time or 0) / av.time_base
        if heard.codec_context.name not in _COPIED:
            yield from _encoded_sound(source, heard, target.add_stream("aac", heard.rate), origin)
            return
        copy = target.add_stream_from_template(heard)
        shift = round(origin / heard.time_base)
        for packet in source.demux(heard):
            if packet.dts is not None:
                packet.dts -= shift
                packet.pts = packet.dts if packet.pts is None else packet.pts - shift
                at = float(packet.dts * packet.time_base)
                packet.stream = copy
                yield at, packet


def _encoded_sound(
    source: Any, heard: Any, stream: Any, origin: float
) -> Iterator[tuple[float, Any]]:
    import av

    layout = "mono" if heard.channels == 1 else "stereo"
    stream.layout = layout
    encode = stream.codec_context
    resampler = av.AudioResampler(encode.format, layout, heard.rate, encode.frame_size or None)
    for decoded in chain(source.decode(heard), [None]):
        if decoded is not None and decoded.pts is not None:
            decoded.pts -= round(origin / decoded.time_base)
        for frame in resampler.resample(decoded):
            for packet in encode.encode(frame):
                packet.stream = stream
                yield float(packet.dts * packet.time_base), packet
    for packet in encode.encode():
        packet.stream = stream
        yield float(packet.dts * packet.time_base), packet
