"""Load on a running server: many clients at once, every tenth request malformed.

    python -m tests.serve.load http://127.0.0.1:8000 FOLDER

sends the images of FOLDER in turn, and tells statuses, latencies and the server's memory.
"""

from __future__ import annotations

import http.client
import io
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from tests.serve.images import png_header

CLIENTS, REQUESTS = 16, 500
TIMEOUT = 120.0
"""Seconds after which a request counts as stuck."""


@dataclass(frozen=True)
class Shot:
    """One request and what came of it."""

    kind: str
    status: int
    """0 where nothing came."""
    seconds: float


@dataclass(frozen=True)
class Load:
    """All of them, and the server's resident memory in bytes after each tenth part."""

    shots: tuple[Shot, ...]
    memory: tuple[int, ...]
    seconds: float

    def statuses(self) -> dict[str, Counter[int]]:
        """By kind of request."""
        found: dict[str, Counter[int]] = {}
        for shot in self.shots:
            found.setdefault(shot.kind, Counter())[shot.status] += 1
        return found


EXPECTED = {"good": 200, "empty": 400, "text": 415, "truncated": 422, "huge": 413, "wrong field": 422}


def fire(url: str, images: Sequence[bytes], *, clients: int = CLIENTS, requests: int = REQUESTS) -> Load:
    """Send `requests` from `clients` threads."""
    address = urlsplit(url).netloc
    bad = _malformed()

    def send(number: int) -> Shot:
        kind, field, data = "good", "image", images[number % len(images)]
        if number % 10 == 9:
            kind, field, data = bad[number // 10 % len(bad)]
        body = _form(field, data)
        started = time.perf_counter()
        try:
            status, _ = _request(address, "POST", "/predict", body)
        except OSError:
            status = 0
        return Shot(kind, status, time.perf_counter() - started)

    shots: list[Shot] = []
    memory = [_memory(address)]
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        tenth = max(1, requests // 10)
        for number, shot in enumerate(pool.map(send, range(requests)), start=1):
            shots.append(shot)
            if number % tenth == 0:
                memory.append(_memory(address))
    return Load(tuple(shots), tuple(memory), time.perf_counter() - started)


def report(load: Load) -> str:
    """Lines for people."""
    good = sorted(shot.seconds for shot in load.shots if shot.kind == "good")
    bad = sorted(shot.seconds for shot in load.shots if shot.kind != "good")
    lines = [f"{len(load.shots)} requests in {load.seconds:.1f} s, {len(load.shots) / load.seconds:.1f}/s"]
    lines += [f"{kind}: {dict(counts)} (expected {EXPECTED[kind]})" for kind, counts in load.statuses().items()]
    for name, values in (("good", good), ("malformed", bad)):
        lines.append(
            f"{name}: median {np.median(values):.3f} s, 99 % {np.quantile(values, 0.99):.3f} s, most {values[-1]:.3f} s"
        )
    lines.append("memory, MB: " + ", ".join(f"{value / 1e6:.0f}" for value in load.memory))
    return "\n".join(lines)


def _malformed() -> list[tuple[str, str, bytes]]:
    """(kind, field, file)."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    return [
        ("empty", "image", b""),
        ("text", "image", b"this is no image"),
        ("truncated", "image", jpeg[: len(jpeg) // 2]),
        ("huge", "image", png_header(30_000, 30_000)),
        ("wrong field", "image", jpeg),
    ]


def _form(field: str, data: bytes) -> bytes:
    head = f'--boundary\r\nContent-Disposition: form-data; name="{field}"; filename="a"\r\n\r\n'.encode()
    return head + data + b"\r\n--boundary--\r\n"


def _request(address: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT)
    try:
        connection.request(method, path, body, {"Content-Type": "multipart/form-data; boundary=boundary"})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def _memory(address: str) -> int:
    """Resident bytes of the server, as it tells itself."""
    text = _request(address, "GET", "/metrics")[1].decode()
    found = re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)
    return int(float(found[1])) if found else 0


if __name__ == "__main__":
    print(report(fire(sys.argv[1], [path.read_bytes() for path in sorted(Path(sys.argv[2]).glob("*.jpg"))])))
