"""How far a loop over images has come: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

import rich.progress

from detectron2.utils import comm

from .logs import console

logger = logging.getLogger(__name__)

PLAIN_SECONDS = 30.0  # between two plain lines
T = TypeVar("T")


def track(items: Iterable[T], *, total: int, label: str) -> Iterator[T]:
    """Pass ``items`` on; the main process shows how many are done and how long the others take."""
    if not comm.is_main_process():
        yield from items
    elif console.is_terminal:
        yield from rich.progress.track(items, label, total, console=console, transient=True)
    else:
        start = shown = time.perf_counter()
        for done, item in enumerate(items, start=1):
            yield item
            now = time.perf_counter()
            if now - shown > PLAIN_SECONDS:
                shown, speed = now, done / (now - start)
                left = timedelta(seconds=round((total - done) / speed))
                logger.info("%s %d/%d  %.1f/s  ETA %s", label, done, total, speed, left)
