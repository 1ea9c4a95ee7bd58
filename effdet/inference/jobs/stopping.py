"""Ends of a job: what was done is written whatever ends it, and a second signal does not cut that short."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM: like Ctrl-C, with the exit code that shells report for it."""

    exit_code = 128 + signal.SIGTERM


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within it, SIGTERM ends the job as Ctrl-C does: by an exception that nobody takes for an error."""
    with _handling({signal.SIGTERM: _terminate}):
        yield


@contextmanager
def always(*steps: Callable[[], Any]) -> Iterator[None]:
    """Runs each of `steps` after the block, whatever ended it; signals wait until they are done.

    What a step raises is raised after the last one, or printed where the block ended with an error of its own.
    """
    try:
        yield
    except BaseException:
        for error in _run(steps):
            print(f"warning: {error}", file=sys.stderr)
        raise
    errors = _run(steps)
    if errors:
        raise errors[0]


def _run(steps: tuple[Callable[[], Any], ...]) -> list[Exception]:
    errors: list[Exception] = []
    with _handling({signal.SIGINT: _ignore, signal.SIGTERM: _ignore}):
        for step in steps:
            try:
                step()
            except Exception as error:
                errors.append(error)
    return errors


@contextmanager
def _handling(handlers: dict[int, Callable[[int, FrameType | None], Any]]) -> Iterator[None]:
    """Other handlers within the block; in another thread than the first, where there can be none, the old ones stay."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _ignore(number: int, frame: FrameType | None) -> None:
    """The job is at its end already."""
