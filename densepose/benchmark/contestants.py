"""The processes that do the work, seen from the benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]


class Contestant:
    """One process; a context manager that ends it."""

    def __init__(self, name: str, command: list[str], path: Path) -> None:
        """Start it.

        Args:
            name: column of the table.
            command: arguments of the Python interpreter.
            path: folder in which it finds its ``densepose``.
        """
        self.name = name
        # In front of where the user's own packages are.
        found_in = os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": found_in, "PYTHONWARNINGS": "ignore"}
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )

    def prepare(self, case: dict[str, Any]) -> None:
        """Build what a case needs."""
        self._ask({"do": "prepare", "case": case})

    def run(self) -> dict[str, Any]:
        """Do the work once: ``seconds`` of each stage and ``peak_mib``."""
        return self._ask({"do": "run"})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            told = self._errors.read()[-2000:].decode(errors="replace")
            raise RuntimeError(f"the process of {self.name} ended with status {status}:\n{told}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name} failed:\n{answer['error']}")
        return answer

    def __enter__(self) -> Contestant:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        if error is not None:
            self._process.terminate()
        self._process.wait()
        self._errors.close()


def ours(*, plain: bool) -> Contestant:
    """This package with plain torch (MODEL.CPU_OPS off) or with its operators."""
    command = ["-m", "densepose.benchmark.our_side", *(["--plain"] if plain else [])]
    return Contestant("plain torch" if plain else "accelerated", command, PACKAGE.parent)


def upstream(checkout: Path) -> Contestant:
    """detectron2's DensePose from a checkout.

    Raises:
        ValueError: the project is not in that folder.
    """
    project = checkout.resolve() / "projects" / "DensePose"
    if not (project / "densepose" / "config.py").is_file():
        raise ValueError(f"{checkout}: no projects/DensePose there; --detectron2 takes a checkout")
    file = Path(__file__).with_name("upstream_side.py")
    return Contestant("detectron2", [str(file)], project)
