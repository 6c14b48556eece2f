from __future__ import annotations

from types import SimpleNamespace

import pytest

from detectron2.utils.events import EventStorage

from densepose.engine import progress
from densepose.engine.progress import ProgressHook, duration_text, memory_text, track


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "0:05"), (65.4, "1:05"), (3725, "1:02:05"), (360000, "100:00:00")]
)
def test_durations(seconds: float, text: str):
    assert duration_text(seconds) == text


def test_memory_is_that_of_this_process():
    assert 0.01 < float(memory_text().split()[-2]) < 100


def lines(caplog: pytest.LogCaptureFixture, *, time_left: float | None) -> list[str]:
    hook = ProgressHook(images_per_step=8, period=2, time_left=lambda: time_left)
    hook.trainer = SimpleNamespace(iter=0, start_iter=0, max_iter=100)
    with EventStorage(0) as hook.trainer.storage, caplog.at_level("INFO"):
        hook.before_train()
        for hook.trainer.iter in range(4):
            hook.trainer.storage.iter = hook.trainer.iter
            hook.trainer.storage.put_scalars(
                total_loss=3.0, loss_cls=1.0, loss_densepose_I=2.0, lr=0.01, time=0.5, data_time=0.1
            )
            hook.after_step()
        hook.after_train()
    return [record.message for record in caplog.records]


def test_plain_lines_every_period(caplog: pytest.LogCaptureFixture):
    first, second = lines(caplog, time_left=None)
    assert first.startswith("2/100  loss 3.000 (cls 1.000, densepose_I 2.000)  lr 1.00e-02")
    assert "16.0 images/s  0.500 s/it, 0.100 of it waiting for data  ETA 0:49" in first
    assert second.startswith("4/100")


def test_a_time_limit_bounds_the_time_left(caplog: pytest.LogCaptureFixture):
    assert all("ETA 0:07" in line for line in lines(caplog, time_left=7.0))


def test_track_passes_everything_on_and_tells_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    with caplog.at_level("INFO"):
        assert list(track(iter("abc"), total=3, label="evaluate x")) == ["a", "b", "c"]
    assert [record.message.split("  ")[0] for record in caplog.records] == [
        f"evaluate x {n}/3" for n in (1, 2, 3)
    ]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(progress, "on_terminal", lambda: True)
    assert list(track(range(3), total=3, label="evaluate x")) == [0, 1, 2]
