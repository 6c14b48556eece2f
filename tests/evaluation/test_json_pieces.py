from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from densepose.evaluation import json_pieces
from densepose.evaluation.json_pieces import pieces, read_values

CONTENT = {
    "info": {"year": 2018, "by": "Güler \U0001f642"},
    "none": [],
    "number": -12.5e3,
    "annotations": [{"id": 1, "name": "a]},{"}, {"id": 2, "é": [1, [2]]}, 7, None, "x"],
    "flag": True,
    "images": [{"id": 5}],
}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_pieces_are_what_a_whole_reading_gives(tmp_path, monkeypatch, chunk, indent):
    monkeypatch.setattr(json_pieces, "CHUNK", chunk)
    text = json.dumps(CONTENT, indent=indent, ensure_ascii=False) + "\n"
    path = write(tmp_path / "a.json", text)
    found: dict = {}
    for piece in pieces(path):
        whole = CONTENT[piece.key]
        if isinstance(whole, list) and whole:
            found.setdefault(piece.key, []).append(piece.value)
        else:
            found[piece.key] = piece.value
        (again,) = read_values(path, [(piece.first, piece.last)])
        assert again == piece.value
    assert found == CONTENT and list(found) == list(CONTENT)


def test_a_list_is_pieces_without_a_key(tmp_path):
    path = write(tmp_path / "a.json", ' [ 1, {"a": 2} ] ')
    assert [(p.key, p.value) for p in pieces(path)] == [("", 1), ("", {"a": 2})]
    assert [(p.key, p.value) for p in pieces(write(path, "[]"))] == [("", [])]
    assert list(pieces(write(path, "{ }"))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected '{', at byte 0"),
        ("[1, 2", r"expected '\]', at byte 5"),
        ("[1] 2", "expected the end of the file, at byte 4"),
        ("<html>", "expected '{', at byte 0"),
        ('{"a": [1, 2', r"expected '\]', at byte 11"),
        ('{"a": [1, {"b": 2]}', "at byte 10"),
        ('{"a": 1 "b": 2}', r"expected '}', at byte 8"),
        ('{"a": 1}}', "expected the end of the file, at byte 8"),
        ('{"a": 1,}', "expected a key, at byte 8"),
        ("{a: 1}", "expected a key, at byte 1"),
        ('{"a": tru}', "Expecting value, at byte 6"),
    ],
)
def test_what_is_no_json_is_told_with_its_place(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(json_pieces, "CHUNK", 4)
    path = write(tmp_path / "broken.json", text)
    with pytest.raises(ValueError, match=message) as caught:
        list(pieces(path))
    assert "broken.json" in str(caught.value)
    with pytest.raises(FileNotFoundError):
        list(pieces(tmp_path / "none.json"))


def test_bytes_that_are_no_utf_8_are_told(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": ["\xff"]}')
    with pytest.raises(ValueError, match=r"can't decode byte 0xff.*at byte 7"):
        list(pieces(path))


def test_a_file_that_changes_is_told(tmp_path):
    path = write(tmp_path / "a.json", json.dumps(CONTENT))
    spans = [(p.first, p.last) for p in pieces(path) if p.key == "annotations"]
    write(path, '{"annotations": []}')
    with pytest.raises(ValueError, match="changed while it was being read"):
        read_values(path, spans)


def test_memory_holds_an_element_not_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(json_pieces, "CHUNK", 1 << 14)
    values = np.random.default_rng(0).random(300).tolist()
    peaks = []
    for count in (20, 400):
        path = write(tmp_path / "a.json", json.dumps({"a": [{"x": values}] * count}))
        tracemalloc.start()
        assert sum(1 for _ in pieces(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert path.stat().st_size > 2_000_000
    assert peaks[1] < 1.2 * peaks[0] < 400_000
