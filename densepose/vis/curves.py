"""Line charts as SVG text, without JavaScript; colours come from the style sheet of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 30
_MAX_POINTS = 400
# Longer series are shown twice: as measured, faintly, and smoothed.
_SMOOTH_FROM = 40
# A logarithmic axis from this ratio of the largest to the smallest value on.
_LOG_RATIO = 300.0

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class _Axis:
    """Maps values to px of the drawing."""

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool = False

    def __call__(self, value: np.ndarray) -> np.ndarray:
        low, high = self.low, self.high
        if self.log:
            value, low, high = np.log10(value), math.log10(low), math.log10(high)
        share = (value - low) / (high - low)
        return self.start_px + share * (self.end_px - self.start_px)

    def ticks(self) -> list[float]:
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            candidates = [10.0**power for power in powers]
        else:
            step = _nice_step((self.high - self.low) / 5)
            first = math.ceil(self.low / step - 1e-9)
            last = math.floor(self.high / step + 1e-9)
            candidates = [number * step for number in range(first, last + 1)]
        return [
            tick for tick in candidates if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9)
        ]


def line_chart(title: str, series: Series) -> str:
    """One chart of several series that share their axes.

    Args:
        title: read out by screen readers.
        series: name -> (x values, y values) of equal lengths; values that are not finite are left
            out.

    Returns:
        An ``<svg>`` element; the k-th series has the class ``series-k``.

    Raises:
        ValueError: x and y of a series differ in length.
    """
    drawn = {name: _finite(name, *values) for name, values in series.items()}
    label = f"<title>{escape(title)}</title><desc>{escape(', '.join(drawn))}</desc>"
    body = _body(list(drawn.values()))
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{label}{body}</svg>'


def _finite(name: str, x: Sequence[float], y: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"series {name!r}: x has shape {x.shape}, y has shape {y.shape}")
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


def _body(series: list[tuple[np.ndarray, np.ndarray]]) -> str:
    all_x = np.concatenate([np.zeros(0), *(x for x, _ in series)])
    all_y = np.concatenate([np.zeros(0), *(y for _, y in series)])
    if not len(all_x):
        middle = f'x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle"'
        return f'<text class="tick" {middle}>no values</text>'
    x_axis = _Axis(*_widen(all_x.min(), all_x.max(), margin=0.0), _LEFT, WIDTH - _RIGHT)
    y_axis = _y_axis(all_y)
    parts = [*_grid(x_axis, y_axis)]
    for number, (x, y) in enumerate(series):
        parts += _lines(number, x_axis, y_axis, x, y)
    return "".join(parts)


def _y_axis(values: np.ndarray) -> _Axis:
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high / low > _LOG_RATIO
    if log:
        low, high = low / 1.2, high * 1.2
    else:
        near_zero = 0 <= low < 0.4 * high
        low, high = _widen(0.0 if near_zero else low, high, margin=0.05)
        low = 0.0 if near_zero else low
    return _Axis(low, high, HEIGHT - _BOTTOM, _TOP, log)


def _widen(low: float, high: float, margin: float) -> tuple[float, float]:
    """A range of more than zero around low..high."""
    if high <= low:
        half = abs(low) / 2 or 0.5
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    parts = []
    for tick in y_axis.ticks():
        y = float(y_axis(np.float64(tick)))
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{format_number(tick)}</text>"
        )
    for tick in x_axis.ticks():
        x = float(x_axis(np.float64(tick)))
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{format_number(tick)}</text>"
        )
    parts.append(f'<path class="axis" d="M{_LEFT} {HEIGHT - _BOTTOM}H{WIDTH - _RIGHT}"/>')
    return parts


def _lines(number: int, x_axis: _Axis, y_axis: _Axis, x: np.ndarray, y: np.ndarray) -> list[str]:
    if not len(x):
        return []
    if len(x) == 1:
        place = f'cx="{float(x_axis(x)[0]):.1f}" cy="{float(y_axis(y)[0]):.1f}"'
        return [f'<circle class="dot series-{number}" {place} r="4"/>']
    shown = [("line", y)]
    if len(x) >= _SMOOTH_FROM:
        shown = [("raw", y), ("line", _smoothed(y))]
    return [
        f'<path class="{kind} series-{number}" d="{_path(x_axis(x), y_axis(values))}"/>'
        for kind, values in shown
    ]


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Mean over a window of a twentieth of the series around each value."""
    reach = max(1, len(values) // 40)
    total = np.concatenate([[0.0], values.cumsum()])
    index = np.arange(len(values))
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def _path(x_px: np.ndarray, y_px: np.ndarray) -> str:
    step = -(-len(x_px) // _MAX_POINTS)
    chosen = np.unique(np.append(np.arange(0, len(x_px), step), len(x_px) - 1))
    points = np.column_stack([x_px, y_px])[chosen].round(1).tolist()
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def _nice_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))


def format_number(value: float) -> str:
    """At most four digits that say something: 1,200, 12k, 0.05, 2.5e-05."""
    size = abs(value)
    if size >= 1e7:
        return f"{value:.3g}"
    if size >= 1e4:
        return f"{value / 1e3:,.4g}k"
    return f"{value:,.0f}" if size >= 1e3 else f"{value:.4g}"
