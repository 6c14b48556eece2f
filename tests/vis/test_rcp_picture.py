from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densepose.vis.rcp_picture import draw_rcp


def test_each_system_has_a_line_of_its_own(tmp_path: Path):
    thresholds = np.linspace(0, 0.5, 51)
    low, high = np.minimum(thresholds, 0.2), np.minimum(3 * thresholds, 1.0)
    one = pixels(draw_rcp(tmp_path / "one.png", thresholds, {"low": low}))
    two = pixels(draw_rcp(tmp_path / "two.png", thresholds, {"low": low, "high": high}))
    blue, orange = (31, 119, 180), (255, 127, 14)  # matplotlib's first two colours
    assert (one == blue).all(axis=2).any() and not (one == orange).all(axis=2).any()
    rows_of = [np.nonzero((two == colour).all(axis=2))[0] for colour in (blue, orange)]
    # The better system's line ends above the other's.
    assert np.quantile(rows_of[1], 0.1) < np.quantile(rows_of[0], 0.1)
    assert not list(tmp_path.glob("*.part"))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_a_curve_of_another_length_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"curve 'a': \(2,\) values for \(3,\) thresholds"):
        draw_rcp(tmp_path / "a.png", np.zeros(3), {"a": np.zeros(2)})
