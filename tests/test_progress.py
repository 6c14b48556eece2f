from __future__ import annotations

import io
import sys

import pytest

from densepose import progress
from densepose.progress import progress_bar, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_track_passes_everything_on_and_logs_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    with caplog.at_level("INFO"):
        assert list(track(iter("abc"), total=3, label="evaluate x")) == ["a", "b", "c"]
    assert [record.message.split("  ")[0] for record in caplog.records] == [
        f"evaluate x {n}/3" for n in (1, 2, 3)
    ]


def test_a_terminal_gets_a_bar_with_the_amount(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    with caplog.at_level("INFO"), progress_bar("fetch a.pkl", in_bytes=True) as show:
        show(1_000_000, 4_000_000)
        show(more=1_000_000)
        written = sys.stderr
    assert "fetch a.pkl" in written.getvalue() and "2.0/4.0 MB" in written.getvalue()
    assert not caplog.records
