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
from densepose.evaluation.prediction_file import prediction_paths, read_prediction
from densepose.evaluation.result import POINT_TITLES, TITLES
from densepose.vis.draw import draw_prediction, draw_truth
from densepose.vis.report import write_report

if TYPE_CHECKING:
    from .stages import DemoSettings

TRAIN, VAL = "demo_train", "demo_val"  # names of the data sets
NUM_IMAGES = 12
MIN_SCORE = 0.5
_COLUMNS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
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
    results = scores["results"][VAL]
    history = _history(settings.model / "metrics.json")
    points = results["densepose_points"]
    write_report(
        folder / "index.html",
        title="DensePose-RCNN, trained from ImageNet weights on synthetic people",
        summary=f"{scores['iteration']} iterations; scores on {settings.num_val} rendered images"
        " with people, clothes and places that the training has not seen.",
        highlights={
            "mean GPS": _share(points["mean_gps"]),
            "AUC30": _share(points["auc30"]),
            "right part": _share(points["part_accuracy"]),
            "GPSm AP": _percent(results["densepose_gpsm"]["AP"]),
            "box AP": _percent(results["bbox"]["AP"]),
        },
        curves=_curves(history),
        tables=_tables(results),
        image_rows=list(_image_rows(settings)),
        facts=_facts(settings, seconds, command, scores, history),
    )
    summary = {
        "settings": {name: str(value) for name, value in asdict(settings).items()},
        "seconds": dict(seconds),
        "iterations": scores["iteration"],
        "results": results,
    }
    temporary = folder / f"scores.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(summary, indent=1) + "\n")
    os.replace(temporary, folder / "scores.json")
    return folder / "index.html"


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


def _tables(results: Mapping[str, Mapping[str, float]]) -> list[tuple[str, list, list, str]]:
    def rows(tables: Mapping[str, str], columns: tuple[str, ...]) -> list[list[str]]:
        return [
            [title, *(_percent(results[name].get(column)) for column in columns)]
            for name, title in tables.items()
            if name in results
        ]

    points = results.get("densepose_points", {})
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
            ["over all annotated points or people", "share"],
            [[title, _share(points.get(name))] for name, title in POINT_TITLES.items()],
            "These move long before average precision does.",
        ),
    ]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _image_rows(settings: DemoSettings) -> Iterator[tuple[str, list[tuple[str, np.ndarray]]]]:
    """Held-out images in equal steps through the split: not chosen by how well they came out."""
    paths = prediction_paths(settings.model / "inference" / VAL / "predictions")
    chosen = np.unique(np.linspace(0, len(paths) - 1, NUM_IMAGES).round().astype(int))
    for path in (paths[index] for index in chosen):
        prediction = read_prediction(path)
        name = f"{prediction.image_id:012d}"
        image = np.asarray(
            Image.open(settings.data / "images" / "val" / f"{name}.jpg").convert("RGB")
        )
        truth = np.asarray(Image.open(settings.data / "truth" / "val" / f"{name}_iuv.png"))
        yield (
            f"held-out image {prediction.image_id}",
            [
                ("image", image),
                ("truth", draw_truth(image, truth)),
                ("prediction", draw_prediction(image, prediction, min_score=MIN_SCORE)),
                ("U, V: truth", draw_truth(image, truth, mode="charts")),
                (
                    "U, V: prediction",
                    draw_prediction(
                        image, prediction, mode="charts", boxes=False, min_score=MIN_SCORE
                    ),
                ),
            ],
        )


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
        f" {settings.image_size} px, seed {settings.seed}",
        "people and points": str(manifest.get("counts", "")),
        "training": f"{scores['iteration']} iterations{pace}",
        "time": ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items()),
        "versions": f"densepose {densepose.__version__}, torch {torch.__version__}, detectron2"
        f" {detectron2.__version__}, Python {platform.python_version()}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, "
        + ("CUDA" if torch.cuda.is_available() else "no GPU"),
        "command": command,
    }
