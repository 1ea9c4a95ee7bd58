"""Runs jobs in parallel, each in a process of its own: the death of one costs that job and no other.

A job is a command's words and the folder that it writes to. Jobs with a result in their folder are not run again; those
that were cut short are started with the same words, and go on from their own checkpoints (``resume=auto`` is one of the
words of a training). Results are handed on in the order in which jobs end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from effdet.search.jobs import Job, JobResult, Run, finished
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
        on_done: told of each job that has ended, in this process.
        on_start: told the key of each job that begins.
        threads: CPU threads of each job; None shares this machine's cores out.
        timeout: seconds after which a job is ended as failed; None waits for ever (``local`` alone).
        preload: modules that all jobs need. They are imported once, and jobs start in a moment (``local`` alone).

    Raises:
        UserError: an unknown engine, or Ray is not installed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; all jobs are told to save and stop first.
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
        from effdet.search.ray_engine import run_on_ray

        run_on_ray(waiting, run, workers=workers, on_done=on_done, on_start=on_start, threads=threads)
        return
    from effdet.search.local_engine import run_locally

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
