"""Ends of a job: what was done is written whatever ends it, and a second signal does not cut that short."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from heads.structures import UserError


class Incomplete(UserError):
    """A part of what was asked for is missing; the rest was written."""

    exit_code = 1


class Stopped(BaseException):
    """A signal ended the job, which has written what was done."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum


class Terminated(KeyboardInterrupt):
    """SIGTERM: like Ctrl-C, with the exit code that shells report for it."""

    exit_code = 128 + signal.SIGTERM


class _State:
    """Of the signals of this process."""

    whole = 0
    """Blocks under way that are not to be cut short."""
    waiting: type[KeyboardInterrupt] | None = None
    """What came meanwhile."""


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within it, SIGTERM ends the job as Ctrl-C does: by an exception that nobody takes for an error."""
    with _handling({signal.SIGTERM: _stop, signal.SIGINT: _stop}):
        yield


@contextmanager
def deferring_signals() -> Iterator[None]:
    """A signal that comes within the block ends the job behind it: what belongs together is written together."""
    _State.whole += 1
    try:
        yield
    finally:
        _State.whole -= 1
    if not _State.whole and (stop := _State.waiting) is not None:
        _State.waiting = None
        raise stop


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


def _stop(number: int, frame: FrameType | None) -> None:
    stop = Terminated if number == signal.SIGTERM else KeyboardInterrupt
    if _State.whole:
        _State.waiting = stop
    else:
        raise stop


def _ignore(number: int, frame: FrameType | None) -> None:
    """The job is at its end already."""
