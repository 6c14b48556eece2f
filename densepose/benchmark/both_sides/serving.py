"""The loop of a contestant's process: prepare a case, run it when told, report seconds.

One JSON object a line on standard input and output; whatever libraries print goes to standard
error.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Run = Callable[[], dict[str, float]]  # does the work once; seconds of each stage


def serve(prepare: Callable[[dict[str, Any]], Run]) -> None:
    """Answer requests until the input ends.

    ``{"do": "prepare", "case": {...}}`` and ``{"do": "run"}``, answered with ``{"seconds": {stage:
    seconds}, "cpu_seconds": of all threads, "peak_mib": of the run, above what was there before
    it}`` or ``{"error": text}``. On a GPU ``peak_mib`` is all that tensors took of its memory.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run: Run | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "prepare":
                run = None  # frees the former case first
                gc.collect()
                run = prepare(request["case"])
                answer: dict[str, Any] = {"seconds": {}}
            else:
                before = _reset_peak()
                busy = time.process_time()
                answer = {"seconds": run(), "cpu_seconds": time.process_time() - busy}
                answer["peak_mib"] = (
                    torch.cuda.max_memory_allocated() / 2**20
                    if torch.cuda.is_initialized()
                    else _memory_mib("VmHWM") - before
                )
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _reset_peak() -> float:
    """Let the peak of this process count from now on; returns the present memory in MiB."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return float("nan")  # not Linux: the peak is not measured
    return _memory_mib("VmRSS")


def _memory_mib(field: str) -> float:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024
