"""Threads and scratch memory of the compiled kernels.

The kernels run in the threads of OpenMP, which torch uses too: a pool of their own would wait for
torch's threads, which keep a core busy for a while after each operator.

Scratch memory is kept: the system would map fresh pages for every large tensor, which takes longer
than the arithmetic on it.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_scratch = threading.local()
_process = os.getpid()


@cache
def available() -> bool:
    """Whether Numba is there, with OpenMP; else the kernels would run in one thread."""
    try:
        import numba
        from numba.np.ufunc import omppool  # noqa: F401 - only its presence matters here
    except ImportError:
        return False
    if numba.config.THREADING_LAYER == "default":
        numba.config.THREADING_LAYER = "omp"
    return True


def compiled_before() -> bool:
    """Whether an earlier process compiled the kernels on this machine, which takes about 20 s."""
    if not available():
        return True
    from densepose.ops.winograd_kernels import convolve_shares  # the longest of them

    kept = Path(convolve_shares.stats.cache_path)
    return any(kept.glob("winograd_kernels.convolve_shares-*.nbi"))


def equal_shares(count: int) -> np.ndarray:
    """Edges of equal shares of ``range(count)``, one per torch thread and at most ``count``."""
    shares = max(1, min(_threads(), count))
    return np.array([count * k // shares for k in range(shares + 1)])


def run_in_threads(kernel: Callable[..., None], *args: Any) -> None:
    """Call a kernel that is compiled with ``parallel=True``; tensors are passed as arrays."""
    import numba

    numba.set_num_threads(_threads())
    kernel(*(a.detach().numpy() if isinstance(a, Tensor) else a for a in args))


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


def may_run_here() -> bool:
    """False in a forked process: Numba ends one that enters OpenMP after its parent did."""
    return os.getpid() == _process


def ready() -> bool:
    """Whether compiled kernels can be called in this process."""
    return may_run_here() and available()


def _threads() -> int:
    if not available():
        return 1
    import numba

    return min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
