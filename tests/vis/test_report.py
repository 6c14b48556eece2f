import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from densepose.errors import InputError
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


def test_the_page_is_whole_and_links_its_pictures(tmp_path: Path):
    page = report(tmp_path)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    linked = [link for link in tags.links if not link.startswith(("data:", "#"))]
    assert [link.rpartition(".")[2] for link in linked] == ["png", "jpg"]
    assert all((tmp_path / "out" / link).is_file() for link in linked)
    # Nothing comes from the net; names of XML dialects look like addresses.
    assert not re.search(r"@import|(src|href)=.?https?:", page)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"index.html", "index_pictures"}


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


def pictures(folder: Path) -> list[Path]:
    return sorted((folder / "out" / "index_pictures").iterdir(), key=lambda path: path.suffix)


def test_pictures_come_back_as_they_were(tmp_path: Path):
    report(tmp_path)
    noise, ramp = (np.asarray(Image.open(path)) for path in pictures(tmp_path))
    np.testing.assert_array_equal(ramp, RAMP)
    assert noise.shape == NOISE.shape


def test_pictures_that_are_there_are_linked_with_their_size(tmp_path: Path):
    (tmp_path / "out" / "a b").mkdir(parents=True)
    Image.fromarray(RAMP).resize((640, 100)).save(tmp_path / "out" / "a b" / "1#.png")
    page = report(tmp_path, image_rows=[("wide", [("", "a b/1#.png")])])
    assert 'src="a%20b/1%23.png"' in page and 'width="640" height="100"' in page
    assert 'loading="lazy"' in page and '<figure class="wide">' in page
    with pytest.raises(FileNotFoundError, match="absent.png"):
        report(tmp_path, image_rows=[("r", [("p", "absent.png")])])


def test_pictures_of_the_page_before_are_deleted(tmp_path: Path):
    report(tmp_path)
    report(tmp_path, image_rows=[("one", [("ramp", RAMP)])])
    assert [path.suffix for path in pictures(tmp_path)] == [".png"]
    (tmp_path / "out" / "photo.png").write_bytes(pictures(tmp_path)[0].read_bytes())
    report(tmp_path, image_rows=[("one", [("photo", "photo.png")])])
    assert pictures(tmp_path) == [] and (tmp_path / "out" / "photo.png").exists()


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
        InputError, match="table 't', row 1: expected 2 cells as in the header, got 1"
    ):
        report(tmp_path, tables=[("t", ["a", "b"], [[1]], "")])
    with pytest.raises(InputError, match=r"picture 'p': expected \(H, W, 3\) uint8, got \(4, 4\)"):
        report(tmp_path, image_rows=[("r", [("p", np.zeros((4, 4), np.uint8))])])
    assert (tmp_path / "out" / "index.html").read_text() == before
    assert len(pictures(tmp_path)) == 2
