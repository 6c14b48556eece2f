"""Which files are meant: by content, without hidden ones, from folders, patterns and lists."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from densepose.errors import InputError
from densepose.prediction.inputs import find_inputs, is_video
from densepose.prediction.photos import read_photo

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".ljust(600, b"\0")
# First bytes of video files, by kind.
VIDEOS = {
    "mp4": b"\0\0\0\x20ftypisom",
    "old QuickTime": b"\0\0\0\x08wide\0\0\0\0mdat",
    "Matroska": b"\x1a\x45\xdf\xa3",
    "AVI": b"RIFF\0\0\0\0AVI LIST",
    "MPEG program": b"\0\0\1\xba",
    "MPEG transport": (b"G" + bytes(187)) * 3,
    "M2TS": (b"\0\0\0\0G" + bytes(187)) * 3,
    "WMV": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "FLV": b"FLV\x01\x05",
    "Theora": b"OggS" + bytes(24) + b"\x80theora",
}
OTHERS = {
    "HEIC": HEIC,
    "AVIF": b"\0\0\0\x20ftypavif",
    "sound of MP4": b"\0\0\0\x20ftypM4A ",
    "WAV": b"RIFF\0\0\0\0WAVEfmt ",
    "Vorbis": b"OggS" + bytes(24) + b"\x01vorbis",
    "text": b"Good morning",
    "nothing": b"",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "sub/c.jpeg", "sub/clip.mp4", "notes.txt", "pictures/found.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


@pytest.mark.parametrize(
    ("head", "video"),
    [*((h, True) for h in VIDEOS.values()), *((h, False) for h in OTHERS.values())],
)
def test_a_video_is_known_by_its_first_bytes(tmp_path: Path, head: bytes, video: bool):
    path = tmp_path / "file.dat"
    path.write_bytes(head.ljust(len(head) and 600, b"\0"))
    assert is_video(path) == video


def test_content_decides_and_what_is_skipped_is_counted_by_ending(tmp_path: Path):
    photo = Image.new("RGB", (8, 8))
    kinds = {"a.jfif": "JPEG", "b.avif": "AVIF", "c.jp2": "JPEG2000", "no_ending": "PNG"}
    for name, kind in kinds.items():
        photo.save(tmp_path / name, kind)
    (tmp_path / "d.clip").write_bytes(VIDEOS["mp4"])
    (tmp_path / "damaged.jpg").write_bytes(b"no picture")  # must be reported, so it is an input
    for name in ("e.heic", "f.HEIC", "g.txt", "._a.jpg"):
        (tmp_path / name).write_bytes(HEIC)
    (tmp_path / ".thumbnails").mkdir()
    photo.save(tmp_path / ".thumbnails" / "small.png")
    found = find_inputs([str(tmp_path)])
    assert names(found.paths, tmp_path) == [*list(kinds)[:3], "d.clip", "damaged.jpg", "no_ending"]
    assert found.skipped == {".heic": 2, ".txt": 1, "hidden": 1}
    assert found.skipped_text() == (
        "skipped 4 files that are neither photo nor video: 2 .heic, 1 hidden, 1 .txt"
        " (.heic can be read after: pip install pillow-heif)"
    )


def test_what_an_ending_promises_wrongly_is_read_all_the_same(tmp_path: Path):
    Image.new("RGB", (8, 6), "red").save(tmp_path / "really_png.mp4", "PNG")
    assert not is_video(tmp_path / "really_png.mp4")
    assert (read_photo(tmp_path / "really_png.mp4") == (255, 0, 0)).all()
    (tmp_path / "phone.jpg").write_bytes(HEIC)
    with pytest.raises(InputError, match=r"phone\.jpg: .*HEIC; pip install pillow-heif"):
        read_photo(tmp_path / "phone.jpg")


def test_a_folder_is_searched_and_sorted_without_the_results(folder: Path):
    found = find_inputs([str(folder)], results=folder)
    assert names(found.paths, folder) == ["a.PNG", "b.jpg", "sub/c.jpeg", "sub/clip.mp4"]
    assert found.skipped == {".txt": 1}


def test_files_come_first_as_given_and_nothing_twice(folder: Path):
    found = find_inputs([str(folder / "sub/c.jpeg"), str(folder / "**/*.jp*g")])
    assert names(found.paths, folder) == ["sub/c.jpeg", "b.jpg", "pictures/found.jpg"]


def test_a_pattern_that_matches_a_folder_searches_it(folder: Path):
    found = find_inputs([str(folder / "s*")], results=folder)
    assert names(found.paths, folder) == ["sub/c.jpeg", "sub/clip.mp4"]


def test_a_name_with_brackets_is_a_name_first(tmp_path: Path):
    (tmp_path / "a[1].jpg").touch()
    assert names(find_inputs([str(tmp_path / "a[1].jpg")]).paths, tmp_path) == ["a[1].jpg"]


def test_a_list_names_photos_folders_and_patterns(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    odd = os.fsdecode(b"caf\xe9.jpg")  # not UTF-8
    Path(odd).touch()
    lines = b"\xef\xbb\xbfb.jpg\r\n\n sub/ \n*.PNG\n" + os.fsencode(odd) + b"\n"
    Path("list.txt").write_bytes(lines)
    found = find_inputs(["@list.txt"]).paths
    assert [str(path) for path in found] == ["b.jpg", "sub/c.jpeg", "sub/clip.mp4", "a.PNG", odd]
    Path("list.txt").write_text("b.jpg\nnone.jpg\n")
    with pytest.raises(InputError, match=r"list\.txt: line 2: none\.jpg: no such photo"):
        find_inputs(["@list.txt"])
    with pytest.raises(InputError, match="missing.txt: the list of photos is missing"):
        find_inputs(["@missing.txt"])


@pytest.mark.parametrize("word", ["none.jpg", "none*", "empty", "texts"])
def test_nothing_there_is_an_error(folder: Path, word: str):
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("a")
    with pytest.raises(InputError, match=r"(none|empty).*no (such )?photo|skipped 1 .*1 \.txt"):
        find_inputs([str(folder / word)])
