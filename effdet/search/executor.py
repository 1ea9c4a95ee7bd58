"""Runs jobs in parallel, each in a separate process: the death of one costs that job and no other.

A job is a command's overrides and the folder that it writes to. Jobs with a result in their folder are not run again; those
that were cut short are started with the same overrides, and go on from their own checkpoints (``resume=auto`` is one of the
overrides of a training). Results are handed on in the order in which jobs end.

`local`: processes of this machine, forked from a server that has imported what they all need. `ray`: tasks of a Ray cluster
(https://docs.ray.io), on more than one machine. Ray finds the cluster by its own ways (``RAY_ADDRESS``, ``ray start``), and
makes one of this machine where there is none; all machines must see the jobs' folders and the data under the same paths, and
have this project installed.
"""

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
from typing import Any, Protocol

from effdet.search.jobs import RESULT, Job, JobResult, Run, execute, finished, main, one_line
from effdet.workers import cores
from heads.structures import UserError

ENGINES = ("local", "ray")


def run_jobs(
    jobs: Sequence[Job],
    run: Run,
    *,
    workers: int,
    engine: str = "local",
    on_done: Callable[[JobResult], None],
    on_start: Callable[[str], None] = lambda key: None,
    threads: int | None = None,
    timeout: float | None = None,
    preload: Sequence[str] = (),
) -> None:
    """Run all `jobs`, `workers` of them at a time; returns when all have ended.

    Args:
        engine: ``local`` (processes of this machine) or ``ray`` (a Ray cluster, or this machine where there is none).
        on_done: called with each job that has ended, in this process.
        on_start: called with the key of each job that begins.
        threads: CPU threads of each job; None shares this machine's cores out.
        timeout: seconds after which a job is ended as failed; None waits for ever (``local`` only).
        preload: modules that all jobs need. They are imported once, and jobs start in a moment (``local`` only).

    Raises:
        UserError: an unknown engine, or Ray is not installed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; all jobs are told to save and stop first.
    """
    if engine not in ENGINES:
        raise UserError(f"engine={engine}: must be one of {', '.join(ENGINES)}")
    if workers < 1:
        raise UserError(f"workers={workers}: must be at least 1")
    queue = []
    for job in jobs:
        if (result := finished(job)) is not None:
            on_done(result)
        else:
            queue.append(job)
    if not queue:
        return
    if engine == "ray":
        opened = _on_ray(run, threads or 1)
    else:
        opened = _locally(run, threads or max(1, cores() // workers), timeout, preload)
    with opened as processes:
        running = 0
        while queue or running:
            while queue and running < workers:
                job = queue.pop(0)
                on_start(job.key)
                processes.start(job)
                running += 1
            for result in processes.wait():
                running -= 1
                on_done(result)


class _Processes(Protocol):
    """The jobs that run."""

    def start(self, job: Job) -> None: ...

    def wait(self) -> Iterator[JobResult]:
        """The results of those that have ended, at least one; a job whose result is given no longer runs."""
        ...


_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has none
GRACE = 60.0
"""Seconds that jobs have to save and stop after Ctrl-C or SIGTERM."""


@dataclass
class _Running:
    job: Job
    process: BaseProcess
    started: float


@contextlib.contextmanager
def _locally(run: Run, threads: int, timeout: float | None, preload: Sequence[str]) -> Iterator[_Processes]:
    processes = _LocalProcesses(run, threads, timeout, preload)
    with _stopped_by_sigterm():
        try:
            yield processes
        finally:
            processes.end()


class _LocalProcesses:
    def __init__(self, run: Run, threads: int, timeout: float | None, preload: Sequence[str]) -> None:
        self.run, self.threads, self.timeout = run, threads, timeout
        self.running: list[_Running] = []
        if "forkserver" in multiprocessing.get_all_start_methods():
            self.context: Any = multiprocessing.get_context("forkserver")
            self.context.set_forkserver_preload(["effdet.search.jobs", *preload])
        else:
            self.context = multiprocessing.get_context("spawn")

    def start(self, job: Job) -> None:
        # No daemon: it starts loader processes itself.
        process = self.context.Process(target=main, args=(job, self.run, self.threads), name=job.key, daemon=False)
        process.start()
        self.running.append(_Running(job, process, time.monotonic()))

    def wait(self) -> Iterator[JobResult]:
        """Of jobs that end by themselves or by the timeout."""
        patience = None
        if self.timeout is not None:
            patience = max(0.0, min(one.started for one in self.running) + self.timeout - time.monotonic())
        connection.wait([one.process.sentinel for one in self.running], patience)
        for one in self.running:
            if self.timeout is not None and time.monotonic() - one.started >= self.timeout:
                _signal(one.process, _KILL)
                one.process.join()
        for ended in [one for one in self.running if not one.process.is_alive()]:
            self.running.remove(ended)
            yield self._result(ended)

    def _result(self, ended: _Running) -> JobResult:
        """What the process wrote; where it could write nothing, what killed it."""
        ended.process.join()
        _signal(ended.process, _KILL)  # loader processes that it may have left behind
        if (result := finished(ended.job)) is not None:
            return result
        seconds = time.monotonic() - ended.started
        code = ended.process.exitcode or 0
        if self.timeout is not None and seconds >= self.timeout:
            error = f"took longer than {self.timeout:g} seconds"
        elif code == -_KILL:
            error = "killed by SIGKILL (the system does this when memory runs out)"
        elif code < 0 or code > 128:  # 128 + N: it received the signal and saved its state first
            error = f"stopped by {signal.Signals(-code if code < 0 else code - 128).name}"
        else:
            error = f"ended with exit code {code} and no {RESULT}"
        return JobResult(ended.job.key, False, {}, error, seconds)

    def end(self) -> None:
        """Tell all to save and stop; end those that take too long."""
        for one in self.running:
            _signal(one.process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        for one in self.running:
            # After a second Ctrl-C nothing is waited for: the files are valid at any instant.
            with contextlib.suppress(KeyboardInterrupt):
                one.process.join(max(0.0, deadline - time.monotonic()))
            _signal(one.process, _KILL)
            one.process.join()


def _signal(process: BaseProcess, number: int) -> None:
    """To the process and all that it started; each job leads its process group."""
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


@contextlib.contextmanager
def _on_ray(run: Run, threads: int) -> Iterator[_Processes]:
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError:
        raise UserError("engine=ray: Ray is not installed; pip install 'effdet-lightning[ray]'") from None
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(log_to_driver=False, configure_logging=False)
    try:
        tasks = _RayTasks(ray, run, threads)
        try:
            yield tasks
        finally:
            for reference in tasks.running:
                ray.cancel(reference, force=True)
    finally:
        if started_here:
            ray.shutdown()


class _RayTasks:
    def __init__(self, ray: Any, run: Run, threads: int) -> None:
        self.ray, self.run, self.threads = ray, run, threads
        self.running: dict[Any, Job] = {}
        # A retry would train a candidate twice that crashes the machine.
        self.task = ray.remote(num_cpus=threads, max_retries=0, max_calls=1)(execute)

    def start(self, job: Job) -> None:
        self.running[self.task.remote(job, self.run, self.threads)] = job

    def wait(self) -> Iterator[JobResult]:
        (done,), _ = self.ray.wait(list(self.running), num_returns=1)
        job, error = self.running.pop(done), "ended without a result; is its folder on a shared disk?"
        try:
            self.ray.get(done)
        except self.ray.exceptions.RayError as caught:  # the worker died: out of memory, a signal, its machine
            error = one_line(caught)
        yield finished(job) or JobResult(job.key, False, {}, error)
