import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from densepose.vis.curves import format_number, line_chart
from densepose.vis.report import write_report

RAMP = np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (48, 1, 3))
NOISE = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)


def report(folder: Path, **changes: Any) -> str:
    given: dict[str, Any] = {
        "title": "A run",
        "curves": {"Loss": {"total": ([0, 1, 2], [3.0, 2.0, 1.5])}},
        "tables": [("Score", ["metric", "AP"], [["GPS", 0.5]], "a note")],
        "image_rows": [("Image 7", [("truth", RAMP), ("prediction", NOISE)])],
        "facts": {"command": "densepose demo"},
    }
    return write_report(folder / "out" / "index.html", **{**given, **changes}).read_text()


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        self.links += [value or "" for name, value in attributes if name in {"src", "href"}]

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_no_other_file(tmp_path: Path):
    page = report(tmp_path)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert all(link.startswith(("data:", "#")) for link in tags.links)
    assert not re.search(r"https?://|@import|url\(", page)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["index.html"]


def test_everything_given_is_on_the_page(tmp_path: Path):
    page = report(tmp_path, summary="In short.", highlights={"mean GPS": 0.4123})
    for text in ("A run", "In short.", "0.412", "Loss", "total", "1.5", "Score", "metric", "GPS"):
        assert text in page
    for text in ("0.500", "a note", "Image 7", "truth", "prediction", "densepose demo"):
        assert text in page


def test_text_cannot_become_markup(tmp_path: Path):
    evil = "<script>alert(1)</script>"
    page = report(
        tmp_path,
        title=evil,
        summary=evil,
        curves={evil: {evil: ([0], [1])}},
        tables=[(evil, [evil], [[evil]], evil)],
        image_rows=[(evil, [(evil, RAMP)])],
        facts={evil: evil},
        highlights={evil: evil},
    )
    assert evil not in page and page.count("<script>") == 1


def test_pictures_come_back_as_they_were(tmp_path: Path):
    page = report(tmp_path)
    found = re.findall(r"data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)", page)
    assert [kind for kind, _ in found] == ["png", "jpeg"]
    ramp, noise = (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for _, data in found)
    np.testing.assert_array_equal(ramp, RAMP)
    assert noise.shape == NOISE.shape


def test_numbers_are_shown_with_the_digits_that_matter(tmp_path: Path):
    values = [float("nan"), None, 12345, 0.25, 45.678, 1234.5, 1e-5, "text", True, 0.0]
    page = report(tmp_path, tables=[("t", list("abcdefghij"), [values], "")])
    cells = re.findall(r"<td>(.*?)</td>", page)
    assert cells == [
        *(
            "\u2013",
            "\u2013",
            "12,345",
            "0.250",
            "45.68",
            "1,234.5",
            "1.0e-05",
            "text",
            "True",
            "0.000",
        )
    ]


def test_empty_sections_leave_no_trace(tmp_path: Path):
    page = report(tmp_path, curves={}, tables=[], image_rows=[], facts={})
    assert "<h2" not in page and 'href="#' not in page


def test_a_failing_report_leaves_the_old_page(tmp_path: Path):
    before = report(tmp_path)
    with pytest.raises(
        ValueError, match="table 't', row 1: expected 2 cells as in the header, got 1"
    ):
        report(tmp_path, tables=[("t", ["a", "b"], [[1]], "")])
    with pytest.raises(ValueError, match=r"picture 'p': expected \(H, W, 3\) uint8, got \(4, 4\)"):
        report(tmp_path, image_rows=[("r", [("p", np.zeros((4, 4), np.uint8))])])
    assert (tmp_path / "out" / "index.html").read_text() == before


class TestChart:
    """The drawing, read back as XML."""

    @staticmethod
    def paths(svg: str, kind: str) -> list[np.ndarray]:
        root = ElementTree.fromstring(svg)
        found = [p.get("d", "") for p in root.iter("path") if p.get("class", "").startswith(kind)]
        return [np.array(re.findall(r"-?[\d.]+", d), float).reshape(-1, 2) for d in found]

    def test_a_line_goes_up_where_values_do(self):
        (path,) = self.paths(line_chart("t", {"a": ([0, 10, 20], [1, 5, 3])}), "line")
        assert np.all(np.diff(path[:, 0]) > 0)
        np.testing.assert_allclose(path[1, 0], path[[0, 2], 0].mean(), atol=0.1)
        # px grow downwards: the middle value is highest, the step down half of the step up
        up, down = np.diff(path[:, 1])
        assert up < 0 < down
        np.testing.assert_allclose(-up, 2 * down, rtol=0.01)

    def test_a_long_series_is_shown_raw_and_smoothed(self):
        values = np.random.default_rng(0).normal(size=3000)
        svg = line_chart("t", {"a": (np.arange(3000), values)})
        (raw,), (smooth,) = self.paths(svg, "raw"), self.paths(svg, "line")
        assert len(raw) <= 401 and smooth[:, 1].std() < raw[:, 1].std() / 3
        flat = line_chart("t", {"a": (np.arange(100), np.full(100, 2.0))})
        assert len(np.unique(self.paths(flat, "line")[0][:, 1])) == 1

    def test_values_that_span_decades_get_a_logarithmic_axis(self):
        (path,) = self.paths(line_chart("t", {"a": ([0, 1, 2], [1e-3, 1e-1, 10])}), "line")
        np.testing.assert_allclose(*np.diff(path[:, 1]), rtol=0.01)

    @pytest.mark.parametrize(
        "values", [[], [float("nan")] * 3, [1.0], [2.0, 2.0], [0.0, 0.0], [-1.0, float("inf"), 3.0]]
    )
    def test_odd_series_still_give_a_drawing(self, values: list[float]):
        svg = line_chart("t", {"a": (list(range(len(values))), values)})
        assert "nan" not in svg and "inf" not in svg
        ElementTree.fromstring(svg)

    def test_lengths_that_differ_are_refused(self):
        with pytest.raises(ValueError, match=r"series 'a': x has shape \(2,\), y has shape \(1,\)"):
            line_chart("t", {"a": ([0, 1], [1])})

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0.0, "0"),
            (0.05, "0.05"),
            (1200, "1,200"),
            (12000, "12k"),
            (2.5e-5, "2.5e-05"),
            (3e8, "3e+08"),
        ],
    )
    def test_numbers_are_short(self, value: float, text: str):
        assert format_number(value) == text
