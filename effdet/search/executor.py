"""Runs jobs in parallel, each in a process of its own: the death of one costs that job and no other.

A job is a command's words and the folder that it writes to. Jobs with a result in their folder are not run again; those
that were cut short are started with the same words, and go on from their own checkpoints (``resume=auto`` is one of the
words of a training). Results are handed on in the order in which jobs end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heads.structures import UserError

ENGINES = ("local", "ray")
RESULT = "result.json"
"""In a job's folder: how it ended. Written last, whole or not at all."""
LOG = "log.txt"
"""In a job's folder: what it printed."""

Run = Callable[[tuple[str, ...]], Mapping[str, Any]]
"""Runs a command's words and gives its metrics. A function of a module: processes find it by name."""


@dataclass(frozen=True)
class Job:
    """One command to run."""

    key: str
    words: tuple[str, ...]
    run_dir: Path
    """Of this job alone. With the engine ``ray`` it must be on a disk that all machines see."""


@dataclass(frozen=True)
class JobResult:
    """How a job ended."""

    key: str
    ok: bool
    metrics: dict[str, float] = field(default_factory=dict)
    """The numbers among what the command gave; those that are not finite are left out."""
    error: str = ""
    """One line, where it is not ok."""
    seconds: float = 0.0
    nonfinite: bool = False
    """It failed for a NaN or an infinity."""


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


def finished(job: Job) -> JobResult | None:
    """The result that lies in the job's folder; None where it has not ended (or nobody could write how it did)."""
    try:
        values = json.loads((job.run_dir / RESULT).read_text(encoding="utf-8"))
        return JobResult(
            job.key, values["ok"], values["metrics"], values["error"], values["seconds"], values["nonfinite"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among `metrics`."""
    return {
        key: float(value)
        for key, value in metrics.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }
