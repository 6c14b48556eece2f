"""A headless Chromium that tests click and type in, by its DevTools protocol."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
_PATIENCE_SECONDS = 60
_KEY_CODES = {"Enter": 13, "Escape": 27, "Backspace": 8, "Delete": 46, " ": 32}


# What the browser answers where another page replaces the one that was asked.
_REPLACED = ("navigated or closed", "context was destroyed", "Cannot find context")


class PageReplaced(Exception):
    """The page that was asked has gone; ask again."""


class Page:
    """One page of the browser."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._number = 0
        self.errors: list[str] = []

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call the DevTools protocol; what the page throws meanwhile is kept in ``errors``."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": params}
        self._socket.send(json.dumps(request))
        while True:
            reply = json.loads(self._socket.recv())
            if reply.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(reply["params"]["exceptionDetails"])[:500])
            if reply.get("id") == self._number:
                if any(text in str(reply.get("error")) for text in _REPLACED):
                    raise PageReplaced(reply["error"])
                assert "error" not in reply, (method, reply["error"])
                return reply["result"]

    def evaluate(self, script: str) -> Any:
        """The value of an expression of the page."""
        result = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, (script, result["exceptionDetails"])
        return result["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """The value of an expression, as soon as it is true."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with suppress(PageReplaced):
                if value := self.evaluate(script):
                    return value
            assert time.monotonic() < end, f"never true: {script}"
            assert not self.errors, self.errors
            time.sleep(0.02)

    def open(self, address: str, width: int = 1280, height: int = 800, *, dark: bool = False):
        """Show a page in a window of this size."""
        self.send("Page.enable")
        self.send("Runtime.enable")
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[theme])
        self.resize(width, height)
        self.send("Page.navigate", url=address)

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)

    def mouse(self, kind: str, x: float, y: float, button: str = "left") -> None:
        """``kind``: Pressed, Released or Moved."""
        event = {"type": f"mouse{kind}", "x": x, "y": y, "button": button, "clickCount": 1}
        self.send("Input.dispatchMouseEvent", **event)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button."""
        self.mouse("Pressed", x, y)
        self.mouse("Released", x, y)

    def drag(self, places: list[tuple[float, float]]) -> None:
        """Press at the first place, move along the others, release at the last."""
        self.mouse("Pressed", *places[0])
        for place in places[1:]:
            self.mouse("Moved", *place)
        self.mouse("Released", *places[-1])

    def press(self, key: str) -> None:
        """Press and release a key."""
        code = _KEY_CODES.get(key, ord(key.upper()) if len(key) == 1 else 0)
        event = {"key": key, "windowsVirtualKeyCode": code}
        if len(key) == 1 or key == "Enter":
            event["text"] = "\r" if key == "Enter" else key
        self.send("Input.dispatchKeyEvent", type="keyDown", **event)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path) -> None:
        """Write what is shown as PNG."""
        data = self.send("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def open_browser(folder: Path) -> Iterator[Page]:
    """A page of a new browser, which keeps its files in ``folder``."""
    import websocket

    command = [BROWSER, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    socket = None
    try:
        lines = iter(process.stderr.readline, "")
        match = next(filter(None, (re.search(r"ws://([^/]+)/", line) for line in lines)))
        socket = websocket.create_connection(
            _page_address(match[1]), suppress_origin=True, timeout=_PATIENCE_SECONDS
        )
        yield Page(socket)
    finally:
        if socket is not None:
            socket.close()
        process.terminate()
        process.wait(timeout=30)
        process.stderr.close()


def _page_address(host: str) -> str:
    from urllib.request import ProxyHandler, build_opener

    with build_opener(ProxyHandler({})).open(f"http://{host}/json/list", timeout=30) as reply:
        pages = json.loads(reply.read())
    return next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
