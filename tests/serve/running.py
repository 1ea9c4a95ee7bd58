"""A server in a process of its own, as a user starts it."""

from __future__ import annotations

import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

START = """
import sys
from effdet.inference import Predictor
from tests.evaluation_fakes import FakeModel
import effdet.cli.export as serve
serve.open_predictor = lambda config, score: Predictor(FakeModel(), batch_size=config.batch_size)
from effdet.cli.app import main
sys.exit(main(["serve", "model=stand-in", "port=0", *sys.argv[1:]]))
"""
"""The command with a stand-in model."""


@contextmanager
def server(*overrides: str, command: list[str] | None = None, patience: float = 120) -> Iterator[str]:
    """The URL of a server, which is stopped (by Ctrl-C, in good order) in the end."""
    process = subprocess.Popen(
        [*(command or [sys.executable, "-c", START]), *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    try:
        assert process.stdout is not None
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and process.poll() is None:
            if select.select([process.stdout], [], [], 1)[0]:
                said.append(process.stdout.readline())
                if found := re.match(r"(http://\S+)", said[-1]):
                    yield found[1]
                    assert process.poll() is None, "the server died"
                    return
        raise AssertionError(f"no server within {patience} s: {''.join(said)}")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
