"""Threads that each take a share of the tiles through transform, product and transform back.

One thread carries its tiles through all three steps while they are in its cache, so the threads
meet once per convolution instead of at every step. Inside a thread torch works single-threaded.

Each thread keeps its scratch memory: the system would map fresh pages for every large tensor, which
takes longer than the arithmetic on it.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import torch
from torch import Tensor

_lock = threading.Lock()
_scratch = threading.local()
_pool: ThreadPoolExecutor | None = None
_pool_key: tuple[int, int] | None = None


def run_shares(work: Callable[[int, int], None], count: int) -> None:
    """Call ``work(begin, end)`` for equal shares of ``range(count)``, one per torch thread."""
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        work(0, count)
        return
    edges = [count * k // threads for k in range(threads + 1)]
    futures = [_threads().submit(work, edges[k], edges[k + 1]) for k in range(1, threads)]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        work(edges[0], edges[1])
    finally:
        torch.set_num_threads(before)
        wait(futures)  # they write into the caller's buffers, also when this share has failed
    for future in futures:
        future.result()


def scratch(name: str, *shape: int) -> Tensor:
    """Uninitialised float32 memory of this thread; the next call with the same name reuses it."""
    count = math.prod(shape)
    kept = _scratch.__dict__.get(name)
    if kept is None or len(kept) < count:
        # Not an inference tensor, whichever mode asks first: training may use it later.
        with torch.inference_mode(False):
            kept = torch.empty(count)
        setattr(_scratch, name, kept)
    return kept[:count].view(shape)


def _threads() -> ThreadPoolExecutor:
    """The pool of this process; made anew after a fork or when the number of threads changed."""
    global _pool, _pool_key
    key = (os.getpid(), torch.get_num_threads())
    with _lock:
        if _pool is None or _pool_key != key:
            _pool = ThreadPoolExecutor(
                key[1], "winograd", initializer=torch.set_num_threads, initargs=(1,)
            )
            _pool_key = key
        return _pool
