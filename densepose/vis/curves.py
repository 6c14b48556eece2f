"""Curves over iterations as SVG for the report, and over the geodesic error as PNG."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter1d

from densepose.errors import InputError
from densepose.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]
# Colours that stand for variables of the page's style sheet, which knows light and dark.
_INK, _LINE = "#010203", "#010204"
_SERIES = [f"#0101{k:02x}" for k in range(8)]
_VARIABLES = {_INK: "--soft", _LINE: "--line"} | {c: f"--c{k}" for k, c in enumerate(_SERIES)}
_RC = {
    "svg.fonttype": "none",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.edgecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _LINE,
    "axes.formatter.limits": (-3, 5),
}
# Longer series are shown twice: as measured, faintly, and smoothed.
_SMOOTH_FROM = 40
_MAX_POINTS = 400
# A logarithmic axis from this ratio of the largest to the smallest value on.
_LOG_RATIO = 300.0
# Limits of the areas under the curve that are compared: AUC10 and AUC30.
_MARKS_M = (0.10, 0.30)


def line_chart(series: Series) -> str:
    """One chart of several series that share their axes.

    Args:
        series: name -> (x values, y values) of equal lengths; values that are not finite are
            skipped.

    Returns:
        An ``<svg>`` element for a page that defines the colours ``--c0`` to ``--c7``, ``--soft``
        and ``--line``.

    Raises:
        InputError: x and y of a series differ in length.
    """
    import matplotlib
    from matplotlib.figure import Figure

    finite = [_finite(name, *values) for name, values in series.items()]
    values = np.concatenate([np.zeros(0), *(y for _, y in finite)])
    text = io.StringIO()
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(6.4, 3), layout="constrained")
        axes = figure.add_subplot()
        for k, (x, y) in enumerate(finite):
            _draw_series(axes, x, y, _SERIES[k % len(_SERIES)])
        if not len(values):
            axes.set_axis_off()
            axes.text(0.5, 0.5, "no values", ha="center", transform=axes.transAxes)
        elif values.min() > 0 and values.max() / values.min() > _LOG_RATIO:
            axes.set_yscale("log")
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg", '<svg class="chart" role="img"', 1)
    return re.sub("#0[01]0[0-9a-f]{3}", lambda found: f"var({_VARIABLES[found[0]]})", svg)


def _finite(name: str, x: Sequence[float], y: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise InputError(f"series {name!r}: x has shape {x.shape}, y has shape {y.shape}")
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


def _draw_series(axes: Axes, x: np.ndarray, y: np.ndarray, color: str) -> None:
    step = max(1, -(-len(x) // _MAX_POINTS))
    if len(x) >= _SMOOTH_FROM:
        axes.plot(x[::step], y[::step], color=color, linewidth=0.8, alpha=0.3)
        y = uniform_filter1d(y, len(y) // 20, mode="nearest")
    axes.plot(x[::step], y[::step], "o" if len(x) == 1 else "-", color=color, linewidth=1.8)


def draw_rcp(path: str | os.PathLike[str], thresholds_m: np.ndarray, curves: Mapping) -> None:
    """Write a PNG of the ratio of correct points (RCP) over the error, one line a system.

    Args:
        path: of the file.
        thresholds_m: (K,) geodesic errors in metres, ascending.
        curves: name -> (K,) fraction of points with a smaller error, in [0, 1].

    Raises:
        InputError: a curve has not as many values as there are thresholds.
    """
    from matplotlib.figure import Figure

    for name, ratio in curves.items():
        if np.shape(ratio) != np.shape(thresholds_m):
            raise InputError(
                f"curve {name!r}: {np.shape(ratio)} values for {np.shape(thresholds_m)} thresholds"
            )
    axes = Figure(figsize=(8, 5), layout="constrained").add_subplot()
    thresholds_cm = 100 * np.asarray(thresholds_m)
    styles = ("-", "--", ":", "-.")
    for number, (name, ratio) in enumerate(curves.items()):
        style = f"{styles[number // 10 % 4]}C{number % 10}"
        axes.plot(thresholds_cm, ratio, style, label=name)
    for mark in _MARKS_M:
        axes.axvline(100 * mark, color="0.6", linewidth=0.8, zorder=0)
    axes.set(xlabel="geodesic error, cm", ylabel="ratio of correct points", ylim=(0, 1))
    axes.set_xlim(0, thresholds_cm[-1])
    axes.grid(color="0.92")
    axes.legend(loc="upper left", fontsize=8, framealpha=0.9)
    with atomic(path) as temporary:
        axes.figure.savefig(temporary, format="png", dpi=120)
