"""The page of a training or an evaluation, from the files that it wrote: ``densepose report``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.data.detection_utils import read_image

import densepose
from densepose.config import load_config
from densepose.data.coco import require_registered
from densepose.data.registration import register_builtin, register_from_config
from densepose.errors import InputError
from densepose.evaluation.predictions import prediction_paths, read_prediction
from densepose.evaluation.result import POINT_TITLES, TITLES
from densepose.structures.records import read_json
from densepose.vis.draw import draw, draw_annotations
from densepose.vis.report import ImageRow, Table, write_report

PAGE = "report.html"
CURVES, SCORES, CONFIG = "metrics.json", "inference/metrics.json", "config.yaml"
_NUM_IMAGES, _MIN_SCORE = 12, 0.5
_HIGHLIGHTS = {
    "mean GPS": ("densepose_points", "mean_gps"),
    "right part": ("densepose_points", "part_accuracy"),
    "GPSm AP": ("densepose_gpsm", "AP"),
    "GPS AP": ("densepose_gps", "AP"),
    "box AP": ("bbox", "AP"),
}
_COLUMNS = ("AP", "AP50", "AP75", "APm", "APl", "AR")


def write_run_page(folder: str | Path, *before: str | Path) -> Path:
    """Write ``report.html`` into the OUTPUT_DIR of a training or an evaluation.

    Curves are there after a training, tables after an evaluation, pictures where the predictions
    were saved (``densepose evaluate --save-predictions``).

    Args:
        folder: OUTPUT_DIR.
        before: of earlier runs, whose scores and pictures stand to the left of those of ``folder``.

    Raises:
        InputError: a folder holds neither curves nor scores.
    """
    several = [Path(each) for each in (*before, folder)]
    # Their last names, or all of the paths where those are the same.
    short = len({each.name for each in several}) == len(several)
    folders = {each.name if short else str(each): each for each in several}
    for each in folders.values():
        if not any((each / name).is_file() for name in (CURVES, SCORES)):
            raise InputError(
                f"{each}: is not the OUTPUT_DIR of a run: it has neither {CURVES} nor {SCORES}"
            )
    shown, folder = list(folders.items())[-1]
    history = _history(folder / CURVES)
    scores = {name: _json(each / SCORES) for name, each in folders.items()}
    results = {name: each.get("results", {}) for name, each in scores.items()}
    sets = list(results[shown])
    return write_report(
        folder / PAGE,
        title=f"DensePose: {folder}",
        summary=", ".join(sets),
        highlights={
            title: _change(results, sets[0], *place) for title, place in _HIGHLIGHTS.items()
        }
        if sets
        else {},
        curves=_curves(history),
        tables=[table for name in sets for table in _tables(results, name)],
        image_rows=[row for name in sets for row in _image_rows(folders, name)],
        facts=_facts(folder, scores[shown], history),
    )


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _history(path: Path) -> list[dict[str, float]]:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        # A line that an interruption cut short counts as not written.
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def _curves(history: list[dict[str, float]]) -> dict[str, dict[str, tuple[list, list]]]:
    """Losses, scores and the learning rate over iterations, as they were logged."""
    names = sorted({name for row in history for name in row})
    losses = [name for name in names if "loss" in name and name != "total_loss"]
    groups = {
        "Loss, sum of all": ["total_loss"],
        "DensePose losses": [name for name in losses if "densepose" in name],
        "Detection losses": [name for name in losses if "densepose" not in name],
        "Scores, percent": [name for name in names if name.endswith("/AP")],
        "Learning rate": ["lr"],
    }

    def series(name: str) -> tuple[list, list]:
        rows = [row for row in history if name in row]
        return [row["iteration"] for row in rows], [row[name] for row in rows]

    known = {title: [n for n in group if n in names] for title, group in groups.items()}
    return {title: {n: series(n) for n in group} for title, group in known.items() if group}


def _text(value: float | None, task: str) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.3f}" if task == "densepose_points" else f"{value:.1f}"


def _change(results: Mapping[str, Any], data_set: str, task: str, metric: str) -> str:
    """The figure of each run, the last one is that of the page."""
    values = (run.get(data_set, {}).get(task, {}).get(metric) for run in results.values())
    return " → ".join(_text(value, task) for value in values)


def _tables(results: Mapping[str, Any], data_set: str) -> Iterator[Table]:
    runs = {name: run[data_set] for name, run in results.items() if data_set in run}
    several = len(runs) > 1
    tasks = [task for task in TITLES if any(task in run for run in runs.values())]
    rows = [
        [
            f"{TITLES[task]}: {name}" if several else TITLES[task],
            *(_text(run.get(task, {}).get(column), task) for column in _COLUMNS),
        ]
        for task in tasks
        for name, run in runs.items()
    ]
    if rows:
        note = "The rows are different measures and must not be compared with one another."
        yield f"{data_set}: people", ["percent", *_COLUMNS], rows, note
    points = {name: run.get("densepose_points", {}) for name, run in runs.items()}
    if any(points.values()):
        header = ["over all annotated points or people", *(points if several else ["fraction"])]
        rows = [
            [title, *(_text(run.get(name), "densepose_points") for run in points.values())]
            for name, title in POINT_TITLES.items()
        ]
        yield f"{data_set}: points", header, rows, ""


def _image_rows(folders: Mapping[str, Path], data_set: str) -> Iterator[ImageRow]:
    """Images in equal steps through the set: not chosen by how well they came out."""
    saved = {
        name: folder / "inference" / data_set / "predictions" for name, folder in folders.items()
    }
    saved = {name: folder for name, folder in saved.items() if folder.is_dir()}
    if not saved:
        return
    records = _records(list(folders.values())[-1], data_set)
    paths = prediction_paths(list(saved.values())[-1])
    steps = np.linspace(0, len(paths) - 1, _NUM_IMAGES).round().astype(int)
    for path in [paths[index] for index in np.unique(steps)] if paths else []:
        record = records[read_prediction(path).image_id]
        photo = read_image(record["file_name"], "RGB")
        annotated = draw_annotations(photo, record.get("annotations", ()))
        row = [("image", photo), ("annotated", annotated)]
        for name, folder in saved.items():
            if (folder / path.name).is_file():
                found = read_prediction(folder / path.name)
                drawn = draw(photo, found, boxes=True, min_score=_MIN_SCORE)
                row.append((name if len(saved) > 1 else "predicted", drawn))
        yield f"{data_set}, image {record['image_id']}", row


def _config(folder: Path) -> CfgNode | None:
    """That of the evaluation, else that of the training."""
    found = [path for path in (folder / "inference" / CONFIG, folder / CONFIG) if path.is_file()]
    return load_config(str(found[0])) if found else None


def _records(folder: Path, data_set: str) -> dict[int, dict[str, Any]]:
    """Image id -> record of a data set of the run."""
    config = _config(folder)
    if config is not None:
        register_builtin()
        register_from_config(config)
    require_registered([data_set])
    return {record["image_id"]: record for record in DatasetCatalog.get(data_set)}


def _facts(
    folder: Path, scores: Mapping[str, Any], history: list[dict[str, Any]]
) -> dict[str, str]:
    config = _config(folder)
    steps = [row["time"] for row in history if "time" in row]  # the first step's is not written
    facts = {
        "weights": scores.get("weights", ""),
        "iterations": str(scores.get("iteration") or (history[-1]["iteration"] if history else "")),
        "seconds an iteration": f"{np.median(steps):.2f} (median)" if steps else "",
        "training sets": ", ".join(config.DATASETS.TRAIN) if config is not None else "",
        "config": str(folder / CONFIG) if config is not None else "",
        "version": f"densepose {densepose.__version__}",
    }
    return {label: text for label, text in facts.items() if text}
