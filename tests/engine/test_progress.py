from __future__ import annotations

import pytest

from densepose.engine import progress
from densepose.engine.progress import track


def test_track_passes_everything_on_and_logs_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    with caplog.at_level("INFO"):
        assert list(track(iter("abc"), total=3, label="evaluate x")) == ["a", "b", "c"]
    assert [record.message.split("  ")[0] for record in caplog.records] == [
        f"evaluate x {n}/3" for n in (1, 2, 3)
    ]
