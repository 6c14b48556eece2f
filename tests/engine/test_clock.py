from __future__ import annotations

from types import SimpleNamespace

import pytest

from densepose.engine import clock as clock_module
from densepose.engine.clock import TrainingClock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    time = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: time.seconds)
    return time


def trained(clock: TrainingClock, now: SimpleNamespace, steps: list[float], max_iter: int) -> int:
    """Iterations done when each step takes so many seconds and 100 s lie between steps."""
    clock.trainer = SimpleNamespace(iter=0, start_iter=0, max_iter=max_iter)
    clock.before_train()
    while clock.trainer.iter < clock.trainer.max_iter:
        now.seconds += 100
        clock.before_step()
        now.seconds += steps[clock.trainer.iter]
        clock.after_step()
        clock.trainer.iter += 1
    return clock.trainer.iter


def test_ends_with_the_step_that_reaches_the_limit(now: SimpleNamespace):
    clock = TrainingClock(limit_seconds=10)
    assert trained(clock, now, [4.0] * 9, max_iter=9) == 3
    assert clock.seconds == 12
    assert clock.share_used() == pytest.approx(1.2)
    assert clock.seconds_left() == 0


def test_without_a_limit_it_only_counts(now: SimpleNamespace):
    clock = TrainingClock()
    assert trained(clock, now, [4.0] * 9, max_iter=9) == 9
    assert (clock.seconds, clock.share_used(), clock.seconds_left()) == (36, 0, None)


def test_time_of_the_first_part_counts_after_resuming(now: SimpleNamespace):
    first, second = TrainingClock(limit_seconds=10), TrainingClock(limit_seconds=10)
    trained(first, now, [4.0], max_iter=1)
    second.load_state_dict(first.state_dict())
    assert second.seconds_left() == 6
    assert trained(second, now, [4.0] * 9, max_iter=9) == 2


def test_a_run_whose_time_is_up_does_no_step(now: SimpleNamespace):
    clock = TrainingClock(limit_seconds=10)
    clock.load_state_dict({"seconds": 10.0})
    assert trained(clock, now, [], max_iter=9) == 0
