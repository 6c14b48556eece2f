"""The whole benchmark: cases, contestants, measurements, report."""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from densepose.config import find_config

from . import cases, contestants, generated_files
from .contestants import Contestant
from .measure import Measurement, measure

logger = logging.getLogger(__name__)

# About as many vertices as the official surface has; its distances fill 1.4 GiB.
OFFICIAL_SIZE, QUICK_SIZE = 1250, 20


def run_benchmark(
    *,
    detectron2: Path | None = None,
    only: Sequence[str] = (),
    quick: bool = False,
    rounds: int = 5,
    warm_up: int = 1,
    device: str = "cpu",
    half: bool = False,
    after_each: Callable[[list[Measurement]], object] = lambda done: None,
    tell: Callable[[str], None] = logger.info,
) -> list[Measurement]:
    """Measure plain torch against the accelerated operators, and detectron2's DensePose if given.

    Args:
        detectron2: folder of a checkout of detectron2.
        only: words of which one has to be in a case's name; all cases when empty.
        quick: small models, images and data sets: seconds in all, says little about real ones.
        rounds: of each case that count.
        warm_up: rounds before them.
        device: of the models; other than ``cpu``: only cases that run a model.
        half: train under autocast (float16 on a GPU, bfloat16 on a CPU).
        after_each: is given all measurements so far after each case.
        tell: is given lines of progress.

    Raises:
        ValueError: no case has one of the words; the checkout has no DensePose project.
        RuntimeError: a contestant failed; with its traceback.
    """
    if rounds < 1 or warm_up < 0:
        raise ValueError(f"--rounds must be 1 or more, got {rounds}; --warm-up 0 or more")
    if device != "cpu" and not torch.cuda.is_available():
        raise ValueError(f"--device {device}: no GPU was found; densepose doctor says what is here")
    chosen = cases.select(cases.all_cases(quick=quick), list(only), device)
    done = []
    with ExitStack() as all_cases:
        started: dict[str, Contestant] = {}
        shared = tempfile.TemporaryDirectory(prefix="densepose_benchmark_")
        official = Path(all_cases.enter_context(shared)) / "official"
        for case in chosen:
            with _files(case, detectron2, official, quick=quick) as told, ExitStack() as one_case:
                told |= {"device": device, "half": half}
                if not quick:
                    # Fresh processes: none inherits another case's fragmented heap.
                    started = {}
                rivals = []
                for name, start in _contestants(case, detectron2, device).items():
                    if name not in started:
                        stack = all_cases if quick else one_case
                        started[name] = stack.enter_context(start())
                    rivals.append(started[name])
                done.append(
                    measure(case.name, told, rivals, warm_up=warm_up, rounds=rounds, tell=tell)
                )
                after_each(done)
    return done


def _contestants(
    case: cases.Case, detectron2: Path | None, device: str
) -> dict[str, Callable[[], Contestant]]:
    """How to start each that takes part in the case, this package first."""
    found = {}
    if device == "cpu":
        found["accelerated"] = functools.partial(contestants.ours, plain=False)
    if device != "cpu" or not case.needs_data:  # the CPU operators have no part in reading data
        found["plain"] = functools.partial(contestants.ours, plain=True)
    if detectron2 is not None and case.upstream:
        found["detectron2"] = functools.partial(contestants.upstream, detectron2)
    return found


@contextmanager
def _files(
    case: cases.Case, detectron2: Path | None, official: Path, *, quick: bool
) -> Iterator[dict[str, Any]]:
    """What the contestants are told of a case, with the files it speaks of.

    ``official`` is a folder that several cases share: its files take gigabytes.
    """
    with tempfile.TemporaryDirectory(prefix="densepose_benchmark_") as name:
        folder = Path(name)
        told = {
            **asdict(case),
            "config": find_config(case.config),
            "weights": str(folder / "weights.safetensors"),
            "folder": str(folder / "data"),
        }
        if detectron2 is not None:
            configs = detectron2.resolve() / "projects" / "DensePose" / "configs"
            told["upstream_config"] = str(configs / f"{case.config}.yaml")
        if case.kind == "loading":
            generated_files.write_loading_files(folder / "data", case.images)
        elif case.kind == "surface":
            generated_files.write_surface_files(folder / "data", **case.picture)
        elif case.kind == "evaluation":
            generated_files.write_evaluation_files(folder / "data", case.images)
            told["official"] = str(official)
            told["num_vertices"] = generated_files.write_official_surface(
                official, QUICK_SIZE if quick else OFFICIAL_SIZE
            )
        yield told
