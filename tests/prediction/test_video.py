"""Times, sound, rotation and missing frames of videos; frames of a camera."""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from densepose.errors import InputError
from densepose.prediction.video import VideoFile, camera_frames, write_video
from tests.support.fake_camera import FakeCamera

av = pytest.importorskip("av")

NOISE = np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3)).astype(np.uint8)
UNEVEN = (0.0, 0.1, 0.2, 2.0, 3.5)  # and the last one ends at 4.0


EVEN = tuple(k / 5 for k in range(20))


def clip(
    path: Path,
    times_s: tuple[float, ...] = EVEN,
    end_s: float = 4.0,
    *,
    sound: str = "",
    start_s: float = 0.0,
    **options: str,
) -> Path:
    """A video of noise, whose frames compress to nearly equal sizes."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        heard = container.add_stream(sound, rate=8000, layout="mono") if sound else None
        packets = []
        for pixels, seconds in zip(NOISE, times_s, strict=False):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round((seconds + start_s) * 1000), Fraction(1, 1000)
            packets += stream.encode(frame)
        packets += stream.encode()
        packets[-1].duration = round((end_s - times_s[-1]) * 1000)
        container.mux(packets)
        if heard is not None:
            _add_sound(container, heard, start_s)
    return path


def _add_sound(container: av.container.OutputContainer, stream: av.AudioStream, start_s: float):
    wave = np.sin(np.arange(4 * 8000) / 9)[None].astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.rate, frame.pts = 8000, round(start_s * 8000)
    encode = stream.codec_context
    resampler = av.AudioResampler(encode.format, "mono", encode.rate, encode.frame_size or None)
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(piece))
    container.mux(stream.encode())


def written_again(path: Path, step: int = 1) -> tuple[VideoFile, Path]:
    file, out = VideoFile(path), path.parent / "again.mp4"
    with write_video(out, file.rate, path) as writer:
        for frame in file.frames(step):
            writer.write(frame.image, frame.seconds)
        writer.end_seconds = file.end_seconds
    return file, out


def times_and_end(path: Path) -> tuple[list[float], float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        end = float(stream.duration * stream.time_base)
        return [round(frame.time, 3) for frame in container.decode(stream)], end


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_variable_frame_rate_keeps_its_times_and_its_length(tmp_path: Path, ending: str):
    file, out = written_again(clip(tmp_path / f"clip.{ending}", UNEVEN))
    times, end = times_and_end(out)
    assert times == pytest.approx(UNEVEN, abs=0.001) and file.incomplete == ""
    assert end == pytest.approx(file.end_seconds, abs=0.001)
    if ending == "mp4":  # Matroska does not keep how long the last frame is shown
        assert end == pytest.approx(4.0, abs=0.001)


def test_every_third_frame_is_shown_until_the_next(tmp_path: Path):
    _, out = written_again(clip(tmp_path / "clip.mp4"), step=3)
    times, end = times_and_end(out)
    assert times == pytest.approx([0.6 * k for k in range(7)], abs=0.001)
    assert end == pytest.approx(4.0, abs=0.001)


@pytest.mark.parametrize(
    ("ending", "codec", "becomes"),
    [("mp4", "aac", "aac"), ("mkv", "flac", "flac"), ("avi", "pcm_s16le", "aac")],
)
def test_sound_is_kept(tmp_path: Path, ending: str, codec: str, becomes: str):
    _, out = written_again(clip(tmp_path / f"clip.{ending}", sound=codec))
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.name == becomes
        samples = np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio=0)])
    assert len(samples) == pytest.approx(4 * 8000, abs=1100)  # AAC has frames of 1024
    assert np.abs(samples[4000:24000].astype(float)).max() > 0.5


def test_picture_and_sound_that_start_late_stay_together(tmp_path: Path):
    """Time stamps of a transport stream never start at 0."""
    path = clip(tmp_path / "clip.ts", sound="aac", start_s=7)
    _, out = written_again(path)
    times, _ = times_and_end(out)
    assert times[:2] == pytest.approx([times[0], times[0] + 0.2], abs=0.001) and times[0] < 0.2
    with av.open(str(out)) as container:
        assert next(container.decode(audio=0)).time == pytest.approx(0, abs=0.2)


def cut(path: Path, fraction: float = 0.6) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    return path


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("clip.avi", {}, r"\d+ of \d+ frames can be read"),
        ("clip.mp4", {"movflags": "faststart"}, r"\d+ of 20 frames can be read"),
        ("clip.mkv", {}, r"[12]\.\d of 4\.0 seconds can be read"),
    ],
)
def test_missing_frames_are_counted_and_the_others_kept(tmp_path, name, options, says):
    # Behind the frames an AVI has its index, with a line for each thousandth of a second.
    file = VideoFile(cut(clip(tmp_path / name, **options), 0.3 if ".avi" in name else 0.6))
    frames = list(file.frames())
    assert 5 <= len(frames) <= 13 and re.fullmatch(says, file.incomplete), file.incomplete
    np.testing.assert_allclose([f.seconds for f in frames], np.arange(len(frames)) / 5, atol=0.002)


@pytest.mark.parametrize("times_s", [EVEN, UNEVEN])
@pytest.mark.parametrize("ending", ["avi", "mp4", "mkv", "ts"])
def test_a_whole_video_misses_nothing(tmp_path: Path, ending: str, times_s: tuple[float, ...]):
    file = VideoFile(clip(tmp_path / f"clip.{ending}", times_s))
    assert len(list(file.frames())) == len(times_s) and file.incomplete == ""


def test_a_video_that_is_none_is_named(tmp_path: Path):
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(200))
    with pytest.raises(InputError, match=r"clip\.mp4: cannot be read as a video"):
        VideoFile(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match=r"none\.mp4: cannot be read .*No such file"):
        VideoFile(tmp_path / "none.mp4")


def test_a_name_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "clip.mp4").rename("concat:50%d.mp4")
    assert VideoFile("concat:50%d.mp4").num_frames == 20


def test_a_turned_video_comes_upright(tmp_path: Path):
    """Phones store the frames lying and a matrix in the track header (ISO 14496-12, 8.3.2)."""
    path = clip(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    one, matrix = 1 << 16, data.index(b"tkhd") + 4 + 40
    # A quarter turn clockwise: x' = height - y, y' = x.
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    path.write_bytes(data)
    lying = next(VideoFile(clip(tmp_path / "plain.mp4")).frames()).image
    np.testing.assert_array_equal(next(VideoFile(path).frames()).image, np.rot90(lying, -1))


def test_pictures_of_other_and_of_odd_sizes_fit(tmp_path: Path):
    with write_video(tmp_path / "out.mp4", Fraction(5)) as writer:
        for number, size in enumerate([(47, 61, 3), (30, 40, 3)]):
            writer.write(np.zeros(size, np.uint8), number / 5)
    with av.open(str(tmp_path / "out.mp4")) as container:
        sizes = [(frame.height, frame.width) for frame in container.decode(video=0)]
    assert sizes == [(48, 62)] * 2


def test_a_camera_gives_frames_at_the_times_they_come(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    for address in ("0", "rtsp://door"):
        frames = list(camera_frames(address))
        assert [frame.number for frame in frames] == list(range(5))
        assert (frames[0].image == (0, 0, 255)).all()
        assert all(a.seconds <= b.seconds for a, b in zip(frames, frames[1:], strict=False))
    assert list(camera_frames("0", seconds=0.0)) == []
    with pytest.raises(InputError, match="camera 7: no picture comes from it; expected"):
        next(camera_frames("7"))
