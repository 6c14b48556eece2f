"""The table and the JSON file of a benchmark."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .measure import CPU_TIME, TOTAL, Measurement

PACKAGES = ("torch", "torchvision", "detectron2", "sal-detectron2", "numpy", "numba", "scipy")


def table(measurements: Sequence[Measurement]) -> str:
    """Markdown: one line for each case and stage, medians in ms, ratios against ours, memory."""
    names = list(dict.fromkeys(name for m in measurements for name in m.seconds))
    us, *others = names  # this package comes first
    head = ["work", *(f"{name}, ms" for name in names), *(f"x over {name}" for name in others)]
    head += [f"peak {name}, MiB" for name in names]
    rows = [head]
    for measurement in measurements:
        ours = measurement.seconds[us]
        stages = [stage for stage in ours if stage not in (TOTAL, CPU_TIME)]
        rows.append(_row(measurement, TOTAL, f"**{measurement.case}**", names))
        if len(stages) > 1:
            rows += [_row(measurement, stage, f"- {stage}", names) for stage in stages]
        if CPU_TIME in ours:
            rows.append(_row(measurement, CPU_TIME, f"- {CPU_TIME}", names))
    return _markdown(rows)


def _row(measurement: Measurement, stage: str, label: str, names: list[str]) -> list[str]:
    present, (us, *others) = measurement.seconds, names
    row = [label]
    row += [f"{1e3 * measurement.median(n, stage):.4g}" if n in present else "" for n in names]
    row += [f"x{measurement.ratio(n, us, stage):.2f}" if n in present else "" for n in others]
    whole = stage == TOTAL
    peaks = [measurement.peak_mib.get(name, math.nan) if whole else math.nan for name in names]
    return row + ["" if math.isnan(peak) else f"{peak:.0f}" for peak in peaks]


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def write_json(path: Path, measurements: Sequence[Measurement], **settings: Any) -> None:
    """All single times with the machine, versions, commit and command."""
    content = {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **versions_of(PACKAGES)},
        "commit": commit_of_sources(),
        **settings,
        "measurements": [measurement.to_json() for measurement in measurements],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, path)


def machine() -> dict[str, Any]:
    """Processor, cores, threads and memory."""
    name = platform.processor() or platform.machine()
    cpu_info, memory = Path("/proc/cpuinfo"), math.nan
    if cpu_info.is_file():
        lines = cpu_info.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": round(memory, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_at_the_end": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Name -> version of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit_of_sources() -> str | None:
    """The commit of this source tree, with ``-dirty`` when files differ; None outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
