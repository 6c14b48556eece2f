"""The one protocol between the harness and the processes that compute: calls as lines of JSON.

``{"call": name, "arguments": {...}}`` is answered with ``{"value": ..., "cpu_seconds": of all
threads, "before_mib": anonymous memory at the start, "gpu_peak_mib": null without a GPU}`` or
``{"error": traceback}``. Tensors travel in safetensors files. What libraries print goes to standard
error.
"""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROJECT = Path("projects") / "DensePose"
_SAMPLE_SECONDS = 0.005


@dataclass(frozen=True)
class Answer:
    """What a call returned and what it took."""

    value: Any
    cpu_seconds: float
    peak_mib: float  # anonymous memory added at the peak; on a GPU all that tensors took


class Side:
    """A process that computes with one of the packages; a context manager that ends it."""

    def __init__(self, name: str, module: str, package_parent: Path) -> None:
        """Start the process.

        Args:
            name: how reports call it.
            module: module of this folder that serves the calls.
            package_parent: folder in which the process finds its ``densepose``.
        """
        self.name = name
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{HERE.name}.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment_of(package_parent),
            cwd=package_parent,  # -m puts the working folder in front of the path
            text=True,
        )

    def call(self, function: str, /, **arguments: Any) -> Any:
        """The plain value that a function of the side's module returns."""
        return self.measure(function, **arguments).value

    def measure(self, function: str, /, **arguments: Any) -> Answer:
        """The same with processor time and memory.

        Raises:
            RuntimeError: the function failed, or the process ended; with what it wrote.
        """
        request = json.dumps({"call": function, "arguments": arguments}) + "\n"
        with _MemoryPeak(self._process.pid) as memory:
            try:
                self._process.stdin.write(request)
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except BrokenPipeError:
                line = ""
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            written = self._errors.read()[-2000:].decode(errors="replace")
            raise RuntimeError(f"the process of {self.name} ended with status {status}:\n{written}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name} failed in {function}:\n{answer['error']}")
        peak_mib = answer["gpu_peak_mib"]
        if peak_mib is None:
            peak_mib = memory.peak_mib - answer["before_mib"]
        return Answer(answer["value"], answer["cpu_seconds"], max(peak_mib, 0.0))

    def __enter__(self) -> Side:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        if kind is not None:
            self._process.terminate()
        self._process.wait()
        self._errors.close()


def environment_of(package_parent: Path) -> dict[str, str]:
    """Environment of a process that finds its ``densepose`` in a folder."""
    # This folder is a top-level package there: a second checkout may have a ``tools``, too.
    folders = [str(package_parent), str(HERE.parent), os.environ.get("PYTHONPATH")]
    path = os.pathsep.join(filter(None, folders))
    return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}


def ours(name: str = "this package", checkout: Path = ROOT, module: str = "our_side") -> Side:
    """This package, or the one of another checkout of this repository."""
    if not (checkout / "densepose" / "__init__.py").is_file():
        from densepose.errors import InputError  # not on detectron2's side

        raise InputError(f"{checkout}: no densepose package in it; give a checkout of this project")
    return Side(name, module, checkout.resolve())


def detectron2(checkout: Path, module: str = "detectron2_side") -> Side:
    """The DensePose of a checkout of detectron2."""
    return Side("detectron2", module, project_of(checkout))


def project_of(checkout: Path) -> Path:
    """Folder of the DensePose project of a checkout of detectron2.

    Raises:
        ValueError: it is not there.
    """
    project = checkout.expanduser().resolve() / PROJECT
    if not (project / "densepose" / "config.py").is_file():
        from densepose.errors import InputError  # not on detectron2's side

        raise InputError(f"{checkout}: no {PROJECT} in it; give a checkout of detectron2")
    return project


def serve(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Answer calls of these functions until the input ends."""
    warnings.filterwarnings("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()
        before, busy = anonymous_mib(os.getpid()), time.process_time()
        try:
            value = functions[request["call"]](**request["arguments"])
            answer = {"value": value, "cpu_seconds": time.process_time() - busy}
            gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_initialized() else None
            answer |= {"before_mib": before, "gpu_peak_mib": gpu}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class _MemoryPeak(threading.Thread):
    """The largest anonymous memory of a process that works, sampled from outside of it.

    Pages of a file that is mapped into memory do not count: processes have them in common, and
    the system takes them back when it needs memory. Linux keeps no peak of the others.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mib = 0.0
        self._pid = pid
        self._finished = threading.Event()

    def run(self) -> None:
        while not self._finished.wait(_SAMPLE_SECONDS):
            self.peak_mib = max(self.peak_mib, anonymous_mib(self._pid))

    def __enter__(self) -> _MemoryPeak:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        self.join()


def anonymous_mib(pid: int) -> float:
    """Memory of a process without pages of files, in MiB; NaN where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024
    except (OSError, TypeError):  # not Linux, or the process has ended
        return float("nan")
