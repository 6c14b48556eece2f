"""The report of a run: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import io
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from .curves import Series, format_number, line_chart
from .report_page import SCRIPT, STYLE, TEMPLATE

Table = tuple[str, Sequence[str], Sequence[Sequence[Any]], str]
ImageRow = tuple[str, Sequence[tuple[str, np.ndarray]]]

_JPEG_QUALITY = 88
# Images with at most this many colours are drawings and are kept without loss.
_DRAWING_COLORS = 256


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
        path: of the HTML file; its folder is made when missing.
        title: heading of the page.
        curves: title of a chart -> name of a series -> (x values, y values).
        tables: (title, names of the columns, rows, note); numbers are formatted, nan is a dash.
        image_rows: (caption, [(title, (H, W, 3) uint8 RGB), ...]), one row each; of an iterator
            only one row at a time is in memory.
        facts: label -> text: versions, command, times.
        summary: one sentence below the heading.
        highlights: label -> figure, in large type at the top.

    Returns:
        The path.

    Raises:
        ValueError: a row is not as long as its header, a series has unequal lengths, or an image is
            not (H, W, 3) uint8.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    pieces = environment.from_string(TEMPLATE).generate(
        title=title,
        summary=summary,
        highlights=[(label, _cell(value)) for label, value in (highlights or {}).items()],
        curves=[_curve(name, series) for name, series in curves.items()],
        tables=[_table(table) for table in tables],
        image_rows=image_rows and map(_image_row, image_rows),
        facts=list(facts.items()),
        style=Markup(STYLE),
        script=Markup(SCRIPT),
        written=f"Written {time.strftime('%Y-%m-%d %H:%M')}. This page needs no other file.",
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(pieces)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _curve(title: str, series: Series) -> dict[str, Any]:
    legend = []
    for name, (_, values) in series.items():
        finite = [float(value) for value in values if math.isfinite(value)]
        legend.append((name, format_number(finite[-1]) if finite else "no values"))
    return {"title": title, "svg": Markup(line_chart(title, series)), "legend": legend}


def _table(table: Table) -> dict[str, Any]:
    title, header, rows, note = table
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(
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
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    size = abs(value)
    if size >= 100:
        return f"{value:,.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if size >= 1e-3 or not size else f"{value:.1e}"


def _image_row(row: ImageRow) -> dict[str, Any]:
    caption, pictures = row
    return {"caption": caption, "pictures": [_picture(title, image) for title, image in pictures]}


def _picture(title: str, image: np.ndarray) -> dict[str, Any]:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"picture {title!r}: expected (H, W, 3) uint8, got {image.shape} {image.dtype}"
        )
    canvas = Image.fromarray(image)
    kind = "png" if canvas.getcolors(_DRAWING_COLORS) else "jpeg"
    buffer = io.BytesIO()
    # 4:4:4: the edges of coloured parts bleed otherwise.
    options = {"optimize": True} if kind == "png" else {"quality": _JPEG_QUALITY, "subsampling": 0}
    canvas.save(buffer, format=kind, **options)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {
        "title": title,
        "data": f"data:image/{kind};base64,{data}",
        "height": image.shape[0],
        "width": image.shape[1],
    }
