"""What is printed and written: Markdown tables, and where the numbers are from."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .process import ROOT

PACKAGES = ("torch", "torchvision", "sal-detectron2", "detectron2", "timm", "numpy", "numba")


def facts() -> dict[str, Any]:
    """Date, command, commit, versions and machine."""
    return {
        "when": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "tools.upstream", *map(_short, sys.argv[1:])]),
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **_versions()},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def facts_text(checkout: Path | None = None) -> str:
    """The same as a paragraph of a document."""
    known = facts()
    packages = ", ".join(f"{name} {number}" for name, number in known["versions"].items())
    text = f"Measured {known['when']} at commit {known['commit']} with {packages}."
    if checkout is not None:
        digest = sources_digest(checkout / "densepose")[:16]
        text += (
            " The Python files of the checkout's `projects/DensePose/densepose` have the joint"
            f" sha256 `{digest}`; its models ran on the installed detectron2."
        )
    return f"{text}\n\n    {known['command']}\n"


def _short(word: str) -> str:
    """A path without the folders that say something about this machine alone."""
    return Path(word).name if Path(word).is_absolute() else word


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of this source tree, with ``-dirty`` when files differ; None outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def sources_digest(*folders: Path) -> str:
    """sha256 over names and contents of all Python files of folders and those below."""
    digest = sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder.parent).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
