"""Kill trainings at random moments, resume them, and compare with one that ran through.

    python tools/kill_training.py --kills 20 --output /tmp/kills --config-file F [KEY VALUE ...]

All words behind the options go to ``densepose train``. SEED must be 0 or more, and
SOLVER.CHECKPOINT_PERIOD shorter than the run.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch


def main() -> int:
    """Print one line a kill; 1 where a resumed run is not equal."""
    parser = argparse.ArgumentParser(description="Kill trainings, resume and compare them.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--output", type=Path, required=True)
    args, words = parser.parse_known_args()
    start = time.monotonic()
    start_training(words, args.output / "whole").wait()
    seconds = time.monotonic() - start
    whole = tensors(args.output / "whole")
    equal = 0
    for number in range(args.kills):
        folder = args.output / f"killed_{number}"
        training = start_training(words, folder)
        moment = random.Random(number).uniform(0.6, 1) * seconds
        try:
            training.wait(moment)
        except subprocess.TimeoutExpired:
            training.kill()
            training.wait()
        had = sorted(path.name for path in folder.glob("model_*.pth"))[-1:]
        status = start_training(words, folder).wait()
        same = status == 0 and same_tensors(whole, tensors(folder))
        equal += same
        print(f"killed after {moment:.1f} s, had {had}: {'equal' if same else 'NOT EQUAL'}")
    print(f"{equal} of {args.kills} are equal, tensor by tensor")
    return int(equal < args.kills)


def start_training(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """``densepose train --resume`` into a folder, its output in ``folder``.txt."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "densepose.cli", "train", "--resume", *words]
    with folder.with_suffix(".txt").open("ab") as log:
        return subprocess.Popen([*command, "OUTPUT_DIR", str(folder)], stdout=log, stderr=log)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the final checkpoint: weights, optimizer, average."""
    content = torch.load(folder / "model_final.pth", weights_only=True)
    return dict(_tensors_in(content, ""))


def _tensors_in(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _tensors_in(inner, f"{name}/{key}")


def same_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether both have the same names and bits."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


if __name__ == "__main__":
    sys.exit(main())
