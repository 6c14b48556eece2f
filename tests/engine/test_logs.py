from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from densepose.engine.logs import FILE_ONLY, remove_handlers, setup_logging


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    remove_handlers()


def test_terminal_and_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    setup_logging(tmp_path / "log.txt")
    ours, theirs = logging.getLogger("densepose.engine.x"), logging.getLogger("detectron2.data")
    ours.info("shown [not markup]")
    ours.info("kept", extra=FILE_ONLY)
    ours.warning("careful")
    theirs.info("chatter")
    theirs.warning("odd")
    screen = capsys.readouterr().out
    assert screen.splitlines() == ["shown [not markup]", "WARNING: careful", "WARNING: odd"]
    file = (tmp_path / "log.txt").read_text()
    for word in ("shown", "kept", "careful", "chatter", "odd"):
        assert word in file


def test_a_second_call_replaces_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    setup_logging(tmp_path / "a.txt")
    setup_logging(tmp_path / "b.txt")
    logging.getLogger("densepose").info("once")
    assert capsys.readouterr().out == "once\n"
    assert not (tmp_path / "a.txt").exists()


def test_other_processes_are_quiet_and_have_files_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    setup_logging(tmp_path / "log.txt", rank=1)
    logging.getLogger("densepose").warning("from the second")
    assert capsys.readouterr().out == ""
    assert "from the second" in (tmp_path / "log.txt.rank1").read_text()
