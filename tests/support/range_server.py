"""A web server on this machine that can be told to fail."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class RangeServer:
    """What the server has and how it behaves."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)  # by path
    stop_after: list[int] = field(default_factory=list)  # bytes of the next answers' bodies
    statuses: list[int] = field(default_factory=list)  # of the next answers, in place of the file
    content_type: str = "application/octet-stream"
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range


class _Handler(BaseHTTPRequestHandler):
    state: RangeServer

    def log_message(self, *_: object) -> None:
        """Nothing on the screen."""

    def do_GET(self) -> None:
        state, span = self.state, self.headers.get("Range")
        state.requests.append((self.path, span))
        content = state.files.get(self.path.lstrip("/"))
        status = state.statuses.pop(0) if state.statuses else 200 if content is not None else 404
        if status != 200 or content is None:
            self.send_error(status)
            return
        tag, start = f'"{hashlib.sha256(content).hexdigest()}"', 0
        if span and state.ranges and self.headers.get("If-Range", tag) == tag:
            start = int(re.match(r"bytes=(\d+)-", span)[1])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", tag)
        self.send_header("Content-Type", state.content_type)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + state.stop_after.pop(0) if state.stop_after else len(content)
        self.wfile.write(content[start:end])


@contextmanager
def range_server() -> Iterator[RangeServer]:
    """The server, running until the block ends."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.state = RangeServer(f"http://127.0.0.1:{server.server_address[1]}/")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield handler.state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
