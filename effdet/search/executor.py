"""Runs jobs in parallel, each in a process of its own: the death of one costs that job and no other.

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
from typing import Any

from effdet.search.jobs import RESULT, Job, JobResult, Run, execute, finished, main, one_line
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
        run: what a job is; it is called in the job's own process.
        engine: ``local`` (processes of this machine) or ``ray`` (a Ray cluster, or this machine where there is none).
        on_done: called with each job that has ended, in this process.
        on_start: reported the key of each job that begins.
        threads: CPU threads of each job; None shares this machine's cores out.
        timeout: seconds after which a job is ended as failed; None waits for ever (``local`` alone).
        preload: modules that all jobs need. They are imported once, and jobs start in a moment (``local`` alone).

    Raises:
        UserError: an unknown engine, or Ray is not installed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; all jobs are reported to save and stop first.
    """
    if engine not in ENGINES:
        raise UserError(f"engine={engine}: must be one of {', '.join(ENGINES)}")
    if workers < 1:
        raise UserError(f"workers={workers}: must be at least 1")
    waiting = []
    for job in jobs:
        if (result := finished(job)) is not None:
            on_done(result)
        else:
            waiting.append(job)
    if not waiting:
        return
    if engine == "ray":
        run_on_ray(waiting, run, workers=workers, on_done=on_done, on_start=on_start, threads=threads)
        return
    run_locally(
        waiting,
        run,
        workers=workers,
        on_done=on_done,
        on_start=on_start,
        threads=threads,
        timeout=timeout,
        preload=preload,
    )


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


def run_on_ray(
    jobs: Sequence[Job],
    run: Run,
    *,
    workers: int,
    on_done: Callable[[JobResult], None],
    on_start: Callable[[str], None],
    threads: int | None = None,
) -> None:
    """See :func:`effdet.search.executor.run_jobs`."""
    ray = _ray()
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(log_to_driver=False, configure_logging=False)
    try:
        # A retry would train a candidate twice that crashes the machine.
        task = ray.remote(num_cpus=threads or 1, max_retries=0, max_calls=1)(execute)
        queue, running = list(jobs), dict[Any, Job]()
        try:
            while queue or running:
                while queue and len(running) < workers:
                    job = queue.pop(0)
                    on_start(job.key)
                    running[task.remote(job, run, threads or 1)] = job
                (done,), _ = ray.wait(list(running), num_returns=1)
                on_done(_ray_result(ray, done, running.pop(done)))
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
    finally:
        if started_here:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError:
        raise UserError("engine=ray: Ray is not installed; pip install 'effdet-lightning[ray]'") from None
    return ray


def _ray_result(ray: Any, reference: Any, job: Job) -> JobResult:
    try:
        ray.get(reference)
    except ray.exceptions.RayError as error:  # the worker died: out of memory, a signal, its machine
        return finished(job) or JobResult(job.key, False, {}, one_line(error))
    return finished(job) or JobResult(job.key, False, {}, "ended without a result; is its folder on a shared disk?")
