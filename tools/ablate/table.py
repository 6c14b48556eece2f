"""The table of all runs as Markdown and JSON, and the picture of their RCP curves.

Shapes: S seeds of a row, K thresholds of the RCP curve.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from densepose.errors import InputError
from densepose.evaluation.evaluator import RESULT_FILE
from densepose.files import atomic
from densepose.vis.curves import draw_rcp

from .experiments import Experiments, Row, run_folder
from .runs import SCHEMA, is_finished, read_record, write_json

MARKDOWN, JSON, PICTURE = "table.md", "table.json", "rcp.png"
# Name -> heading, digits, place in the JSON of an evaluation.
COLUMNS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "auc10": ("AUC10", 3, ("points", "auc10")),
    "auc30": ("AUC30", 3, ("points", "auc30")),
    "iou": ("IoU", 3, ("points", "foreground_iou")),
    "mean_gps": ("mean GPS", 3, ("points", "mean_gps")),
    "gps_ap": ("GPS AP", 2, ("tables", "densepose_gps", "AP")),
    "gpsm_ap": ("GPSm AP", 2, ("tables", "densepose_gpsm", "AP")),
    "part_accuracy": ("right part", 3, ("points", "part_accuracy")),
    "box_ap": ("box AP", 2, ("tables", "bbox", "AP")),
    "mask_ap": ("mask AP", 2, ("tables", "mask_branch", "AP")),
    "keypoint_ap": ("keypoint AP", 2, ("tables", "keypoints", "AP")),
}
COMPARED = ("auc10", "auc30", "iou", "mean_gps", "gps_ap", "gpsm_ap")


@dataclass(frozen=True)
class SeedResult:
    """The scores of one run."""

    seed: int
    values: Mapping[str, float]  # the keys of COLUMNS; NaN where there is no such score
    rcp_thresholds_m: np.ndarray  # (K,)
    rcp: np.ndarray  # (K,)
    iterations: int
    minutes: float  # wall-clock of training, evaluation and start
    command: str
    machines: tuple[str, ...]  # more than one where a run was resumed elsewhere


@dataclass(frozen=True)
class Summary:
    """Mean over seeds and standard deviation (of a sample; NaN for a single seed)."""

    mean: float
    spread: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Of the values that are numbers."""
        known = [value for value in values if math.isfinite(value)]
        spread = statistics.stdev(known) if len(known) > 1 else float("nan")
        return cls(statistics.fmean(known) if known else float("nan"), spread, len(known))

    def text(self, digits: int, sign: str = "") -> str:
        """``12.34 ± 0.56``; a dash where nothing is known."""
        if math.isnan(self.mean):
            return "–"
        own = f"{self.mean:{sign}.{digits}f}"
        return own if math.isnan(self.spread) else f"{own} ± {self.spread:.{digits}f}"


def write_table(experiments: Experiments, output: Path) -> Path:
    """Write table.md, table.json and rcp.png of all runs that are finished.

    Returns:
        The path of the Markdown file.

    Raises:
        InputError: a file of scores is damaged.
    """
    results = {row.name: row_results(experiments, row, output) for row in experiments.rows}
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / JSON, _content(experiments, results))
    with atomic(output / MARKDOWN) as temporary:
        temporary.write_text(_markdown(experiments, results), encoding="utf-8")
    curves = {
        row.title: np.mean([one.rcp for one in results[row.name]], axis=0)
        for row in experiments.rows
        if results[row.name]
    }
    if curves:
        thresholds = next(one for own in results.values() for one in own).rcp_thresholds_m
        draw_rcp(output / PICTURE, thresholds, curves)
    return output / MARKDOWN


def row_results(experiments: Experiments, row: Row, output: Path) -> list[SeedResult]:
    """The scores of the finished runs of one row."""
    finished = [seed for seed in row.seeds if is_finished(output, row, seed)]
    return [_seed_result(experiments, row, seed, output) for seed in finished]


def _seed_result(experiments: Experiments, row: Row, seed: int, output: Path) -> SeedResult:
    folder = run_folder(output, row, seed)
    test_set = experiments.config(row, seed, output).DATASETS.TEST[0]
    path = folder / "inference" / test_set / RESULT_FILE
    record = read_record(output, row, seed)
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
        done = json.loads((folder / "inference" / "metrics.json").read_text(encoding="utf-8"))
        rcp = scores["rcp"]
        return SeedResult(
            seed=seed,
            values={name: _value(scores, place) for name, (_, _, place) in COLUMNS.items()},
            rcp_thresholds_m=np.array(rcp["threshold_m"], np.float64),
            rcp=np.array(rcp["share"], np.float64),
            iterations=int(done["iteration"] or 0),
            minutes=record["seconds"] / 60,
            command=record["command"],
            machines=tuple(record.get("machines", ("a machine that was not recorded",))),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: the scores of this run cannot be read ({error!r}); delete"
            f" {folder} to run it again"
        ) from error


def _value(scores: Mapping[str, Any], place: Sequence[str]) -> float:
    found: Any = scores
    for name in place:
        found = found.get(name) if isinstance(found, Mapping) else None
    return float("nan") if found is None else float(found)


def summaries(results: Sequence[SeedResult]) -> dict[str, Summary]:
    """Mean and spread of each column."""
    return {name: Summary.of([one.values[name] for one in results]) for name in COLUMNS}


def differences(results: Sequence[SeedResult], over: Sequence[SeedResult]) -> dict[str, Summary]:
    """Mean and spread of what a row has more than another one with the same seed."""
    base = {one.seed: one.values for one in over}
    pairs = [(one.values, base[one.seed]) for one in results if one.seed in base]
    return {name: Summary.of([own[name] - b[name] for own, b in pairs]) for name in COLUMNS}


def _markdown(experiments: Experiments, results: Mapping[str, list[SeedResult]]) -> str:
    own_length = any(row.iterations for row in experiments.rows)
    length = "as many iterations as the table says" if own_length else str(experiments.budget)
    lines = [
        f"# {experiments.title}",
        f"Every run trains for {length}. Means over seeds ± standard deviation;"
        " AP in percent, the others as fractions.",
        _scores_table(experiments, results),
    ]
    if any(row.over for row in experiments.rows):
        lines += ["Differences, run by run of the same seed:", _differences(experiments, results)]
    lines += [f"![ratio of correct points]({PICTURE})", _machines(results)]
    return "\n\n".join(lines) + "\n"


def _scores_table(experiments: Experiments, results: Mapping[str, list[SeedResult]]) -> str:
    every = [one for own in results.values() for one in own]
    shown = [name for name in COLUMNS if any(math.isfinite(one.values[name]) for one in every)]
    cells = []
    for row in experiments.rows:
        own, summary = results[row.name], summaries(results[row.name])
        done = f"{len(own)}" if len(own) == len(row.seeds) else f"{len(own)} of {len(row.seeds)}"
        iterations = f"{np.mean([one.iterations for one in own]):.0f}" if own else "–"
        minutes = f"{np.mean([one.minutes for one in own]):.1f}" if own else "–"
        scores = [summary[name].text(COLUMNS[name][1]) for name in shown]
        cells.append([row.title, *scores, done, iterations, minutes])
    headings = [COLUMNS[name][0] for name in shown]
    return _table(["", *headings, "seeds", "iterations", "minutes"], cells)


def _differences(experiments: Experiments, results: Mapping[str, list[SeedResult]]) -> str:
    titles = {row.name: row.title for row in experiments.rows}
    cells = []
    for row in experiments.rows:
        if row.over:
            more = differences(results[row.name], results[row.over])
            scores = [more[name].text(COLUMNS[name][1], "+") for name in COMPARED]
            count = str(max(more[name].count for name in COMPARED))
            cells.append([f"{row.title} over {titles[row.over]}", *scores, count])
    return _table(["more than", *(COLUMNS[name][0] for name in COMPARED), "seeds"], cells)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    sides = ("left", *("right" for _ in header[1:]))
    return tabulate(rows, header, "pipe", colalign=sides, disable_numparse=True)


def _machines(results: Mapping[str, list[SeedResult]]) -> str:
    """Where the runs ran, a line each; with the names of its runs if there are several."""
    runs: dict[str, list[str]] = {}
    for name, own in results.items():
        for one in own:
            for machine in one.machines:
                runs.setdefault(machine, []).append(f"{name}/seed{one.seed}")
    if len(runs) < 2:
        return "".join(runs)
    return "\n".join(f"- {machine}: {', '.join(names)}" for machine, names in runs.items())


def _content(experiments: Experiments, results: Mapping[str, list[SeedResult]]) -> dict[str, Any]:
    rows = [
        {
            "name": row.name,
            "title": row.title,
            "config": row.config,
            "options": row.options,
            "seeds": row.seeds,
            "runs": [asdict(one) for one in results[row.name]],
            "summary": _plain(summaries(results[row.name])),
            "over": row.over or None,
            "difference": _plain(differences(results[row.name], results.get(row.over, []))),
        }
        for row in experiments.rows
    ]
    return {
        "schema": SCHEMA,
        "title": experiments.title,
        "source": Path(experiments.source).name,
        "budget": str(experiments.budget),
        "options": experiments.options,
        "rows": rows,
    }


def _plain(summary: Mapping[str, Summary]) -> dict[str, Any]:
    return {name: asdict(one) for name, one in summary.items()}
