"""The ratio of correct points (RCP) over the geodesic error, as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

# Limits of the areas under the curve that are compared: AUC10 and AUC30.
_MARKS_M = (0.10, 0.30)


def draw_rcp(path: str | Path, thresholds_m: np.ndarray, curves: Mapping[str, np.ndarray]) -> Path:
    """Write a PNG with one line for each system.

    Args:
        path: of the file; its folder must exist.
        thresholds_m: (K,) geodesic errors in metres, ascending.
        curves: name -> (K,) share of points with a smaller error, in [0, 1].

    Returns:
        The path.

    Raises:
        ValueError: a curve has not as many values as there are thresholds.
    """
    # matplotlib takes a second to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    for name, share in curves.items():
        if np.shape(share) != np.shape(thresholds_m):
            raise ValueError(
                f"curve {name!r}: {np.shape(share)} values for {np.shape(thresholds_m)} thresholds"
            )
    figure = Figure(figsize=(8, 5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    thresholds_cm = 100 * np.asarray(thresholds_m)
    styles = ("-", "--", ":", "-.")
    for number, (name, share) in enumerate(curves.items()):
        axes.plot(
            thresholds_cm, share, styles[number // 10 % 4], color=f"C{number % 10}", label=name
        )
    for mark in _MARKS_M:
        axes.axvline(100 * mark, color="0.6", linewidth=0.8, zorder=0)
    axes.set(
        xlabel="geodesic error, cm",
        ylabel="ratio of correct points",
        xlim=(0, thresholds_cm[-1]),
        ylim=(0, 1),
    )
    axes.grid(color="0.92")
    axes.legend(loc="upper left", fontsize=8, framealpha=0.9)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    canvas.print_figure(temporary, format="png", dpi=120)
    os.replace(temporary, path)
    return path
