"""Jobs as processes of this machine, forked from a server that has imported what they all need."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from effdet.search.jobs import RESULT, Job, JobResult, Run, finished, main

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has none
GRACE = 60.0
"""Seconds that jobs have to save and stop after Ctrl-C or SIGTERM."""


@dataclass
class _Running:
    job: Job
    process: BaseProcess
    started: float


def run_locally(
    jobs: Sequence[Job],
    run: Run,
    *,
    workers: int,
    on_done: Callable[[JobResult], None],
    on_start: Callable[[str], None],
    threads: int | None = None,
    timeout: float | None = None,
    preload: Sequence[str] = (),
) -> None:
    """See :func:`effdet.search.executor.run_jobs`."""
    threads = threads or max(1, _cores() // workers)
    context = _context(preload)
    queue, running = list(jobs), list[_Running]()
    with _stopped_by_sigterm():
        try:
            while queue or running:
                while queue and len(running) < workers:
                    job = queue.pop(0)
                    on_start(job.key)
                    # No daemon: it has loader processes of its own.
                    process = context.Process(target=main, args=(job, run, threads), name=job.key, daemon=False)
                    process.start()
                    running.append(_Running(job, process, time.monotonic()))
                for ended in _wait(running, timeout):
                    running.remove(ended)
                    on_done(_result(ended, timeout))
        finally:
            _end(running)


def _context(preload: Sequence[str]) -> Any:
    """A context whose server, where the system has one, has imported `preload`."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["effdet.search.jobs", *preload])
    return context


def _wait(running: list[_Running], timeout: float | None) -> list[_Running]:
    """Those that have ended, at least one of them by itself or by `timeout`."""
    patience = None
    if timeout is not None:
        patience = max(0.0, min(one.started for one in running) + timeout - time.monotonic())
    connection.wait([one.process.sentinel for one in running], patience)
    late = [] if timeout is None else [one for one in running if time.monotonic() - one.started >= timeout]
    for one in late:
        _signal(one.process, _KILL)
        one.process.join()
    return [one for one in running if not one.process.is_alive()]


def _result(ended: _Running, timeout: float | None) -> JobResult:
    """What the process wrote; where it could write nothing, what killed it."""
    ended.process.join()
    _signal(ended.process, _KILL)  # loader processes that it may have left behind
    if (result := finished(ended.job)) is not None:
        return result
    seconds = time.monotonic() - ended.started
    code = ended.process.exitcode or 0
    if timeout is not None and seconds >= timeout:
        error = f"took longer than {timeout:g} seconds"
    elif code == -_KILL:
        error = "killed by SIGKILL (the system does this when memory runs out)"
    elif code < 0 or code > 128:  # 128 + N: it heard the signal and saved itself first
        error = f"stopped by {signal.Signals(-code if code < 0 else code - 128).name}"
    else:
        error = f"ended with exit code {code} and no {RESULT}"
    return JobResult(ended.job.key, False, {}, error, seconds)


def _end(running: list[_Running]) -> None:
    """Tell all to save and stop; end those that take too long."""
    for one in running:
        _signal(one.process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for one in running:
        # A second Ctrl-C is impatience: the files are safe at any instant.
        with contextlib.suppress(KeyboardInterrupt):
            one.process.join(max(0.0, deadline - time.monotonic()))
        _signal(one.process, _KILL)
        one.process.join()


def _signal(process: BaseProcess, number: int) -> None:
    """To the process and all that it started; each job leads a group of its own."""
    if process.pid is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        elif process.is_alive():
            process.kill()
    if process.is_alive():  # it may not have become a leader yet
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
