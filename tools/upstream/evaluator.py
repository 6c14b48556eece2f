"""Both evaluators on generated annotations and predictions; imports neither package.

Stand-ins of the licensed SMPL files are generated in the same form.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from densepose.files import markdown_table

from . import process

KINDS = ("easy", "noisy", "adversarial")


class Table(NamedTuple):
    """One table of numbers."""

    mode: str  # of detectron2: GPS, GPSM or IOU
    data_mode: str = "IUV_DT"  # of detectron2; its other two modes stop with an error
    minimum: float = 0.5  # smallest threshold
    oracle: str = "none"  # what data_mode is called here


TABLES = {
    "GPS": Table("GPS"),
    "GPSm": Table("GPSM"),
    "IoU": Table("IOU"),
    "GPS, I U V from the truth": Table("GPS", "IUV_GT", oracle="iuv"),
    "GPS, I from the truth": Table("GPS", "I_GT_UV_DT", oracle="part"),
    "GPSm from 0.2": Table("GPSM", minimum=0.2),
    "IoU from 0.3": Table("IOU", minimum=0.3),
}


def metric_names(minimum: float) -> list[str]:
    """Names of a table's numbers in the order in which detectron2 has them."""
    low = [f"AP{percent}" for percent in (20, 30, 40) if percent >= round(100 * minimum)]
    return [
        *("AP", *low, "AP50", "AP75", "APm", "APl"),
        *("AR", "AR50", "AR75", "ARm", "ARl"),
    ]


def write_set(folder: Path, truth: dict[str, Any], predictions: Sequence[Any]) -> None:
    """Write a generated set as the checkout's side reads it: truth.json and predictions.npz.

    Args:
        folder: is made.
        truth: content of an annotation file.
        predictions: an ``ImagePrediction`` for each image; scores in float32, labels and UV in
            uint8, as both evaluators get them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "truth.json").write_text(json.dumps(truth))
    people = [(p, k) for p in predictions for k in range(len(p.scores))]
    corners = np.concatenate([p.boxes_xyxy_px for p in predictions])
    maps = [np.concatenate([p.labels[k][None], p.uv[k]]) for p, k in people]
    np.savez(
        folder / "predictions.npz",
        image_size=np.array(predictions[0].image_size),  # of all of them
        image_id=np.array([p.image_id for p, _ in people]),
        box_xywh=np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1),
        score=np.concatenate([p.scores for p in predictions]),
        size=np.array([m.shape[1:] for m in maps]).reshape(-1, 2),
        iuv=np.concatenate([m.reshape(-1) for m in maps]),
    )


def compare(
    checkout: Path,
    kinds: Sequence[str] = KINDS,
    *,
    images: int = 60,
    seed: int = 0,
    vertices_per_part: int = 60,
    progress: Callable[[str], None] = print,
) -> tuple[str, bool]:
    """Score generated sets by both evaluators.

    Args:
        checkout: of detectron2.
        kinds: of generated sets.
        images: of each set.
        seed: of the sets and the surface.
        vertices_per_part: of the surface; 1250 makes files as large as the official ones.
        progress: is given a line for each thing done.

    Returns:
        A table of the largest differences, and whether every number is equal.
    """
    tables = {name: list(fields) for name, fields in TABLES.items()}
    rows, equal = [], True
    with tempfile.TemporaryDirectory(prefix="densepose_upstream_") as folder:
        with process.ours() as ours, process.detectron2(checkout) as theirs:
            for kind in kinds:
                place = {"folder": f"{folder}/{kind}", "official": f"{folder}/official"}
                made = {"images": images, "seed": seed, "vertices_per_part": vertices_per_part}
                ours.call("make_set", **place, kind=kind, **made)
                progress(f"{kind}: this package")
                got = ours.call("score_set", **place)
                progress(f"{kind}: detectron2")
                want = theirs.call("score_set", **place, tables=tables)
                for name in TABLES:
                    apart = _largest_difference(list(got[name].values()), want[name])
                    equal &= apart == 0
                    first = got[name]["AP"]
                    shown = "no instance" if first is None else f"{first:.3f}"
                    rows.append((kind, name, str(len(want[name])), shown, f"{apart:g}"))
    head = ("set", "table", "numbers", "AP", "largest difference")
    return markdown_table(head, rows), equal


def _largest_difference(got: Sequence[float | None], want: Sequence[float | None]) -> float:
    """Infinite where one side alone has no instance."""
    if [value is None for value in got] != [value is None for value in want]:
        return float("inf")
    pairs = [(a, b) for a, b in zip(got, want, strict=True) if a is not None]
    return max((abs(a - b) for a, b in pairs), default=0.0)
