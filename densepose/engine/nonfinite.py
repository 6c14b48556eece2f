"""What to say and keep when a loss or a gradient is NaN or infinite."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.utils import comm

from .checkpoint import write_text


def nonfinite_names(values: Mapping[str, float]) -> list[str]:
    """Names of the values that are NaN or infinite."""
    return [name for name, value in values.items() if not math.isfinite(value)]


def nonfinite_message(
    iteration: int, values: Mapping[str, float], batch: Sequence[Mapping[str, Any]]
) -> str:
    """What became NaN or infinite, where, and on which images of this process.

    Args:
        iteration: counted from 0.
        values: losses and ``grad_norm`` of this process.
        batch: mapped records, each with ``image_id`` and ``file_name``.
    """
    bad = [f"{name} = {values[name]}" for name in nonfinite_names(values)]
    what = ", ".join(bad) if bad else "a loss of another process"
    images = ", ".join(
        f"{record.get('image_id', '?')} ({record.get('file_name', '?')})" for record in batch
    )
    return f"iteration {iteration}: {what}; images of the batch: {images}"


def write_snapshot(
    folder: Path,
    iteration: int,
    values: Mapping[str, float],
    batch: Sequence[Mapping[str, Any]],
    *,
    rate: float,
    config: str,
) -> Path:
    """Write what is needed to look into it to ``nonfinite_<iteration>_rank<n>.json``.

    Args:
        folder: OUTPUT_DIR.
        iteration: counted from 0.
        values: losses of this process; NaN is written as a word, so that any JSON reader takes the
            file.
        batch: mapped records.
        rate: learning rate of the step.
        config: the full config as YAML.

    Returns:
        The path of the file.
    """
    path = folder / f"nonfinite_{iteration:07d}_rank{comm.get_rank()}.json"
    images = [
        {
            "image_id": record.get("image_id"),
            "file_name": record.get("file_name"),
            "size": list(record["image"].shape) if "image" in record else None,
            "people": len(record["instances"]) if "instances" in record else None,
        }
        for record in batch
    ]
    content = {
        "iteration": iteration,
        "losses": {
            name: value if math.isfinite(value) else str(value) for name, value in values.items()
        },
        "learning_rate": rate,
        "images": images,
        "config": config.splitlines(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=1) + "\n")
    return path
