"""How right inpainted annotations are, where the truth of every pixel is known.

A synthetic set has the truth beside it (synthetic/dataset.py). Compared are pixels that show
the person; where nothing was inpainted, outside of the annotated regions say, the error is
infinite.

Shapes: Q pixels of a person. Units: metres along the template surface.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from densepose.data.inpainted import InpaintedImage
from densepose.evaluation.metrics import PointTotals
from densepose.structures.body_parts import PART_NAMES, UV_STEPS
from densepose.surface.charts import ChartAtlas
from densepose.surface.evaluation_surface import EvaluationSurface

# Pixels compared of each person at most, drawn at random.
PIXELS_PER_PERSON = 300
# Errors are counted in steps, so that the median needs no list of them.
_STEP_M = 0.0005
_STEPS = 8_000
# Shorter distances are measured between places, not vertices.
NEAR_M = 0.05
SCHEMA = 1


@dataclass(frozen=True)
class Pixels:
    """Q pixels of one person: the truth, and where they lie in the inpainted maps."""

    part: np.ndarray  # (Q,) int64 1..24
    uv: np.ndarray  # (Q, 2) float64
    row: np.ndarray  # (Q,) int64 of the person's maps
    column: np.ndarray  # (Q,) int64


class ErrorTotals:
    """Running sums over pixels; their size does not depend on the data set."""

    def __init__(self) -> None:
        self._points = PointTotals()
        self._steps = np.zeros(_STEPS + 1, np.int64)

    def add(self, part: np.ndarray, predicted: np.ndarray, distance_m: np.ndarray) -> None:
        """Count pixels: (Q,) true and inpainted parts, and errors."""
        everywhere = np.ones(len(part), bool)
        self._points.add(distance_m, np.zeros(len(part)), part, predicted, everywhere)
        step = np.minimum(distance_m / _STEP_M, _STEPS).astype(np.int64)
        self._steps += np.bincount(step, minlength=_STEPS + 1)

    def scores(self) -> dict[str, float]:
        """pixels, part_accuracy, median_m (infinite from 4 m on), auc10, auc30, inpainted."""
        means = self._points.means()
        cumulated = self._steps.cumsum()
        median = float("nan")
        if cumulated[-1]:
            at = int(np.searchsorted(cumulated, (cumulated[-1] + 1) // 2))
            median = (at + 0.5) * _STEP_M if at < _STEPS else float("inf")
        return {
            "pixels": means["points"],
            "part_accuracy": means["part_accuracy"],
            "median_m": median,
            "auc10": means["auc10"],
            "auc30": means["auc30"],
            "inpainted": means["points_on_foreground"],
        }

    def parts(self) -> list[dict[str, float]]:
        """The same of each part, without the median."""
        names = ("points", "part_accuracy", "auc10", "auc30")
        return [
            {"part": PART_NAMES[int(row["part"])]} | {n: row[n] for n in names}
            for row in self._points.by_part()
        ]


class PairedDifference:
    """Mean difference of a score between two methods over people, and its standard error."""

    def __init__(self) -> None:
        self._people, self._sum, self._squares = 0, 0.0, 0.0

    def add(self, difference: float) -> None:
        """Count one person."""
        self._people += 1
        self._sum += difference
        self._squares += difference**2

    def scores(self) -> dict[str, float]:
        """people, mean, and the mean's standard_error, which takes two people."""
        n = self._people
        mean = self._sum / n if n else float("nan")
        variance = max(self._squares / n - mean**2, 0.0) * n / (n - 1) if n > 1 else float("nan")
        error = (variance / n) ** 0.5 if n > 1 else float("nan")
        return {"people": n, "mean": mean, "standard_error": error}


def compare(
    records: Sequence[Mapping[str, Any]],
    truth_dir: str | Path,
    methods: Mapping[str, Callable[[Mapping[str, Any]], InpaintedImage]],
    surface: EvaluationSurface,
    *,
    pixels_per_person: int = PIXELS_PER_PERSON,
    judged: str | None = None,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, total: items,
) -> tuple[dict[str, ErrorTotals], dict[str, PairedDifference]]:
    """Errors of several methods on the same pixels.

    Args:
        records: dataset dicts with annotated people.
        truth_dir: folder of ``..._iuv.png`` and ``..._instance.png``, named by image id.
        methods: by name, record -> what was inpainted.
        surface: of the annotations.
        pixels_per_person: at most.
        judged: the method that is compared with each other one, person by person.
        track: passes (items, their number) on and shows how many are done.

    Raises:
        FileNotFoundError: an image has no truth.
    """
    totals = {name: ErrorTotals() for name in methods}
    pairs = {name: PairedDifference() for name in methods if judged and name != judged}
    for record in track(records, len(records)):
        iuv, instance = read_truth(truth_dir, record["image_id"])
        made = {name: method(record) for name, method in methods.items()}
        for person in range(len(next(iter(made.values())))):
            any_image = next(iter(made.values()))
            rng = np.random.default_rng((record["image_id"], person))
            pixels = pixels_of(any_image, person, iuv, instance, rng, pixels_per_person)
            if pixels is None:
                continue
            auc10 = {}
            for name, image in made.items():
                part = image.part[person][pixels.row, pixels.column].astype(np.int64)
                uv = image.uv[person][:, pixels.row, pixels.column].T / UV_STEPS
                distance = distance_m(surface, pixels.part, pixels.uv, part, uv)
                totals[name].add(pixels.part, part, distance)
                auc10[name] = float(np.clip(1 - distance / 0.1, 0, 1).mean())
            for name, pair in pairs.items():
                pair.add(auc10[judged] - auc10[name])
    return totals, pairs


def distance_m(
    surface: EvaluationSurface,
    part_a: np.ndarray,
    uv_a: np.ndarray,
    part_b: np.ndarray,
    uv_b: np.ndarray,
) -> np.ndarray:
    """(Q,) distance of two places on the surface, infinite where either is background.

    Distances between vertices, as everywhere; but short ones are straight lines between the exact
    places where the surface has these: vertices are centimetres apart, and what is compared here is
    often nearer.
    """
    a, b = surface.nearest_vertex(part_a, uv_a), surface.nearest_vertex(part_b, uv_b)
    distance = np.array(surface.distance_m(a, b), np.float64)
    if isinstance(surface.charts, ChartAtlas):
        near = np.flatnonzero(distance < NEAR_M)
        points = [
            surface.charts.to_points(part[near], uv[near])
            for part, uv in ((part_a, uv_a), (part_b, uv_b))
        ]
        distance[near] = np.linalg.norm(points[0] - points[1], axis=1)
    return distance


def read_truth(truth_dir: str | Path, image_id: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 part, U, V and (H, W) uint8 person of every pixel.

    Raises:
        FileNotFoundError: a file is missing.
    """
    found = []
    for kind, flag in (("iuv", cv2.IMREAD_COLOR), ("instance", cv2.IMREAD_GRAYSCALE)):
        path = Path(truth_dir) / f"{image_id:012d}_{kind}.png"
        image = cv2.imread(str(path), flag)
        if image is None:
            raise FileNotFoundError(
                f"{path}: no truth of this image; name the folder truth/SPLIT of a set that"
                " `densepose make-data` wrote, of the split that is inpainted"
            )
        found.append(image)
    return np.ascontiguousarray(found[0][..., ::-1]), found[1]


def pixels_of(
    image: InpaintedImage,
    person: int,
    iuv: np.ndarray,
    instance: np.ndarray,
    rng: np.random.Generator,
    most: int,
) -> Pixels | None:
    """Pixels of one person inside its maps, at most so many; None when none is seen.

    The person of the truth is the one who has most of the annotated cells.
    """
    x0, y0, x1, y1 = image.boxes_xyxy_px[person].astype(np.float64)
    rows, columns = image.part[person].shape
    height, width = instance.shape
    y, x = np.mgrid[
        max(int(y0), 0) : min(int(np.ceil(y1)), height),
        max(int(x0), 0) : min(int(np.ceil(x1)), width),
    ].reshape(2, -1)
    row = np.floor((y + 0.5 - y0) / (y1 - y0) * rows).astype(np.int64)
    column = np.floor((x + 0.5 - x0) / (x1 - x0) * columns).astype(np.int64)
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    y, x, row, column = y[inside], x[inside], row[inside], column[inside]
    own = instance[y, x]
    annotated = (image.part[person][row, column] > 0) & (own > 0)
    if not annotated.any():
        return None
    number = np.bincount(own[annotated]).argmax()
    keep = np.flatnonzero((own == number) & (iuv[y, x, 0] > 0))
    keep = keep if len(keep) <= most else np.sort(rng.choice(keep, most, replace=False))
    y, x = y[keep], x[keep]
    return Pixels(
        part=iuv[y, x, 0].astype(np.int64),
        uv=iuv[y, x, 1:] / UV_STEPS,
        row=row[keep],
        column=column[keep],
    )


def to_table(
    totals: Mapping[str, ErrorTotals],
    judged: str | None = None,
    pairs: Mapping[str, PairedDifference] = MappingProxyType({}),
) -> str:
    """A Markdown table of all methods, and what ``compare`` says of the judged one."""
    lines = [
        "| method | right part | median error | AUC10 | AUC30 | pixels |",
        "| ------ | ---------: | -----------: | ----: | ----: | -----: |",
    ]
    for name, total in totals.items():
        s = total.scores()
        lines.append(
            f"| {name} | {s['part_accuracy']:.4f} | {100 * s['median_m']:.2f} cm |"
            f" {s['auc10']:.4f} | {s['auc30']:.4f} | {s['pixels']:,} |"
        )
    if pairs:
        lines.append("")
    for name, pair in pairs.items():
        s = pair.scores()
        lines.append(
            f"AUC10 of a person, {judged} less {name}: {s['mean']:+.4f} +-"
            f" {s['standard_error']:.4f} (standard error of {s['people']:,} people)"
        )
    return "\n".join(lines) + "\n"


def write_accuracy(
    path: str | Path,
    totals: Mapping[str, ErrorTotals],
    pairs: Mapping[str, PairedDifference],
    about: Mapping[str, Any],
) -> None:
    """Scores of all methods, and of each part, as JSON; the file is there whole or not at all."""
    content = {
        "schema": SCHEMA,
        **about,
        "methods": {n: {"all": t.scores(), "parts": t.parts()} for n, t in totals.items()},
        "auc10_of_a_person_less_that_of": {name: pair.scores() for name, pair in pairs.items()},
    }
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text = json.dumps(_finite(content), indent=1, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
