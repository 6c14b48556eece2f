"""The outcome of an evaluation, with the name and the kappa of every number."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from densepose.files import markdown_table, to_json, write_text

from .metrics import GLOBAL_KAPPA_M, KINDS

SCHEMA = 1
# What each table measures. Numbers of different rows must not be compared with one another.
TITLES = {
    "densepose_gps": "GPS, kappa per part (challenge 2018)",
    "densepose_gpsm": "GPSm = sqrt(GPS x mask IoU), kappa per part (challenge 2019)",
    "densepose_iou": "mask IoU of the DensePose foreground",
    "densepose_gps_paper": f"GPS, kappa {GLOBAL_KAPPA_M} m (paper, 2018)",
    "densepose_gpsm_paper": f"GPSm = sqrt(GPS x mask IoU), kappa {GLOBAL_KAPPA_M} m",
    "bbox": "box IoU (COCO)",
    "segm": "mask IoU with COCO segmentations (COCO)",
    "mask_branch": "mask IoU of the mask branch (COCO)",
    "keypoints": "OKS of the keypoint branch (COCO)",
}
POINT_TITLES = {
    "mean_gps": "mean GPS of a person, kappa per part",
    "mean_gps_paper": f"mean GPS of a person, kappa {GLOBAL_KAPPA_M} m",
    "auc10": "AUC10 of the ratio of correct points",
    "auc30": "AUC30 of the ratio of correct points",
    "part_accuracy": "points on the right part",
    "points_on_foreground": "points where any part was predicted",
    "points_of_found_people": "points of people with a detection (box IoU >= 0.5)",
    "foreground_iou": "mask IoU of a person",
}
_DETECTION_TABLES = ("bbox", "segm", "mask_branch")


@dataclass(frozen=True)
class EvaluationResult:
    """Tables in percent, point scores as fractions in [0, 1]; NaN where nothing was to be scored.

    ``tables`` maps the keys of TITLES to metric -> percent; the paper's kappa and the detection
    tables are there if asked for. ``instances`` holds one entry a person with DensePose points:
    image_id, annotation_id, num_points, score (of the detection matched by box, NaN without),
    box_iou, mask_iou, gps, gpsm, gps_paper, part_accuracy. ``images`` holds one entry an image with
    such people: image_id, people, found, and the means of gps, gpsm and mask_iou over them.
    """

    surface: str
    quirks: str
    oracle: str
    protocol: str  # how people and detections belong together in all but AP and AR
    thresholds: np.ndarray  # (T,) of AP and AR
    max_detections: int  # of an image, in the DensePose tables
    counts: Mapping[str, int]  # images, people, people_with_points, points, detections
    num_predicted: int  # images that there was a prediction of; the others count as empty
    skipped: Mapping[str, int]  # reason -> entries of the predictions that did not count
    tables: Mapping[str, Mapping[str, float]]
    points: Mapping[str, float]  # the keys of POINT_TITLES, and of metrics.KINDS
    parts: tuple[Mapping[str, float], ...]  # one a part: part, name, points, part_accuracy, ...
    instances: Mapping[str, np.ndarray]  # columns of equal length
    rcp_thresholds_m: np.ndarray  # (K,)
    rcp: np.ndarray  # (K,) fraction of points with an error below each threshold
    warnings: tuple[str, ...] = ()  # why scores may be empty or low

    @property
    def metrics(self) -> dict[str, float]:
        """All numbers in one dict: "densepose_gps/AP", ..., "box/AP", "segm/AP", "mean_gps", ..."""
        flat = {
            f"{'box' if table == 'bbox' else table}/{name}": value
            for table, row in self.tables.items()
            for name, value in row.items()
        }
        return flat | dict(self.points)

    @property
    def coverage(self) -> str:
        """Which of the images and predictions counted, in a sentence."""
        skipped = [f"{count:,} entries skipped: {why}" for why, count in self.skipped.items()]
        predicted = f"predictions of {self.num_predicted:,} of {self.counts['images']:,} images"
        return "; ".join([predicted, *skipped])

    @property
    def images(self) -> dict[str, np.ndarray]:
        """Columns of equal length, one entry an image; see above."""
        image_id, image = np.unique(self.instances["image_id"], return_inverse=True)
        people = np.bincount(image, minlength=len(image_id))
        found = np.bincount(image, ~np.isnan(self.instances["score"]), len(image_id))
        columns = {"image_id": image_id, "people": people, "found": found.astype(np.int64)}
        return columns | {
            name: np.bincount(image, self.instances[name], len(image_id)) / people
            for name in ("gps", "gpsm", "mask_iou")
        }

    def worst(self, count: int) -> dict[str, np.ndarray]:
        """The entries of ``instances`` with the ``count`` lowest GPS, lowest first."""
        order = np.argsort(self.instances["gps"], kind="stable")[:count]
        return {name: column[order] for name, column in self.instances.items()}

    def to_json(self) -> str:
        """Everything as JSON; NaN becomes null."""
        content = {
            "schema": SCHEMA,
            "surface": self.surface,
            "quirks": self.quirks,
            "oracle": self.oracle,
            "protocol": self.protocol,
            "thresholds": self.thresholds,
            "max_detections": self.max_detections,
            "counts": self.counts,
            "coverage": self.coverage,
            "warnings": self.warnings,
            "titles": TITLES | POINT_TITLES | KINDS,
            "tables": self.tables,
            "points": self.points,
            "parts": self.parts,
            "rcp": {"threshold_m": self.rcp_thresholds_m, "share": self.rcp},
            "images": self.images,
            "instances": self.instances,
        }
        return to_json(content)

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write ``to_json`` to a file, whole or not at all."""
        write_text(path, self.to_json())

    def to_table(self) -> str:
        """The tables as Markdown, readable as plain text; every row names its measure and kappa."""
        counts = ", ".join(f"{number:,} {name}" for name, number in self.counts.items())
        notes = [self.coverage, *(f"warning: {warning}" for warning in self.warnings)]
        oracle = "" if self.oracle == "none" else f"; oracle: {self.oracle}"
        low, high = self.thresholds[0], self.thresholds[-1]
        lines = [
            f"{counts.replace('_', ' ')}; surface {self.surface}; {self.quirks} rules{oracle};"
            f" AP and AR of DensePose over {low:.2f}:0.05:{high:.2f}, best {self.max_detections}"
            " detections of an image",
            *notes,
        ]
        keypoints = {k: row for k, row in self.tables.items() if k == "keypoints"}
        coco = {k: row for k, row in self.tables.items() if k in _DETECTION_TABLES}
        dense = {k: row for k, row in self.tables.items() if k not in coco | keypoints}
        for group in (dense, coco, keypoints):
            if group:
                header = ["percent", *next(iter(group.values()))]
                lines += [
                    "",
                    *_table(header, [[TITLES[k], *row.values()] for k, row in group.items()]),
                ]
        rows = [[title, self.points[name]] for name, title in POINT_TITLES.items()]
        given = "" if self.protocol == "multi" else ", boxes given"
        title = f"over all annotated points or people{given}"
        lines += ["", *_table([title, "fraction"], rows, digits=3)]
        rows = [[title, self.points[name]] for name, title in KINDS.items()]
        lines += ["", *_table(["where the annotated points went", "fraction"], rows, digits=3)]
        if self.parts:
            header = ["part", *(name for name in self.parts[0] if name not in ("part", "name"))]
            body = [
                [f"{row['part']} {row['name']}", *(row[name] for name in header[1:])]
                for row in self.parts
            ]
            lines += ["", *_table([name.replace("_", " ") for name in header], body, digits=3)]
        return "\n".join(lines) + "\n"


def _table(header: list[str], rows: list[list[Any]], digits: int = 2) -> list[str]:
    """Lines of a Markdown table."""
    cells = [[_cell(value, digits) for value in row] for row in rows]
    return markdown_table(header, cells).splitlines()


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
