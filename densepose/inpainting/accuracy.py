"""How right inpainted annotations are, where the truth of every pixel is known.

A synthetic set has the truth beside it. Compared are pixels that show the person; where nothing was
inpainted, outside of the annotated regions for example, the error is infinite.

Shapes: Q pixels of a person. Units: metres along the template surface.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from densepose.data.inpainted import InpaintedImage
from densepose.errors import InputError
from densepose.files import markdown_table, to_json, write_text
from densepose.progress import track
from densepose.structures.body_parts import PART_NAMES, UV_STEPS
from densepose.surface.charts import ChartAtlas
from densepose.surface.evaluation_surface import EvaluationSurface

from .cells import Guess
from .run import Picture

# Pixels compared of each person at most, drawn at random.
PIXELS_PER_PERSON = 300
# Shorter distances are measured between places, not vertices.
NEAR_M = 0.05
SCHEMA = 1


@dataclass
class Errors:
    """Errors of one method, a piece for each person."""

    part: list[np.ndarray] = field(default_factory=list)  # (Q,) true
    inpainted: list[np.ndarray] = field(default_factory=list)  # (Q,) part
    distance_m: list[np.ndarray] = field(default_factory=list)  # (Q,)

    def scores(self, part: int | None = None) -> dict[str, float]:
        """Of all pixels or those of one part: pixels, part_accuracy, median_m, auc10, auc30, ..."""
        nothing = [np.zeros(0)]
        true, inpainted, distance_m = (
            np.concatenate(nothing + pieces)
            for pieces in (self.part, self.inpainted, self.distance_m)
        )
        chosen = true > 0 if part is None else true == part
        true, inpainted, distance_m = true[chosen], inpainted[chosen], distance_m[chosen]
        if not len(true):
            return {"pixels": 0} | dict.fromkeys(_SCORES, float("nan"))
        scores = (
            np.mean(true == inpainted),
            np.median(distance_m),
            _auc(distance_m, 0.1),
            _auc(distance_m, 0.3),
            np.mean(inpainted > 0),
        )
        return {"pixels": len(true)} | dict(zip(_SCORES, map(float, scores), strict=True))

    def auc10_less(self, other: Errors) -> dict[str, float]:
        """Mean difference of AUC10 over people, and its standard error, which takes two people."""
        difference = np.array(
            [
                _auc(one, 0.1) - _auc(two, 0.1)
                for one, two in zip(self.distance_m, other.distance_m, strict=True)
            ]
        )
        n = len(difference)
        return {
            "people": n,
            "mean": float(difference.mean()) if n else float("nan"),
            "standard_error": float(difference.std(ddof=1) / n**0.5) if n > 1 else float("nan"),
        }


_SCORES = ("part_accuracy", "median_m", "auc10", "auc30", "inpainted")


def _auc(distance_m: np.ndarray, limit_m: float) -> float:
    """Area under the ratio of correct points up to a limit, divided by it."""
    return float(np.clip(1 - distance_m / limit_m, 0, 1).mean())


def compare(
    records: Sequence[Mapping[str, Any]],
    truth_dir: str | Path,
    methods: Mapping[str, Callable[[Mapping[str, Any]], InpaintedImage]],
    surface: EvaluationSurface,
) -> dict[str, Errors]:
    """Errors of several methods on the same pixels.

    Args:
        records: dataset dicts with annotated people.
        truth_dir: folder of ``..._iuv.png`` and ``..._instance.png``, named by image id.
        methods: by name, record -> what was inpainted.
        surface: of the annotations.

    Raises:
        InputError: an image has no truth.
    """
    errors = {name: Errors() for name in methods}
    for record in track(records, total=len(records), label="compare"):
        iuv, instance = read_truth(truth_dir, record["image_id"])
        made = {name: method(record) for name, method in methods.items()}
        first = next(iter(made.values()))
        for person in range(len(first)):
            rng = np.random.default_rng((record["image_id"], person))
            pixels = pixels_of(first, person, iuv, instance, rng)
            if pixels is None:
                continue
            (y, x), (row, column) = pixels
            part, uv = iuv[y, x, 0].astype(np.int64), iuv[y, x, 1:] / UV_STEPS
            for name, image in made.items():
                inpainted = image.part[person][row, column].astype(np.int64)
                inpainted_uv = image.uv[person][:, row, column].T / UV_STEPS
                errors[name].part.append(part)
                errors[name].inpainted.append(inpainted)
                errors[name].distance_m.append(
                    distance_m(surface, part, uv, inpainted, inpainted_uv)
                )
    return errors


def distance_m(
    surface: EvaluationSurface,
    part_a: np.ndarray,
    uv_a: np.ndarray,
    part_b: np.ndarray,
    uv_b: np.ndarray,
) -> np.ndarray:
    """(Q,) distance of two places on the surface, infinite where either is background.

    Distances between vertices, as everywhere; but short ones are straight lines between the exact
    places where the surface has these: vertices are centimetres apart, and what is compared is
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
        InputError: a file is missing.
    """
    found = []
    for kind, flag in (("iuv", cv2.IMREAD_COLOR), ("instance", cv2.IMREAD_GRAYSCALE)):
        path = Path(truth_dir) / f"{image_id:012d}_{kind}.png"
        image = cv2.imread(str(path), flag)
        if image is None:
            raise InputError(
                f"{path}: no truth of this image; name the folder truth/SPLIT of a set that"
                " `densepose make-data` wrote, of the split that is inpainted"
            )
        found.append(image)
    return np.ascontiguousarray(found[0][..., ::-1]), found[1]


def truth_of(truth_dir: str | Path, picture: Picture) -> Guess:
    """What each cell shows of its person, who is the one seen in most cells of its regions."""
    cells = picture.cells
    iuv, instance = read_truth(truth_dir, picture.image_id)
    height, width = instance.shape
    column, row = np.floor(cells.place_px).astype(np.int64).T
    row, column = row.clip(0, height - 1), column.clip(0, width - 1)
    shown = instance[row, column]
    seen = np.zeros((len(picture.people), 256), np.int64)
    np.add.at(seen, (cells.person, shown), 1)
    seen[:, 0] = 0  # background
    own = (shown > 0) & (shown == seen.argmax(axis=1)[cells.person])
    part = np.where(own, iuv[row, column, 0], 0).astype(np.int64)
    return Guess(part, iuv[row, column, 1:] / UV_STEPS, own.astype(np.float64))


def pixels_of(
    image: InpaintedImage,
    person: int,
    iuv: np.ndarray,
    instance: np.ndarray,
    rng: np.random.Generator,
    most: int = PIXELS_PER_PERSON,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Pixels of one person inside its maps, at most so many; None when none is seen.

    The person of the truth is the one who has most of the annotated cells.

    Returns:
        (2, Q) row and column in the image and (2, Q) row and column in the person's maps.
    """
    x0, y0, x1, y1 = image.boxes_xyxy_px[person].astype(np.float64)
    size = np.array(image.part[person].shape)[:, None]
    low, high = np.array([[y0], [x0]]), np.array([[y1], [x1]])
    bounds = np.minimum(np.ceil(high[:, 0]), instance.shape).astype(int)
    start = np.maximum(low[:, 0].astype(int), 0)
    pixel = np.mgrid[start[0] : bounds[0], start[1] : bounds[1]].reshape(2, -1)
    cell = np.floor((pixel + 0.5 - low) / (high - low) * size).astype(np.int64)
    inside = ((cell >= 0) & (cell < size)).all(axis=0)
    pixel, cell = pixel[:, inside], cell[:, inside]
    owner = instance[tuple(pixel)]
    annotated = (image.part[person][tuple(cell)] > 0) & (owner > 0)
    if not annotated.any():
        return None
    number = np.bincount(owner[annotated]).argmax()
    keep = np.flatnonzero((owner == number) & (iuv[tuple(pixel)][:, 0] > 0))
    keep = keep if len(keep) <= most else np.sort(rng.choice(keep, most, replace=False))
    return pixel[:, keep], cell[:, keep]


def to_table(errors: Mapping[str, Errors], judged: str) -> str:
    """A Markdown table of all methods, and the judged one less each other one."""
    columns = ["method", "right part", "median error", "AUC10", "AUC30", "pixels"]
    rows = []
    for name, scores in ((name, e.scores()) for name, e in errors.items()):
        figures = [f"{scores[key]:.4f}" for key in ("part_accuracy", "auc10", "auc30")]
        median = f"{100 * scores['median_m']:.2f} cm"
        rows.append([name, figures[0], median, *figures[1:], f"{scores['pixels']:,}"])
    lines = [markdown_table(columns, rows), ""]
    for name in errors:
        if name == judged:
            continue
        pair = errors[judged].auc10_less(errors[name])
        lines.append(
            f"AUC10 of a person, {judged} less {name}: {pair['mean']:+.4f} +-"
            f" {pair['standard_error']:.4f} (standard error of {pair['people']:,} people)"
        )
    return "\n".join(lines) + "\n"


def write_accuracy(
    path: str | Path, errors: Mapping[str, Errors], judged: str, about: Mapping[str, Any]
) -> None:
    """Scores of all methods, and of each part, as JSON."""
    methods = {
        name: {
            "all": e.scores(),
            "parts": [
                {"part": name} | e.scores(part) for part, name in enumerate(PART_NAMES) if part
            ],
        }
        for name, e in errors.items()
    }
    pairs = {name: errors[judged].auc10_less(e) for name, e in errors.items() if name != judged}
    content = {
        "schema": SCHEMA,
        **about,
        "judged": judged,
        "methods": methods,
        "auc10_of_a_person_less_that_of": pairs,
    }
    write_text(path, to_json(content) + "\n")
