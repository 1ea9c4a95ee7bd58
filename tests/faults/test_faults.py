"""What stops runs at night, through the command line: a full disk, a corrupt file, a signal. Each goes on to the same bits."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import effdet.cli.train  # noqa: F401  (once, for all starts, which are forks)
from effdet.training import valid
from tests.faults.kill_loop import differences, overrides, start, wait, write_images

EPOCHS = 6
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Arguments = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set, and an uninterrupted run."""
    directory = tmp_path_factory.mktemp("faults")
    write_images(directory / "data")
    assert wait(start(said(directory, "whole"), directory / "whole.txt")) == 0
    return directory


def said(root: Path, name: str, *more: str) -> list[str]:
    return [*overrides("coco", root / "data", root / name, workers=0, epochs=EPOCHS), *more]


def begun(root: Path, name: str, *, saves: int) -> tuple[int, Path]:
    """A run under way: its process, and its log, once it has saved some times."""
    log, last, seen = root / f"{name}.txt", root / name / "checkpoints" / "last.ckpt", set()
    child = start(said(root, name), log)
    while len(seen) < saves:
        assert os.waitpid(child, os.WNOHANG)[0] == 0, log.read_text()
        if last.exists():
            seen.add(last.stat().st_mtime_ns)
        time.sleep(0.002)
    return child, log


def goes_on(root: Path, name: str) -> None:
    """The same overrides again end as the uninterrupted run."""
    log = root / f"{name}.txt"
    assert wait(start(said(root, name), log)) == 0, log.read_text()
    assert differences(root / "whole", root / name) == []


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_all_processes(root: Path, number: int, code: int) -> None:
    name = signal.Signals(number).name
    child, log = begun(root, name, saves=3)
    os.killpg(child, number)
    assert wait(child) == code
    text = log.read_text()
    assert "is saved; to go on, give the same overrides with" in text and "Traceback" not in text
    goes_on(root, name)


def test_a_full_disk(root: Path) -> None:
    """Here a bound on the size of files, which the kernel enforces as it does a full disk: in mid-write."""
    child, log = begun(root, "full", saves=2)
    os.killpg(child, signal.SIGKILL)
    wait(child)
    last = root / "full" / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        assert wait(start(said(root, "full"), log)) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    text = log.read_text()
    assert "error: the disk is full" in text and "as it was is whole; free some space and resume" in text
    assert "Traceback" not in text
    assert last.read_bytes() == before
    goes_on(root, "full")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_corrupt_newest_checkpoint(root: Path, damage: str) -> None:
    child, _ = begun(root, damage, saves=4)
    os.killpg(child, signal.SIGKILL)
    wait(child)
    last = root / damage / "checkpoints" / "last.ckpt"
    if not last.exists():  # killed between the two renames of a save: the one before is there, and nothing to tear
        last = last.with_name("last.ckpt.previous")
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes({"cut": content[: len(content) // 2], "flipped": content, "empty": b""}[damage])
    assert not valid(last)
    goes_on(root, damage)
