"""How far a run has come: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from rich.progress import BarColumn, Progress, TextColumn

from detectron2.engine import HookBase
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

from .logs import FILE_ONLY, console

logger = logging.getLogger(__name__)

WINDOW = 20  # iterations over which losses and speed are smoothed (median)
PLAIN_SECONDS = 30.0  # between two plain lines of an evaluation
T = TypeVar("T")


def on_terminal() -> bool:
    """Whether this process should draw bars."""
    return comm.is_main_process() and console.is_terminal


def memory_text() -> str:
    """Memory in use: of the GPU (peak) where there is one, and of this process."""
    used = f"{_resident_bytes() / 2**30:.1f} GB"
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GB GPU, {used}"
    return used


def _resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource  # not at the top: Windows has no such module

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def duration_text(seconds: float) -> str:
    """65 -> '1:05', 3725 -> '1:02:05'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class ProgressHook(HookBase):
    """Shows loss, speed, time left, learning rate and memory while training.

    On a terminal a bar is redrawn at every iteration; a plain line goes to the log every ``period``
    iterations, and to the screen where there is no terminal. Only the main process says anything.
    """

    def __init__(
        self, *, images_per_step: int, period: int, time_left: Callable[[], float | None]
    ) -> None:
        """Args: ``time_left`` returns the seconds left of a time limit, None without one."""
        self.images_per_step = images_per_step
        self.period = period
        self.time_left = time_left
        self._bar: Progress | None = None

    def before_train(self) -> None:
        """Draw the bar."""
        if not on_terminal():
            return
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20))
        self._bar = Progress(*columns, TextColumn("{task.fields[status]}"), console=console)
        self._task = self._bar.add_task(
            "train", total=self.trainer.max_iter, completed=self.trainer.start_iter, status=""
        )
        self._bar.start()

    def after_step(self) -> None:
        """Show the step that was just done."""
        if not comm.is_main_process():
            return
        done = self.trainer.iter + 1
        last = done >= self.trainer.max_iter
        if self._bar is not None:
            status = self._status(self.trainer.storage, short=True)
            self._bar.update(self._task, completed=done, total=self.trainer.max_iter, status=status)
        if done % self.period == 0 or last:
            logger.info(
                self._status(self.trainer.storage, short=False),
                extra=FILE_ONLY if self._bar is not None else None,
            )

    def after_train(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _status(self, storage: EventStorage, *, short: bool) -> str:
        iteration = self.trainer.iter + 1
        latest = {name: values for name, values in storage.histories().items()}

        def median(name: str) -> float:
            return latest[name].median(min(WINDOW, storage.count_samples(name, WINDOW) or WINDOW))

        seconds = median("time") if "time" in latest else float("nan")
        parts = [f"{iteration}/{self.trainer.max_iter}"]
        if "total_loss" in latest:
            losses = sorted(name for name in latest if name.startswith("loss_"))
            each = ", ".join(f"{name[5:]} {median(name):.3f}" for name in losses)
            parts.append(f"loss {median('total_loss'):.3f}" + (f" ({each})" if not short else ""))
        if "lr" in latest:
            parts.append(f"lr {latest['lr'].latest():.2e}")
        if seconds == seconds:
            parts.append(f"{self.images_per_step / seconds:.1f} images/s")
        if not short and "data_time" in latest and seconds == seconds:
            parts.append(f"{seconds:.3f} s/it, {median('data_time'):.3f} of it waiting for data")
        left = seconds * (self.trainer.max_iter - iteration)
        limit = self.time_left()
        left = left if limit is None else min(left, limit)
        parts.append(f"ETA {duration_text(left)}" if left == left else "ETA ?")
        parts.append(memory_text())
        return "  ".join(parts)


def track(items: Iterable[T], *, total: int, label: str) -> Iterator[T]:
    """Pass ``items`` on and show how many are done: a bar on a terminal, else a line at times."""
    start = shown = time.perf_counter()
    bar = None
    if on_terminal():
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total}  {task.fields[status]}"),
            console=console,
            transient=True,
        )
        task = bar.add_task(label, total=total, status="")
        bar.start()
    try:
        for done, item in enumerate(items, start=1):
            yield item
            now = time.perf_counter()
            left = (now - start) / done * (total - done)
            status = f"{done / (now - start):.1f}/s  ETA {duration_text(left)}  {memory_text()}"
            if bar is not None:
                bar.update(task, completed=done, status=status)
            elif now - shown > PLAIN_SECONDS and comm.is_main_process():
                shown = now
                logger.info("%s %d/%d  %s", label, done, total, status)
    finally:
        if bar is not None:
            bar.stop()
