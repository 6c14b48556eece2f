"""The page of all photos, from the files that were written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from densepose.vis.report import ImageRow, write_report

from .results_folder import PAGE, Entry, ResultsFolder

MOST_PICTURES = 400  # a browser has to hold them all
_WIDTH_PX = 1600
_MOST_FRAMES = 6


def write_page(folder: ResultsFolder, facts: Mapping[str, str]) -> Path:
    """Write ``index.html``; pictures are read and written one by one.

    Args:
        folder: of the results.
        facts: how it was made.
    """
    good = people = 0
    failed = []
    for entry in folder.entries():
        if "error" in entry:
            failed.append((entry["file"], entry["error"]))
        else:
            good, people = good + 1, people + entry["people"]
    step = -(-good // MOST_PICTURES) or 1
    shown = f"; every {step}. of them is shown" if step > 1 else ""
    return write_report(
        folder.folder / PAGE,
        title="Dense poses of photos",
        summary="Photo, parts with boxes and scores, U (across a part) and V (along it)" + shown,
        highlights={"photos and videos": good, "people": people, "not readable": len(failed)},
        curves={},
        tables=[("Not readable", ["file", "why"], failed, "")] if failed else [],
        image_rows=_rows(folder, step),
        facts=facts,
    )


def _rows(folder: ResultsFolder, step: int) -> Iterator[ImageRow]:
    good = (entry for entry in folder.entries() if "error" not in entry)
    for number, entry in enumerate(good):
        if number % step:
            continue
        pictures = entry["pictures"]
        if len(pictures) > _MOST_FRAMES:
            index = np.linspace(0, len(pictures) - 1, _MOST_FRAMES).round().astype(int)
            pictures = [pictures[i] for i in index]
        shown = [
            (Path(p).stem if "video" in entry else "", _small(folder.folder / p)) for p in pictures
        ]
        yield _caption(entry), shown


def _caption(entry: Entry) -> str:
    people = "1 person" if entry["people"] == 1 else f"{entry['people']} people"
    if "frames" in entry:
        return f"{entry['file']}: {people} in {entry['frames']} frames, see {entry['video']}"
    scores = ", ".join(f"{score:.2f}" for score in entry["scores"])
    return f"{entry['file']}: {people}" + (f" ({scores})" if scores else "")


def _small(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    if image.width > _WIDTH_PX:
        height = max(1, round(image.height * _WIDTH_PX / image.width))
        image = image.resize((_WIDTH_PX, height), Image.Resampling.LANCZOS)
    return np.asarray(image)
