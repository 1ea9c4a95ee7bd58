"""The trainings of a study, and a job: one command in a separate process, whose result is written to the job's folder."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from effdet.model import Architecture, ModelSpec

RESULT = "result.json"
"""In a job's folder: how it ended. Written last, whole or not at all."""
LOG = "log.txt"
"""In a job's folder: what it printed."""

Run = Callable[[tuple[str, ...]], Mapping[str, Any]]
"""Runs a command's overrides and gives its metrics. A function of a module: processes find it by name."""


@dataclass(frozen=True)
class Trainings:
    """What all trainings of a study share, as the layer above describes them: only that layer knows the configuration."""

    base: Callable[[], Architecture]
    """The architecture that the study starts from.

    Raises:
        UserError: none was chosen that can be scaled.
    """
    published: Callable[[float], Architecture]
    """The architecture of a phi by published scaling, at the input size of the task."""
    spec: Callable[[Architecture], ModelSpec]
    """The whole model of an architecture: with the heads, options and number of classes of the study."""
    overrides: Callable[[Mapping[str, object]], tuple[str, ...]]
    """Dotted keys and values -> the arguments of a training that has them beside what the user wrote."""
    described: Any
    """What the user wrote for the trainings, as plain values: it decides their results."""
    run: Run
    """Trains by arguments and returns the metrics of the last evaluation; a function of a module."""
    task: str
    metric: str
    """The chief metric of the task."""
    seed: int
    device: str
    progress: bool = True
    preload: tuple[str, ...] = ()
    """Modules that every training imports."""


@dataclass(frozen=True)
class Job:
    """One command to run."""

    key: str
    overrides: tuple[str, ...]
    run_dir: Path
    """Only of this job. With the engine ``ray`` it must be on a disk that all machines see."""


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


def main(job: Job, run: Run, threads: int) -> None:
    """Entry of a job's process."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C of the terminal goes to the first process, which tells us; and a kill reaches our children
    _die_with_parent()
    job.run_dir.mkdir(parents=True, exist_ok=True)
    log = os.open(job.run_dir / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        sys.exit(execute(job, run, threads))
    except BaseException as error:  # a training that was told to stop, and saved its state first
        if (code := getattr(error, "exit_code", None)) is None:
            raise
        print(error)
        sys.exit(code)


def execute(job: Job, run: Run, threads: int) -> int:
    """Run `job` in this process and write its result; gives an exit code, 0 where the command succeeded."""
    import torch

    from effdet.evaluation.results import write_json

    torch.set_num_threads(threads)
    started = time.monotonic()
    metrics, error, nonfinite = {}, "", False
    try:
        metrics = numbers(run(job.overrides))
    except Exception as caught:  # whatever goes wrong in a candidate is that candidate's result
        traceback.print_exc()
        error, nonfinite = one_line(caught), isinstance(caught, FloatingPointError)
    result = JobResult(job.key, not error, metrics, error, time.monotonic() - started, nonfinite)
    write_json(job.run_dir / RESULT, {name: value for name, value in asdict(result).items() if name != "key"})
    return int(bool(error))


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


def one_line(error: BaseException) -> str:
    """Type and text, on one line of moderate length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


def _die_with_parent() -> None:
    """A search that is killed outright leaves no trainings behind: two would soon write to one folder."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
