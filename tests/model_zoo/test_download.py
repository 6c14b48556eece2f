from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from densepose.errors import InputError
from densepose.model_zoo.download import download, note_of
from tests.support.range_server import RangeServer

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def url(server: RangeServer) -> str:
    server.files["a/model.pkl"] = CONTENT
    return f"{server.url}a/model.pkl"


def left_behind(path: Path) -> list[str]:
    """Files beside the goal, but for the lock."""
    return sorted(p.name for p in path.parent.iterdir() if p.name != f"{path.name}.lock")


def test_a_file_comes_whole_and_once(url: str, server: RangeServer, tmp_path: Path):
    path = tmp_path / "deep" / "model.pkl"
    assert download(url, path, licence="CC0") is True
    assert path.read_bytes() == CONTENT
    noted = {"url": url, "size_bytes": len(CONTENT), "sha256": SHA256, "licence": "CC0"}
    assert note_of(path) == noted
    assert left_behind(path) == ["model.pkl", "model.pkl.json"]
    assert download(url, path) is False
    assert len(server.requests) == 1


def test_a_broken_connection_is_taken_up_where_it_ended(
    url: str, server: RangeServer, tmp_path: Path
):
    server.stop_after = [1000, 2000]
    download(url, tmp_path / "model.pkl")
    assert (tmp_path / "model.pkl").read_bytes() == CONTENT
    assert [span for _, span in server.requests] == [None, "bytes=1000-", "bytes=3000-"]


def test_what_came_before_a_stop_is_kept_for_the_next_run(
    url: str, server: RangeServer, tmp_path: Path
):
    path = tmp_path / "model.pkl"
    server.stop_after = [1000, 0, 0, 0]
    with pytest.raises(InputError, match="stopped after 1,000 bytes .*1,000 of 10,240 bytes"):
        download(url, path)
    assert left_behind(path) == [".model.part.pkl", ".model.part.pkl.tag"]
    server.requests.clear()
    download(url, path)
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/a/model.pkl", "bytes=1000-")]


def test_a_part_of_another_file_is_not_continued(url: str, server: RangeServer, tmp_path: Path):
    server.stop_after = [1000, 0, 0, 0]
    with pytest.raises(InputError):
        download(url, tmp_path / "model.pkl")
    server.files["a/model.pkl"] = CONTENT[::-1]
    download(url, tmp_path / "model.pkl")
    assert (tmp_path / "model.pkl").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_sends_it_all_again(url: str, server: RangeServer, tmp_path: Path):
    server.ranges, server.stop_after = False, [1000]
    download(url, tmp_path / "model.pkl")
    assert (tmp_path / "model.pkl").read_bytes() == CONTENT


@pytest.mark.parametrize("extra", [0, 7])
def test_a_part_that_is_already_whole_or_too_long(
    url: str, server: RangeServer, tmp_path: Path, extra: int
):
    (tmp_path / ".model.part.pkl").write_bytes(CONTENT + b"x" * extra)
    download(url, tmp_path / "model.pkl")
    assert (tmp_path / "model.pkl").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(
    url: str, server: RangeServer, tmp_path: Path
):
    server.statuses = [503, 429]
    download(url, tmp_path / "model.pkl")
    assert len(server.requests) == 3
    with pytest.raises(InputError, match="b.pkl: the server answers 404 Not Found"):
        download(f"{server.url}b.pkl", tmp_path / "b.pkl")
    assert len(server.requests) == 4


def test_a_web_page_is_no_file(url: str, server: RangeServer, tmp_path: Path):
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(InputError, match="answers with a web page"):
        download(url, tmp_path / "model.pkl")
    assert left_behind(tmp_path / "model.pkl") == []


def refuse(path: Path) -> None:
    raise ValueError(f"{path}: this is not what was asked for")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"size_bytes": 5}, "10,240 bytes came, 5 were expected"),
        ({"sha256_wanted": "0" * 64}, f"has sha256 {SHA256}, expected 0000"),
        ({"check": refuse}, r"model.pkl: this is not what was asked for"),
    ],
)
def test_another_file_than_expected_is_removed(url: str, tmp_path: Path, asked: dict, message: str):
    with pytest.raises(InputError, match=message):
        download(url, tmp_path / "model.pkl", **asked)
    assert left_behind(tmp_path / "model.pkl") == []
    download(url, tmp_path / "model.pkl", size_bytes=len(CONTENT), sha256_wanted=SHA256)


def test_no_server_at_all(tmp_path: Path, server: RangeServer):
    nobody = "http://127.0.0.1:9/model.pkl"
    with pytest.raises(InputError, match="stopped after 0 bytes .*refused"):
        download(nobody, tmp_path / "model.pkl")


def test_one_of_several_fetches_and_the_others_wait(url: str, server: RangeServer, tmp_path: Path):
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(download(url, tmp_path / "model.pkl")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == 1
    assert len(server.requests) == 1
