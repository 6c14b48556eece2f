"""Servers of ``densepose annotate`` for tests, and a robot that annotates by mouse and keys."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import uvicorn

from densepose.annotate.body import load_body
from densepose.annotate.server import Pages, make_app
from densepose.annotate.session import Options, open_project
from densepose.annotate.views import VIEW_PX, RegionViews
from densepose.structures.body_parts import COARSE_OF_PART, UV_STEPS
from densepose.vis.iuv_image import read_iuv_png

from . import ROOT
from .browser import Page

TOKEN = "token-of-a-test"
_SMALLEST_PART_PX = 8


@dataclass
class Client:
    """Sends requests to a server as a page does."""

    port: int
    pages: Pages | None = None
    token: str = TOKEN

    def ask(
        self, path: str, body: Any = None, *, method: str = "", **headers: str
    ) -> tuple[int, Any]:
        """Status and content, decoded where it is JSON; the path is sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            given = {"Content-Type": "application/json"} | given
            body = body if isinstance(body, bytes) else json.dumps(body)
        try:
            connection.request(method or ("POST" if body else "GET"), path, body, given)
            reply = connection.getresponse()
            content = reply.read()
            self.headers = dict(reply.headers)
            if reply.headers.get_content_type() == "application/json":
                content = json.loads(content)
            return reply.status, content
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """What lies below the token."""
        status, content = self.ask(f"/{self.token}/{path}")
        assert status == 200, (path, status, content)
        return content

    def do(self, event: str, *, who: str = "Ann", **values: Any) -> Any:
        """Carry out an action; returns the new state."""
        status, content = self.ask(f"/{self.token}/do", {"event": event, "who": who, **values})
        assert status == 200, (event, status, content)
        return content


@contextmanager
def serving(options: Options) -> Iterator[Client]:
    """A server in a thread of this process."""
    with open_project(options) as project, socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        pages = Pages(project, options.output, None)
        pages.screen.prepare = lambda region: None  # nobody looks at the pictures
        config = uvicorn.Config(make_app(pages, TOKEN), log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield Client(listening.getsockname()[1], pages)
        finally:
            server.should_exit = True
            thread.join(timeout=30)


@contextmanager
def command(*words: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``densepose annotate`` as a process of its own, and its address."""
    words = [sys.executable, "-m", "densepose.cli", "annotate", *map(str, words), "--no-browser"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stdout if "; open http" in line)
        yield process, line.split("; open ")[1].split()[0]
    finally:
        process.terminate()
        process.wait(timeout=60)
        process.stdout.close()


class Robot:
    """Annotates a rendered image of one person from its truth; it can only click and type."""

    def __init__(self, page: Page, iuv_path: Path) -> None:
        self.page = page
        self.iuv = read_iuv_png(iuv_path)
        self.region = COARSE_OF_PART[self.iuv[..., 0]].astype(np.uint8)
        self.body = load_body()
        self.views = {}
        self.confirmed = 0

    def say_name(self, name: str) -> None:
        self.page.wait_for("document.querySelector('#name-dialog[open]') !== null")
        self.page.evaluate("document.getElementById('name-input').focus()")
        for letter in name:
            self.page.press(letter)
        self.page.press("Enter")
        self.page.wait_for("photo !== null && photo.image !== undefined")

    def at(self, xy: np.ndarray) -> np.ndarray:
        """(P, 2) image px -> places on the screen."""
        left, top, x, y, scale = self.page.evaluate(
            "(() => { const f = $('photo').getBoundingClientRect();"
            " return [f.left, f.top, zoom.x, zoom.y, zoom.scale]; })()"
        )
        return np.asarray(xy, float) * scale + (left + x, top + y)

    def draw_box(self) -> None:
        rows, columns = np.nonzero(self.region)
        corners = [(columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)]
        first, last = self.at(np.array(corners)).tolist()
        self.page.drag([first, [(a + b) / 2 for a, b in zip(first, last, strict=True)], last])
        self.page.wait_for("instance !== null && layer !== null")

    def draw_parts(self) -> None:
        """A polygon around every piece of every part, the large parts first."""
        size = np.bincount(self.region.ravel(), minlength=15)
        for number in sorted(range(1, 15), key=lambda k: -size[k]):
            found, _ = cv2.findContours(
                (self.region == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            for contour in found:
                if cv2.contourArea(contour) >= _SMALLEST_PART_PX:
                    self._draw_polygon(number, cv2.approxPolyDP(contour, 0.8, True)[:, 0] + 0.5)

    def _draw_polygon(self, number: int, corners: np.ndarray) -> None:
        version = self.page.evaluate("instance.version")
        self.page.press("1234567890qwer"[number - 1])
        for x, y in self.at(corners):
            self.page.click(x, y)
        if self.page.evaluate("drawing !== null"):  # not closed by a click near the first corner
            self.page.press("Enter")
        self.page.wait_for(f"instance.version > {version}")

    def place_points(self, most: int = 10**6) -> int:
        """Answer the points that are asked for; returns how many were placed."""
        placed = 0
        while placed < most:
            state = self.page.wait_for(
                "instance.finished ? 'finished' : current !== null"
                " && [instance.points.find((p) => p.id === current), instance.doubtful]"
            )
            if state == "finished":
                return placed
            placed += self._answer(*state)
        return placed

    def _answer(self, point: dict[str, Any], doubtful: list[int]) -> int:
        number = point["id"]
        if number in doubtful:
            self.confirmed += 1
            self.page.press("Enter")
            self.page.wait_for(f"!instance.doubtful.includes({number}) || instance.finished")
            return 0
        part, *uv = self.iuv[int(point["y"]), int(point["x"])].tolist()
        if COARSE_OF_PART[part] != point["region"]:
            self.page.press("h")
            self.page.wait_for(f"instance.points.find((p) => p.id === {number}).kind")
            self.page.wait_for(f"current !== {number} || instance.finished")
            return 0
        views = self._views(point["region"])
        shown = views.show(np.array([part]), np.array([uv]) / UV_STEPS)
        best = int(np.where(shown.visible[:, 0], shown.frontal[:, 0], -1).argmax())
        left, top, width = self.page.wait_for(
            f"(() => {{ const image = document.querySelectorAll('.view img')[{best}];"
            " const f = image.getBoundingClientRect();"
            " return image.style.visibility === 'visible' && [f.left, f.top, f.width]; })()"
        )
        x, y = shown.xy[best, 0] * width / VIEW_PX
        self.page.click(round(left + x), round(top + y))
        self.page.wait_for(f"instance.points.find((p) => p.id === {number}).kind === 'placed'")
        self.page.press("ArrowRight")
        self.page.wait_for(f"current !== {number} || instance.finished")
        return 1

    def truth_of(self, person: dict[str, Any]) -> tuple[np.ndarray, ...]:
        """Part, u and v that the image shows at the points of an annotation."""
        grid_xy = np.array([person["dp_x"], person["dp_y"]])
        x, y, width, height = person["bbox"]
        column, row = (grid_xy / 256 * [[width], [height]] + [[x], [y]]).astype(int)
        part, u, v = self.iuv[row, column].T
        return part, u / UV_STEPS, v / UV_STEPS

    def _views(self, region: int) -> RegionViews:
        if region not in self.views:
            self.views[region] = RegionViews(self.body, region)
        return self.views[region]
