"""An HTTP server on loopback that serves bytes, ranges and faults on demand."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server gives, and what it was asked."""

    files: dict[str, bytes]
    cut: int | None = None
    """Break each answer off after this many bytes."""
    ranges: bool = True
    """False: ignore ``Range`` and send the whole."""
    status: int | None = None
    """Answer everything with this error."""
    user: str | None = None
    """``name:password`` that each request must bring, by HTTP's Basic scheme."""
    tag: str = '"one"'
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """(path, Range header) of each request."""
    base: str = ""


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span = self.headers.get("Range")
            site.asked.append((self.path, span))
            body = site.files.get(self.path.lstrip("/"))
            if site.user is not None:
                requested = f"Basic {base64.b64encode(site.user.encode()).decode()}"
                if self.headers.get("Authorization") != requested:
                    self.send_error(401)
                    return
            if site.status is not None or body is None:
                self.send_error(site.status or 404)
                return
            start = 0
            if span and site.ranges and self.headers.get("If-Range", site.tag) == site.tag:
                start = int(span.removeprefix("bytes=").split("-")[0])
                if start >= len(body):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            rest = body[start:]
            self.send_header("Content-Length", str(len(rest)))
            self.send_header("ETag", site.tag)
            self.end_headers()
            self.wfile.write(rest if site.cut is None else rest[: site.cut])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    site.base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
