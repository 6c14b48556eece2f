"""Key frames of a small video that is written here."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from densepose.data.bootstrap import videos
from densepose.data.bootstrap.image_sources import ImageSource, ReadKeyFrames
from densepose.data.bootstrap.videos import (
    list_key_frames,
    read_key_frame_table,
    read_key_frames,
    read_path_list,
    select_frames,
)
from densepose.errors import InputError

FRAMES, KEY_EVERY = 20, 5


def shade(number: int) -> int:
    return 40 + 10 * number


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames of one shade each; every fifth is a key frame."""
    av = pytest.importorskip("av", reason="PyAV is not installed (pip install av)")
    path = tmp_path_factory.mktemp("video") / "shades.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        # No key frames beside every fifth, although each frame is a new scene to the encoder.
        stream.options = {"g": str(KEY_EVERY), "sc_threshold": "1000000000"}
        for number in range(FRAMES):
            pixels = np.full((48, 64, 3), shade(number), np.uint8)
            pixels[:, :32, 0] = 0  # so that red and blue differ
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_key_frames_are_listed_and_read_in_any_order(video: Path):
    stamps = list_key_frames(video)
    assert len(stamps) == FRAMES // KEY_EVERY and stamps == sorted(stamps)
    frames = read_key_frames(video, [stamps[2], stamps[0], stamps[3]])
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    got = [frame[:, 40:].mean() for frame in frames]
    assert got == pytest.approx([shade(10), shade(0), shade(15)], abs=4)
    assert all(frame[:, 8:24, 0].mean() < 12 for frame in frames)


def test_a_video_is_a_source_of_images(video: Path):
    random.seed(0)
    read = ReadKeyFrames("BGR", "random_k", 3)
    item = ImageSource([video], read, min_size=24)[0]
    assert len(item.images) == 3 and item.images[0].shape == (3, 24, 32)
    assert all(image[2, :, 4:12].mean() < 12 for image in item.images)  # red comes last
    read = ReadKeyFrames("RGB", "all", 0)
    levels = [image[1].mean().item() for image in ImageSource([video], read)[0].images]
    assert levels == pytest.approx([shade(n) for n in (0, 5, 10, 15)], abs=4)


def test_key_frames_that_are_known_are_not_listed(video: Path, monkeypatch: pytest.MonkeyPatch):
    stamps = list_key_frames(video)
    monkeypatch.delattr(videos, "list_key_frames")
    read = ReadKeyFrames("RGB", "last_k", 1, {0: stamps[:2]})
    (frame,) = read(0, video)
    assert frame[:, 40:].mean() == pytest.approx(shade(5), abs=4)


def test_what_is_no_video_says_so(tmp_path: Path):
    pytest.importorskip("av", reason="PyAV is not installed (pip install av)")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="text.mp4: cannot be read as a video"):
        list_key_frames(tmp_path / "text.mp4")
    with pytest.raises(InputError, match="gone.mp4: cannot be read as a video"):
        list_key_frames(tmp_path / "gone.mp4")
    item = ImageSource([tmp_path / "text.mp4"], ReadKeyFrames("BGR", "all", 0))[0]
    assert item.images == [] and "cannot be read as a video" in item.problem


def test_without_pyav_the_command_that_gets_it_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(videos.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs PyAV: pip install av.*image_folder or image_list"):
        list_key_frames("any.mp4")


def test_frames_are_chosen_by_the_strategy():
    stamps = [3, 7, 11, 15]
    assert select_frames(stamps, "first_k", 2) == [3, 7]
    assert select_frames(stamps, "last_k", 2) == [11, 15]
    assert select_frames(stamps, "all", 1) == stamps
    random.seed(1)
    drawn = [select_frames(stamps, "random_k", 2) for _ in range(50)]
    assert {len(set(two)) for two in drawn} == {2} and {s for two in drawn for s in two} == {
        *stamps
    }
    assert sorted(select_frames(stamps, "random_k", 9)) == stamps
    with pytest.raises(InputError, match="strategy must be one of"):
        select_frames(stamps, "best", 1)


def test_lists_of_paths(tmp_path: Path):
    listed = tmp_path / "list.txt"
    listed.write_text("a.mp4\n\n /tmp/b.mp4 \n")
    assert read_path_list(listed) == [tmp_path / "a.mp4", Path("/tmp/b.mp4")]
    assert read_path_list(listed, "/videos")[0] == Path("/videos/a.mp4")
    listed.write_text("\n")
    with pytest.raises(InputError, match="list.txt: the list of files is empty"):
        read_path_list(listed)
    with pytest.raises(InputError, match="none.txt: the list of files is missing"):
        read_path_list(tmp_path / "none.txt")


def test_the_table_of_key_frames(tmp_path: Path):
    table = tmp_path / "frames.csv"
    table.write_text('video_id,keyframes\n2,"[1,11, 21]"\n3,[]\n')
    assert read_key_frame_table(table) == {2: [1, 11, 21], 3: []}
    table.write_text("video,keyframes\n2,[1]\n")
    with pytest.raises(InputError, match="frames.csv: line 2: expected the columns video_id"):
        read_key_frame_table(table)
    with pytest.raises(InputError, match="table of key frames is missing"):
        read_key_frame_table(tmp_path / "none.csv")
