"""The page in a real browser: its script is clicked, its layout measured. Needs Chromium."""

from __future__ import annotations

import json
import re
import subprocess
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from densepose.vis.report import write_report
from tests.support.browser import BROWSER

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

# Runs after the page's own script and leaves what it found in the title.
PROBE = """
<script>
window.addEventListener("load", () => {
  const found = { style: getComputedStyle(document.body).backgroundColor };
  found.wider = document.documentElement.scrollWidth - window.innerWidth;
  const images = [...document.querySelectorAll("figure img")];
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


def test_only_pictures_near_the_window_are_loaded_and_soon(page, tmp_path):
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *words) -> None:
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=page.parent))
    Thread(target=server.serve_forever, daemon=True).start()
    # With --dump-dom Chromium loads all pictures at once; as a server it is a browser like any.
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    address = f"http://127.0.0.1:{server.server_port}/index.html"
    command = [BROWSER, *options, f"--user-data-dir={tmp_path}", "--window-size=1366,900", address]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while "/index.html" not in asked and browser.poll() is None:
            time.sleep(0.05)
        time.sleep(2)
        assert 0 < sum(name.endswith(".jpg") for name in asked) < 50
    finally:
        browser.terminate()
        browser.wait(timeout=30)
        server.shutdown()
        server.server_close()


def test_light_and_dark(page):
    assert visit(page, 1366)["style"] == "rgb(246, 247, 249)"
    assert visit(page, 1366, dark=True)["style"] == "rgb(15, 19, 25)"
