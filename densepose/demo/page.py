"""The page of the demo: curves, scores and held-out images, from the files that the run wrote."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

import detectron2

import densepose
from densepose.evaluation.predictions import prediction_paths, read_prediction
from densepose.evaluation.result import POINT_TITLES, TITLES
from densepose.files import to_json, write_text
from densepose.vis.draw import draw
from densepose.vis.report import write_report

if TYPE_CHECKING:
    from .stages import DemoSettings

TRAIN, VAL = "demo_train", "demo_val"  # names of the data sets
NUM_IMAGES = 12
MIN_SCORE = 0.5
_CAMERAS = {"photo": "", "night": " of a night camera"}
_COLUMNS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
_HIGHLIGHTS = {
    "mean GPS": ("densepose_points", "mean_gps"),
    "AUC30": ("densepose_points", "auc30"),
    "right part": ("densepose_points", "part_accuracy"),
    "GPSm AP": ("densepose_gpsm", "AP"),
    "GPS AP": ("densepose_gps", "AP"),
    "box AP": ("bbox", "AP"),
}
_DETECTION_COLUMNS = ("AP", "AP50", "AP75", "APm", "APl")


def write_page(settings: DemoSettings, seconds: Mapping[str, float], command: str) -> Path:
    """Write ``index.html`` and ``scores.json`` into the folder of the demo.

    Args:
        settings: of the demo, whose stages have run.
        seconds: of each stage.
        command: that trained the model.

    Returns:
        The page.
    """
    folder = Path(settings.folder)
    scores = json.loads((settings.model / "inference" / "metrics.json").read_text())
    # What is told of: name -> results; the last one is the trained model.
    results = {"after": scores["results"][VAL]}
    if settings.weights:
        before = json.loads((settings.before / "inference" / "metrics.json").read_text())
        results = {"before": before["results"][VAL], **results}
    history = _history(settings.model / "metrics.json")
    start = "the weights of the package" if settings.weights else "ImageNet weights"
    write_report(
        folder / "index.html",
        title=f"DensePose-RCNN, trained from {start} on synthetic people",
        summary=f"{scores['iteration']} iterations; scores on {settings.num_val} rendered images"
        f"{_CAMERAS[settings.camera]}, with people, clothes and places that the training has not"
        " seen.",
        highlights={title: _change(results, *where) for title, where in _HIGHLIGHTS.items()},
        curves=_curves(history),
        tables=_tables(results),
        image_rows=list(_image_rows(settings)),
        facts=_facts(settings, seconds, command, scores, history),
    )
    summary = {
        "settings": {name: str(value) for name, value in asdict(settings).items()},
        "seconds": dict(seconds),
        "iterations": scores["iteration"],
        "results": results["after"],
        **({"before": results["before"]} if "before" in results else {}),
    }
    write_text(folder / "scores.json", to_json(summary) + "\n")
    return folder / "index.html"


def change_text(settings: DemoSettings) -> str:
    """One line: what was reached, and from where."""
    scores = json.loads((Path(settings.folder) / "scores.json").read_text())
    results = {
        name: scores[key]
        for name, key in (("before", "before"), ("after", "results"))
        if key in scores
    }
    return ", ".join(f"{title} {_change(results, *at)}" for title, at in _HIGHLIGHTS.items())


def _change(results: Mapping[str, Mapping[str, Any]], task: str, metric: str) -> str:
    """The figure, or the one before and the one after."""
    form = _share if task == "densepose_points" else _percent
    return " → ".join(form(scores[task].get(metric)) for scores in results.values())


def _history(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def _curves(history: list[dict[str, float]]) -> dict[str, dict[str, tuple[list, list]]]:
    """Losses and the learning rate over iterations, as they were logged."""
    names = sorted({name for row in history for name in row})
    losses = [name for name in names if "loss" in name and name != "total_loss"]
    groups = {
        "Loss, sum of all": ["total_loss"],
        "DensePose losses": [name for name in losses if "densepose" in name],
        "Detection losses": [name for name in losses if "densepose" not in name],
        "Learning rate": ["lr"],
    }

    def series(name: str) -> tuple[list, list]:
        rows = [row for row in history if name in row]
        return [row["iteration"] for row in rows], [row[name] for row in rows]

    return {
        title: {name: series(name) for name in found} for title, found in groups.items() if found
    }


def _tables(
    results: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> list[tuple[str, list, list, str]]:
    after = results["after"]

    def rows(tables: Mapping[str, str], columns: tuple[str, ...]) -> list[list[str]]:
        return [
            [_with(title, when, results), *(_percent(scores[name].get(c)) for c in columns)]
            for name, title in tables.items()
            if name in after
            for when, scores in results.items()
        ]

    points = [scores.get("densepose_points", {}) for scores in results.values()]
    dense = {name: title for name, title in TITLES.items() if name.startswith("densepose")}
    coco = {name: title for name, title in TITLES.items() if name not in dense}
    return [
        (
            "People as wholes: DensePose",
            ["percent", *_COLUMNS],
            rows(dense, _COLUMNS),
            "COCO's average precision and recall over similarities 0.5 to 0.95. The rows are"
            " different measures and must not be compared with one another.",
        ),
        (
            "Boxes and masks",
            ["percent", *_DETECTION_COLUMNS],
            rows(coco, _DETECTION_COLUMNS),
            "Masks are the pixels where any body part was predicted.",
        ),
        (
            "Point by point",
            ["over all annotated points or people", *(results if len(points) > 1 else ["share"])],
            [
                [title, *(_share(p.get(name)) for p in points)]
                for name, title in POINT_TITLES.items()
            ],
            "These move long before average precision does.",
        ),
    ]


def _with(title: str, when: str, results: Mapping[str, Any]) -> str:
    return f"{title}: {when}" if len(results) > 1 else title


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _image_rows(settings: DemoSettings) -> Iterator[tuple[str, list[tuple[str, np.ndarray]]]]:
    """Held-out images in equal steps through the split: not chosen by how well they came out."""
    paths = prediction_paths(_predictions(settings.model))
    chosen = np.unique(np.linspace(0, len(paths) - 1, NUM_IMAGES).round().astype(int))
    for path in (paths[index] for index in chosen):
        prediction = read_prediction(path)
        name = f"{prediction.image_id:012d}"
        image = np.asarray(
            Image.open(settings.data / "images" / "val" / f"{name}.jpg").convert("RGB")
        )
        truth = np.asarray(Image.open(settings.data / "truth" / "val" / f"{name}_iuv.png"))
        row = [("image", image), ("truth", draw(image, truth))]
        if settings.weights:
            shown = read_prediction(_predictions(settings.before) / path.name)
            row.append(("before", draw(image, shown, boxes=True, min_score=MIN_SCORE)))
        row += [
            ("prediction", draw(image, prediction, boxes=True, min_score=MIN_SCORE)),
            ("U, V: truth", draw(image, truth, style="charts")),
            (
                "U, V: prediction",
                draw(image, prediction, style="charts", min_score=MIN_SCORE),
            ),
        ]
        yield f"held-out image {prediction.image_id}", row


def _predictions(folder: Path) -> Path:
    return folder / "inference" / VAL / "predictions"


def _facts(
    settings: DemoSettings,
    seconds: Mapping[str, float],
    command: str,
    scores: Mapping[str, Any],
    history: list[dict[str, float]],
) -> dict[str, str]:
    manifest = json.loads((settings.data / "manifest.json").read_text())
    steps = [row["time"] for row in history if "time" in row]  # the first step's is not written
    pace = f", {np.median(steps):.2f} s each (median)" if steps else ""
    return {
        "data": f"synthetic, {settings.num_train} images to train on, {settings.num_val} held out,"
        f" {settings.image_size} px, camera {settings.camera}, seed {settings.seed}",
        "people and points": str(manifest.get("counts", "")),
        "training": f"{scores['iteration']} iterations{pace}",
        "time": ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items()),
        "versions": f"densepose {densepose.__version__}, torch {torch.__version__}, detectron2"
        f" {detectron2.__version__}, Python {platform.python_version()}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, "
        + ("CUDA" if torch.cuda.is_available() else "no GPU"),
        "command": command,
    }
