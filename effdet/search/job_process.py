"""What happens inside a job's process: the command runs, and how it ended is written to the job's folder."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing import connection, parent_process

from effdet.search.executor import LOG, RESULT, Job, Run, numbers


def main(job: Job, run: Run, threads: int) -> None:
    """Entry of a process of its own."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C of the terminal goes to the first process, which tells us; and a kill reaches our children
    _die_with_parent()
    log = _log_file(job)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        sys.exit(execute(job, run, threads))
    except BaseException as error:  # a training that was told to stop, and saved itself first
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
        metrics = numbers(run(job.words))
    except Exception as caught:  # whatever goes wrong in a candidate is that candidate's result
        traceback.print_exc()
        error, nonfinite = one_line(caught), isinstance(caught, FloatingPointError)
    result = {
        "ok": not error,
        "metrics": metrics,
        "error": error,
        "seconds": time.monotonic() - started,
        "nonfinite": nonfinite,
    }
    write_json(job.run_dir / RESULT, result)
    return int(bool(error))


def one_line(error: BaseException) -> str:
    """Type and text, on one line of moderate length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


def _log_file(job: Job) -> int:
    job.run_dir.mkdir(parents=True, exist_ok=True)
    return os.open(job.run_dir / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


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
