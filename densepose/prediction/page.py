"""The page of all photos; it links the pictures that were written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from densepose.vis.report import ImageRow, write_report

from .results_folder import PAGE, Entry, ResultsFolder, printable

_MOST_FRAMES = 6  # of a video


def write_page(folder: ResultsFolder, facts: Mapping[str, str]) -> Path:
    """Write ``index.html``.

    Args:
        folder: of the results.
        facts: how it was made.
    """
    good = people = 0
    failed = []
    for entry in folder.entries():
        if "error" in entry:
            failed.append((printable(entry["file"]), printable(entry["error"])))
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
        step = -(-len(pictures) // _MOST_FRAMES) or 1
        is_video = "frames" in entry
        yield _caption(entry), [(Path(p).stem if is_video else "", p) for p in pictures[::step]]


def _caption(entry: Entry) -> str:
    file = printable(entry["file"])
    people = "1 person" if entry["people"] == 1 else f"{entry['people']} people"
    if "frames" in entry:
        see = f", see {entry['video']}" if entry["video"] else ""
        missing = f"; {printable(entry['incomplete'])}" if "incomplete" in entry else ""
        return f"{file}: {people} in {entry['frames']} frames{see}{missing}"
    scores = ", ".join(f"{score:.2f}" for score in entry["scores"])
    return f"{file}: {people}" + (f" ({scores})" if scores else "")
