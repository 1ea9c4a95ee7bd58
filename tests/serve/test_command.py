"""``effdet serve`` as a process: its output, its errors, load."""

import json
import socket
import urllib.request
from pathlib import Path

import pytest

from effdet.cli import app
from tests.evaluation_fakes import FakeSet
from tests.serve.images import encoded
from tests.serve.load import EXPECTED, fire, report
from tests.serve.running import server

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_load():
    """16 clients, 500 requests, every tenth malformed: nothing dies or sticks, statuses are right, memory is flat."""
    images = [encoded(FakeSet(12).image(index).repeat(10, 0).repeat(10, 1), "JPEG") for index in range(12)]
    with server() as url:
        load = fire(url, images)
        print(report(load))
        with urllib.request.urlopen(f"{url}/health", timeout=30) as reply:
            assert json.load(reply)["waiting"] == 0
    assert {kind: set(counts) for kind, counts in load.statuses().items()} == {k: {v} for k, v in EXPECTED.items()}
    assert load.memory[-1] < 1.1 * load.memory[3]


def test_a_taken_port_is_one_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.main(["serve", "model=x", f"port={port}"]) == app.MISUSED
    assert capsys.readouterr().err.startswith(f"error: host=127.0.0.1 port={port}: cannot be listened on")


def test_overrides_are_checked(capsys):
    assert app.main(["serve"]) == app.MISUSED
    assert app.main(["serve", "model=x", "port=70000"]) == app.MISUSED
    assert app.main(["serve", "model=x", "host=no such host"]) == app.MISUSED
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "model=" in lines[0] and "65535" in lines[1] and "cannot be listened on" in lines[2]
