"""The page of all photos, from the files that were written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from densepose.vis.report import ImageRow, write_report

from .results_folder import PAGE, Entry, ResultsFolder

_MOST_FRAMES = 6


def write_page(folder: ResultsFolder, facts: Mapping[str, str]) -> Path:
    """Write ``index.html``, which links the pictures.

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
    return write_report(
        folder.folder / PAGE,
        title="Dense poses of photos",
        summary="Photo, parts with boxes and scores, U (across a part) and V (along it)",
        highlights={"photos and videos": good, "people": people, "not readable": len(failed)},
        curves={},
        tables=[("Not readable", ["file", "why"], failed, "")] if failed else [],
        image_rows=_rows(folder),
        facts=facts,
    )


def _rows(folder: ResultsFolder) -> Iterator[ImageRow]:
    for entry in folder.entries():
        if "error" in entry:
            continue
        pictures = entry["pictures"]
        if len(pictures) > _MOST_FRAMES:
            index = np.linspace(0, len(pictures) - 1, _MOST_FRAMES).round().astype(int)
            pictures = [pictures[i] for i in index]
        yield _caption(entry), [(Path(p).stem if "video" in entry else "", p) for p in pictures]


def _caption(entry: Entry) -> str:
    people = "1 person" if entry["people"] == 1 else f"{entry['people']} people"
    if "frames" in entry:
        return f"{entry['file']}: {people} in {entry['frames']} frames, see {entry['video']}"
    scores = ", ".join(f"{score:.2f}" for score in entry["scores"])
    return f"{entry['file']}: {people}" + (f" ({scores})" if scores else "")
