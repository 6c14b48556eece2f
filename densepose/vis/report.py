"""The page of a run: curves, tables and pictures in one HTML file with its pictures beside it."""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from densepose.errors import InputError
from densepose.files import atomic

from .curves import Series, line_chart

Table = tuple[str, Sequence[str], Sequence[Sequence[Any]], str]
# Caption, and title with (H, W, 3) uint8 RGB, or with the path of a file below the page's folder.
ImageRow = tuple[str, Sequence[tuple[str, np.ndarray | str]]]

_JPEG_QUALITY = 88
# Images with at most this many colours are drawings and are kept without loss.
_DRAWING_COLORS = 256
# Pictures wider than this scroll sideways on a phone instead of becoming strips.
_WIDE = 2.5


def write_report(
    path: str | Path,
    *,
    title: str,
    curves: Mapping[str, Series],
    tables: Sequence[Table],
    image_rows: Iterable[ImageRow],
    facts: Mapping[str, Any],
    summary: str = "",
    highlights: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page; an existing one is replaced at once.

    Args:
        path: of the HTML file. Pictures given as arrays are written to ``NAME_pictures`` beside it.
        title: heading of the page.
        curves: title of a chart -> name of a series -> (x values, y values).
        tables: (title, names of the columns, rows, note); numbers are formatted, nan is a dash.
        image_rows: (caption, [(title, picture), ...]), one row each. A picture is (H, W, 3) uint8
            RGB, or the path of a file relative to the page. Of an iterator only one row at a time
            is in memory.
        facts: label -> text: versions, command, times.
        summary: one sentence below the heading.
        highlights: label -> figure, in large type at the top.

    Returns:
        The path.

    Raises:
        InputError: a row is not as long as its header, a series has unequal lengths, or an image is
            not (H, W, 3) uint8.
        FileNotFoundError: no picture at a path.
    """
    path = Path(path)
    pictures = _Pictures(path)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    pieces = environment.get_template("report.html").generate(
        title=title,
        summary=summary,
        highlights=[(label, _cell(value)) for label, value in (highlights or {}).items()],
        curves=[_curve(name, series) for name, series in curves.items()],
        tables=[_table(table) for table in tables],
        image_rows=image_rows and pictures.rows(image_rows),
        facts=list(facts.items()),
        written=time.strftime("%Y-%m-%d %H:%M"),
    )
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(pieces)
    pictures.delete_others()
    return path


class _Pictures:
    """Pictures of a page: linked where they are, or written beside it under their hash."""

    def __init__(self, page: Path) -> None:
        self.root, self.folder = page.parent, page.parent / f"{page.stem}_pictures"
        self.written: set[str] = set()

    def rows(self, rows: Iterable[ImageRow]) -> Iterator[dict[str, Any]]:
        for caption, pictures in rows:
            yield {"caption": caption, "pictures": [self._link(*picture) for picture in pictures]}

    def _link(self, title: str, picture: np.ndarray | str) -> dict[str, Any]:
        source = picture if isinstance(picture, str) else self._write(title, picture)
        with Image.open(self.root / source) as opened:  # reads the head of the file only
            width, height = opened.size
        size = {"width": width, "height": height, "wide": width > _WIDE * height}
        return {"title": title, "source": source, **size}

    def _write(self, title: str, image: np.ndarray) -> str:
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(
                f"picture {title!r}: expected (H, W, 3) uint8, got {image.shape} {image.dtype}"
            )
        canvas, buffer = Image.fromarray(image), io.BytesIO()
        if canvas.getcolors(_DRAWING_COLORS):
            canvas.save(buffer, format="png", optimize=True)
        else:  # 4:4:4: the edges of coloured parts bleed otherwise.
            canvas.save(buffer, format="jpeg", quality=_JPEG_QUALITY, subsampling=0)
        data = buffer.getvalue()
        suffix = ".png" if data.startswith(b"\x89PNG") else ".jpg"
        name = hashlib.sha256(data).hexdigest()[:16] + suffix
        with atomic(self.folder / name) as temporary:
            temporary.write_bytes(data)
        self.written.add(name)
        return f"{self.folder.name}/{name}"

    def delete_others(self) -> None:
        """Delete the pictures that only the page before had."""
        for old in self.folder.glob("*"):
            if old.name not in self.written:
                old.unlink()


def _curve(title: str, series: Series) -> dict[str, Any]:
    legend = []
    for name, (_, values) in series.items():
        finite = [float(value) for value in values if math.isfinite(value)]
        legend.append((name, _cell(finite[-1]) if finite else "no values"))
    return {"title": title, "svg": Markup(line_chart(series)), "legend": legend}


def _table(table: Table) -> dict[str, Any]:
    title, header, rows, note = table
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise InputError(
                f"table {title!r}, row {number + 1}: expected {len(header)} cells as in the header,"
                f" got {len(row)}"
            )
    formatted = [[_cell(value) for value in row] for row in rows]
    return {"title": title, "header": list(header), "rows": formatted, "note": note}


def _cell(value: Any) -> str:
    """Whole numbers with separators, others with the digits that matter, nan and None as a dash."""
    if value is None:
        return "\u2013"
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    if not math.isfinite(value):
        return "\u2013" if math.isnan(value) else str(value)
    if isinstance(value, Integral):
        return f"{value:,}"
    size = abs(value)
    if size >= 100:
        return f"{value:,.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if size >= 1e-3 or not size else f"{value:.1e}"
