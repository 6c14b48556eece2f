"""``densepose annotate`` without pages: the report, and mistakes in one line."""

from __future__ import annotations

import json
import socket

import pytest
from PIL import Image

from densepose.annotate.session import find_photos
from densepose.cli.__main__ import main


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "photos" / "a.png")
    return tmp_path


def test_a_report_writes_the_file_and_says_what_is_in_it(photos, capsys):
    words = ["photos", "--output", "new/my.json", "--report"]
    assert main(["annotate", *words]) == 0
    assert capsys.readouterr().out == "new/my.json: 0 images, 0 annotated instances, 0 points\n"
    assert json.loads((photos / "new" / "my.json").read_text())["annotations"] == []


def test_photos_are_judged_by_their_content(photos):
    folder = photos / "any"
    folder.mkdir()
    for name in ("a.jfif", "b", ".hidden.jpg"):
        Image.new("RGB", (8, 6)).save(folder / name, "JPEG")
    (folder / "notes.txt").write_text("x")
    (folder / "outside.jpg").symlink_to(photos / "photos" / "a.png")
    assert list(find_photos(folder)) == ["a.jfif", "b"]


def test_mistakes_are_one_line(photos, capsys):
    (photos / "boxes.json").write_text('[{"image_id": 7, "bbox": [1, 2, 3, 4]}]')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, complaint in (
            (["absent"], "absent: no such folder"),
            (["empty"], "empty: no photo or video there"),
            (["photos", "--annotations", "absent.json"], "absent.json: the annotation file is"),
            (["photos", "--boxes", "absent.json"], "absent.json: No such file"),
            (["photos", "--boxes", "boxes.json"], "none of its 1 boxes is in one of the photos"),
            (["photos", "--surface", "absent.npz"], "absent.npz: no such file"),
            (["photos", "--port", port], f"--port {port}: "),
            (["photos", "--port", "70000"], "--port 70000: expected 0 to 65535"),
        ):
            assert main(["annotate", *words, "--no-browser"]) == 1
            (line,) = capsys.readouterr().err.splitlines()
            assert complaint in line
