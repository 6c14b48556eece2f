"""How far a loop has come: a bar on a terminal, now and then a line of the log elsewhere.

Every part of the package may import this module.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

logger = logging.getLogger(__name__)

PLAIN_SECONDS = 30.0  # between two lines of the log
T = TypeVar("T")


@contextmanager
def progress_bar(
    label: str, total: float | None = None, *, in_bytes: bool = False
) -> Iterator[Callable[..., None]]:
    """A bar on standard error with the amount done and the time left; it goes away at the end.

    Args:
        label: what is being done.
        total: amount in all, None as long as it is unknown.
        in_bytes: show amounts as MB.

    Yields:
        ``show(done, total)``, or ``show(more=amount)`` since the last call; what is None stays.
    """
    console = Console(stderr=True)
    amount = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # what goes into a file stays out of the terminal
    ) as bar:
        bar.add_task(label, total=total)
        (task,) = bar.tasks
        shown = time.monotonic()

        def show(
            done: float | None = None, total: float | None = None, *, more: float | None = None
        ) -> None:
            nonlocal shown
            bar.update(task.id, completed=done, total=total, advance=more)
            if not console.is_terminal and time.monotonic() - shown > PLAIN_SECONDS:
                shown = time.monotonic()
                left = task.time_remaining
                eta = "?" if left is None else timedelta(seconds=round(left))
                logger.info("%s %s  ETA %s", label, amount.render(task).plain.strip(), eta)

        yield show


def track(items: Iterable[T], *, total: int, label: str) -> Iterator[T]:
    """Pass ``items`` on below a bar."""
    with progress_bar(label, total) as show:
        for item in items:
            yield item
            show(more=1)
