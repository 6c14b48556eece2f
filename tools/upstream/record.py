"""Record the golden files from a checkout of detectron2."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from densepose.errors import InputError

from . import bootstrap, evaluator, golden, our_side, process

EVALUATED_IMAGES, VERTICES_PER_PART = 30, 60


def chart_configs(checkout: Path, only: Sequence[str] = ()) -> list[str]:
    """Names relative to ``configs/`` and without ``.yaml``; neither bases nor embeddings (CSE).

    Args:
        checkout: of detectron2.
        only: words of which one has to be in the name; all when empty.

    Raises:
        ValueError: no name has one of the words.
    """
    folder = process.project_of(checkout) / "configs"
    names = (p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml"))
    names = sorted(name for name in names if "cse/" not in name and "Base-" not in name)
    chosen = [name for name in names if not only or any(word in name for word in only)]
    if not chosen:
        raise InputError(f"no config has {' or '.join(only)} in its name; there are {names}")
    return chosen


def record(
    checkout: Path,
    folder: Path,
    only: Sequence[str] = (),
    progress: Callable[[str], None] = print,
) -> None:
    """Write the golden files that are not there yet; delete those that are to be made again.

    Args:
        checkout: of detectron2.
        folder: of the golden files.
        only: words of which one has to be in the name of a file; all when empty.
        progress: is given a line for each file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs: dict[str, Callable[[process.Side], Any]] = {
        "evaluator": record_evaluator,
        "bootstrap": record_bootstrap,
    }
    with process.detectron2(checkout) as side:
        names = [n for n in chart_configs(checkout) if not n.startswith("quick_schedules/")]
        for name, others in group_by_model(side, names).items():
            jobs[f"models/{name.replace('/', '__')}"] = lambda side, name=name, others=others: (
                record_model(side, name, others)
            )
        for name, job in jobs.items():
            file = folder / f"{name}.json"
            if not file.exists() and (not only or any(word in name for word in only)):
                progress(name)
                file.parent.mkdir(exist_ok=True)
                file.write_text(json.dumps(job(side), separators=(",", ":")) + "\n")


def group_by_model(side: process.Side, names: Sequence[str]) -> dict[str, list[str]]:
    """Config -> further configs of the same model: they differ in data and schedule alone."""
    first_of: dict[str, str] = {}
    groups: dict[str, list[str]] = {}
    # The short names first: quick schedules join the model that they are a schedule of.
    for name in sorted(names, key=lambda n: (n.count("/"), n)):
        text = side.call("model_text", case=asdict(golden.case_of(name)))
        groups.setdefault(first_of.setdefault(text, name), []).append(name)
    return {name: members[1:] for name, members in groups.items()}


def record_model(side: process.Side, name: str, others: list[str]) -> dict[str, Any]:
    """Shapes at full width; results with narrow heads."""
    case = golden.case_of(name)
    shapes = side.call("state_shapes", case=asdict(golden.Case(name)))
    with tempfile.TemporaryDirectory(prefix="densepose_upstream_") as folder:
        file = Path(folder) / "results.safetensors"
        side.call("model_results", case=asdict(case), file=str(file))
        return {
            "config": name,
            "same_models": others,
            "tensors": len(shapes),
            "names_sha256": golden.names_digest(shapes),
            **golden.summary(load_file(file)),
        }


def record_evaluator(side: process.Side) -> dict[str, Any]:
    """All tables on all kinds of generated sets."""
    sizes = {"images": EVALUATED_IMAGES, "vertices_per_part": VERTICES_PER_PART}
    found: dict[str, Any] = dict(sizes)
    tables = {name: list(table) for name, table in evaluator.TABLES.items()}
    with tempfile.TemporaryDirectory(prefix="densepose_upstream_") as folder:
        for kind in evaluator.KINDS:
            place = {"folder": f"{folder}/{kind}", "official": f"{folder}/official"}
            our_side.make_set(**place, kind=kind, seed=0, **sizes)
            found[kind] = side.call("score_set", **place, tables=tables)
    return found


def record_bootstrap(side: process.Side) -> dict[str, Any]:
    """Samples of pseudo-labels and categories."""
    with tempfile.TemporaryDirectory(prefix="densepose_upstream_") as folder:
        bootstrap.write_annotations(Path(folder), 0)
        return side.call("bootstrap_samples", folder=folder, seed=0)
