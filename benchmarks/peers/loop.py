"""The process side of a benchmark: answers requests on standard input, a line of JSON each.

Imports nothing but the standard library and numpy, and is found beside the script that runs it: a peer's environment holds
nothing of this project.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TURN = 0.5
"""Seconds that a turn lasts at least: short work is repeated, as in a stream of images, with its data and threads at hand."""


@dataclass
class Work:
    """One prepared case."""

    run: Callable[[], Any]
    """What is timed."""
    answer: Callable[[], dict[str, np.ndarray]] = dict
    """What it computed, to be compared with the other side's; not timed."""


def serve(cases: dict[str, Callable[..., Work]]) -> None:
    """Answers ``prepare``, ``run``, ``answer`` and ``memory`` until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not be taken for a reply
    work: Work | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            match request["do"]:
                case "prepare":
                    work = cases[request["case"]](**request["arguments"])
                    reply: dict[str, Any] = {"memory": memory()}
                case "run":
                    assert work is not None, "prepare comes first"
                    reply = {"seconds": turn(work.run), "memory": memory()}
                case "answer":
                    assert work is not None, "prepare comes first"
                    np.savez(request["path"], allow_pickle=False, **work.answer())
                    reply = {}
                case "memory":
                    reply = {"memory": memory()}
                case unknown:
                    raise ValueError(f"unknown request {unknown!r}")
        except Exception:  # the driver tells, with the traceback, which side failed
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=replies, flush=True)


def turn(run: Callable[[], Any]) -> float:
    """Seconds of one call, the mean over a turn."""
    started, calls, seconds = time.perf_counter(), 0, 0.0
    while seconds < TURN:
        run()
        calls, seconds = calls + 1, time.perf_counter() - started
    return seconds / calls


def memory() -> dict[str, int]:
    """Bytes of this process: resident now, and at its peak."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    rows = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: int(rows[key].split()[0]) * 1024 for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))}
