"""Worker processes that end with the process that started them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1  # of prctl, Linux


def end_with_parent() -> None:
    """Have this process end when its parent dies, however that dies.

    Linux kills it; elsewhere a thread waits for the end of the parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    elif (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def start_data_worker(number: int) -> None:
    """``worker_init_fn`` of data loaders: the parent alone decides when its workers end.

    A signal to the whole process group, as of Ctrl-C, ``timeout`` or a scheduler of jobs, must not
    take the data away from a run that is about to save.
    """
    end_with_parent()
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
