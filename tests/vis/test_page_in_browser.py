"""The page in a real browser: its script is clicked, its layout measured. Needs Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densepose.vis.report import write_report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

# Runs after the page's own script and leaves what it found in the title.
PROBE = """
<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
window.addEventListener("load", async () => {
  const found = { style: getComputedStyle(document.body).backgroundColor };
  found.wider = document.documentElement.scrollWidth - window.innerWidth;
  const images = [...document.querySelectorAll("figure img")];
  found.images = images.length;
  found.loaded = images.filter((img) => img.complete && img.naturalWidth).length;
  const press = (key) => dialog.dispatchEvent(new KeyboardEvent("keydown", { key }));
  images[0].click();
  found.opened = dialog.open;
  found.first = large.src === images[0].src;
  press("ArrowRight");
  found.next = large.src === images[1].src;
  press("ArrowLeft");
  press("ArrowLeft");
  found.last = large.src === images[images.length - 1].src;
  dialog.click();
  found.closed = !dialog.open;
  images[1].dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  found.entered = dialog.open && large.src === images[1].src;
  document.title = JSON.stringify(found);
});
</script>
"""


def visit(page: Path, width: int, *, dark: bool = False) -> dict:
    """What the probe finds on the page in a window of this width."""
    probed = page.with_name("probed.html")
    probed.write_text(page.read_text() + PROBE)
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    options += [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command = [BROWSER, *options, f"--window-size={width},900", "--dump-dom", probed.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(re.search(r"<title>(\{.*?\})</title>", dom)[1])


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """2,000 photos, linked."""
    folder = tmp_path_factory.mktemp("page")
    noise = np.random.default_rng(0).integers(0, 255, (200, 800, 3)).astype(np.uint8)
    for number in range(2000):
        Image.fromarray(noise).resize((800, 200)).save(folder / f"{number}.jpg", quality=5)
    return write_report(
        folder / "index.html",
        title="Photos",
        curves={"Loss": {"total": ([0, 1, 2], [3.0, 2.0, 1.5])}},
        tables=[("Score", [f"column {k}" for k in range(20)], [list(range(20))], "")],
        image_rows=[(f"photo {k}", [("", f"{k}.jpg")]) for k in range(2000)],
        facts={"command": "densepose predict " + "photo.jpg " * 30},
    )


@pytest.mark.parametrize("width", [390, 1366])
def test_pictures_are_enlarged_by_click_and_key(page, width):
    found = visit(page, width)
    for name in ("opened", "first", "next", "last", "closed", "entered"):
        assert found[name], (name, found)
    assert found["wider"] <= 0, "the page scrolls sideways"


def test_only_pictures_near_the_window_are_loaded(page):
    found = visit(page, 1366)
    assert found["images"] == 2000 and found["loaded"] < 100


def test_light_and_dark(page):
    assert visit(page, 1366)["style"] == "rgb(246, 247, 249)"
    assert visit(page, 1366, dark=True)["style"] == "rgb(15, 19, 25)"


def test_it_opens_fast(page):
    start = time.perf_counter()
    visit(page, 1366)
    assert time.perf_counter() - start < 20  # start of the browser included
