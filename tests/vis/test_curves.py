from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from densepose.errors import InputError
from densepose.vis.curves import draw_rcp, line_chart


def lines(svg: str) -> list[np.ndarray]:
    """(K, 2) px of the lines of all series, in the order of the series."""
    root = ElementTree.fromstring(svg)
    found = [path for path in root.iter() if "stroke: var(--c" in path.get("style", "")]
    steps = [np.array(re.findall(r"-?[\d.]+", path.get("d", "")), float) for path in found]
    return [numbers.reshape(-1, 2) for numbers in steps if len(numbers)]


def test_a_line_goes_up_where_values_do():
    (path,) = lines(line_chart({"a": ([0, 10, 20], [1, 5, 3])}))
    assert np.all(np.diff(path[:, 0]) > 0)
    np.testing.assert_allclose(path[1, 0], path[[0, 2], 0].mean(), atol=0.1)
    # px grow downwards: the middle value is highest, the step down half of the step up
    up, down = np.diff(path[:, 1])
    assert up < 0 < down
    np.testing.assert_allclose(-up, 2 * down, rtol=0.01)


def test_a_long_series_is_shown_raw_and_smoothed():
    values = np.random.default_rng(0).normal(size=3000)
    raw, smooth = lines(line_chart({"a": (np.arange(3000), values)}))
    assert len(raw) <= 401 and smooth[:, 1].std() < raw[:, 1].std() / 3


def test_values_that_span_decades_get_a_logarithmic_axis():
    (path,) = lines(line_chart({"a": ([0, 1, 2], [1e-3, 1e-1, 10])}))
    np.testing.assert_allclose(*np.diff(path[:, 1]), rtol=0.01)


def test_colours_are_variables_of_the_page():
    svg = line_chart({name: ([0, 1], [k, k + 1]) for k, name in enumerate("abcdefghi")})
    assert {f"var(--c{k})" for k in range(8)} <= set(re.findall(r"var\(--\w+\)", svg))
    assert "var(--soft)" in svg and "var(--line)" in svg and "#0" not in svg
    assert "<script" not in svg and "<metadata" not in svg and svg.startswith("<svg")


@pytest.mark.parametrize(
    "values", [[], [float("nan")] * 3, [1.0], [2.0, 2.0], [0.0, 0.0], [-1.0, float("inf"), 3.0]]
)
def test_odd_series_still_give_a_drawing(values: list[float]):
    svg = line_chart({"a": (list(range(len(values))), values)})
    assert ("no values" in svg) is (not np.isfinite(values).any())


def test_lengths_that_differ_are_refused():
    with pytest.raises(InputError, match=r"series 'a': x has shape \(2,\), y has shape \(1,\)"):
        line_chart({"a": ([0, 1], [1])})


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_each_system_has_a_line_of_its_own(tmp_path: Path):
    thresholds = np.linspace(0, 0.5, 51)
    low, high = np.minimum(thresholds, 0.2), np.minimum(3 * thresholds, 1.0)
    draw_rcp(tmp_path / "one.png", thresholds, {"low": low})
    draw_rcp(tmp_path / "two.png", thresholds, {"low": low, "high": high})
    one, two = pixels(tmp_path / "one.png"), pixels(tmp_path / "two.png")
    blue, orange = (31, 119, 180), (255, 127, 14)  # matplotlib's first two colours
    assert (one == blue).all(axis=2).any() and not (one == orange).all(axis=2).any()
    rows_of = [np.nonzero((two == colour).all(axis=2))[0] for colour in (blue, orange)]
    # The better system's line ends above the other's.
    assert np.quantile(rows_of[1], 0.1) < np.quantile(rows_of[0], 0.1)


def test_a_curve_of_another_length_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"curve 'a': \(2,\) values for \(3,\) thresholds"):
        draw_rcp(tmp_path / "a.png", np.zeros(3), {"a": np.zeros(2)})
