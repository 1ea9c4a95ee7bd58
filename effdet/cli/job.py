"""One job of ``-m``: what a launcher runs, in this process, in another, or on another machine.

Each job is a process of our own single command, which writes to the job's folder. ``job.json`` there says what the job is and
how it ended: one that is done is not started again, one that was interrupted goes on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from omegaconf import DictConfig

from effdet.cli.overrides import Override, unquote
from effdet.files import read_json, write_text
from heads.errors import UserError

JOB = "job.json"
OUTPUT = "output.log"
"""What the job's process prints."""
DONE, FAILED, STARTED = "done", "failed", "started"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobRecord:
    """``job.json``."""

    command: str
    overrides: tuple[str, ...]
    flags: tuple[str, ...] = ()
    """In front of the overrides, ``--config-dir DIR``."""
    number: int = 0
    """Hydra's, by the order in which the sweeper made the jobs."""
    state: str = STARTED
    """done, failed, or started: it runs, or was killed."""
    starts: int = 0
    """How often a process was started for it."""
    seconds: float = 0.0
    """Of all its processes that ended by themselves."""
    exit_code: int | None = None
    error: str | None = None
    """The last line that a failed process printed."""

    @classmethod
    def read(cls, directory: Path) -> JobRecord | None:
        """The record of a job's folder; None where no job was started."""
        if not (directory / JOB).is_file():
            return None
        values = read_json(directory / JOB)
        return cls(**{**values, "overrides": tuple(values["overrides"]), "flags": tuple(values["flags"])})

    def write(self, directory: Path) -> JobRecord:
        write_text(directory / JOB, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")
        return self


@dataclass(frozen=True)
class Job:
    """Hydra's task function. Launchers pickle it; what differs between jobs is in Hydra's configuration.

    Args:
        command: of ``effdet``.
        flags: in front of the overrides, ``--config-dir DIR``.
        output: the key that names the command's folder.
        resume: overrides with which the command goes on where it was interrupted.
        keep_going: a job that fails is recorded and no error; else the sweeper gets the exception.
        program: what is started.
    """

    command: str
    flags: tuple[str, ...]
    output: str
    resume: tuple[str, ...] = ()
    keep_going: bool = True
    program: tuple[str, ...] = (sys.executable, "-m", "effdet")

    def __call__(self, config: DictConfig) -> float | None:
        """Run the job, or take its result from its folder; returns the metric that sweepers optimise."""
        hydra = HydraConfig.get()
        directory = Path(hydra.runtime.output_dir)
        overrides = tuple(str(word_of(override)) for override in hydra.overrides.task)
        with only_one(directory) as held:
            record = self.run(directory, overrides, number=int(hydra.job.num), held=held)
        if record.state != DONE and not self.keep_going:
            raise UserError(f"{directory}: {record.error}")
        found = metric(directory)
        return None if found is None else found[1]

    def run(
        self, directory: Path, overrides: tuple[str, ...], *, number: int = 0, held: tuple[int, ...] = ()
    ) -> JobRecord:
        """Start the process where the folder holds no result yet, and wait for it. It inherits the file handles `held`.

        Raises:
            UserError: the folder holds another job.
        """
        record = JobRecord.read(directory) or JobRecord(self.command, overrides, self.flags, number)
        if (record.command, record.overrides, record.flags) != (self.command, overrides, self.flags):
            other = f"{record.command} {' '.join(record.overrides)}"
            raise UserError(f"{directory}: holds another job, {other}; name another folder by hydra.sweep.dir=DIR")
        if record.state == DONE:
            log.info("%s: has its result", directory)
            return record
        record = replace(record, state=STARTED, starts=record.starts + 1, exit_code=None, error=None).write(directory)
        began = time.monotonic()
        command = [*self.program, *self.arguments(directory, overrides)]
        code, last = _process(command, directory / OUTPUT, held)
        seconds = record.seconds + time.monotonic() - began
        record = replace(record, seconds=round(seconds, 1), exit_code=code, state=DONE if code == 0 else FAILED)
        if code != 0:
            record = replace(record, error=last or f"ended with exit code {code}")
        log.info("%s: %s", directory, "done" if code == 0 else f"failed: {record.error}")
        return record.write(directory)

    def arguments(self, directory: Path, overrides: tuple[str, ...]) -> list[str]:
        """Those of the process, behind ``effdet``."""
        return [self.command, *self.flags, *overrides, f"{self.output}={directory}", *self.resume]


def is_sweep(directory: Path) -> bool:
    """Whether `directory` holds jobs of ``-m``, and is none itself."""
    return directory.is_dir() and not (directory / JOB).is_file() and next(directory.rglob(JOB), None) is not None


def word_of(override: str) -> Override:
    """A job's override as Hydra has it, ``data.root='/a b'``, as the override that the shell would give."""
    parsed = OverridesParser.create().parse_override(override)
    value = parsed._value
    if isinstance(value, QuotedString):
        text = unquote(value.text)
    else:
        text = value if isinstance(value, str) else parsed.get_value_string()
    return Override(parsed.get_key_element().lstrip("+"), text)


def metric(directory: Path) -> tuple[str, float] | None:
    """(name, value) of what the task is measured by, of a folder with results: ``task.monitor``, else the first there is.

    Of a task with several (AP and mIoU of driving) their mean, named ``AP+mIoU``.
    """
    if not (directory / "metrics.json").is_file():
        return None
    metrics = read_json(directory / "metrics.json")
    names = _monitored(directory) or [next((name for name in MAIN if name in metrics), "")]
    values = [metrics.get(name) for name in names]
    if not all(isinstance(value, int | float) for value in values):
        return None
    return "+".join(names), sum(values) / len(values)


MAIN = ("AP", "mIoU", "top1", "recall@1")


def _monitored(directory: Path) -> list[str]:
    if not (directory / "config.yaml").is_file():
        return []
    import yaml

    config = yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))
    monitor = (config.get("task") or {}).get("monitor") or []
    return [monitor] if isinstance(monitor, str) else list(monitor)


def _process(command: list[str], output: Path, held: tuple[int, ...]) -> tuple[int, str]:
    """Run `command` with its lines appended to `output`; (exit code, the last line that it printed)."""
    with output.open("ab") as file:
        start = file.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, pass_fds=held
        )
        try:
            process.wait()
        except BaseException as stop:
            # Ctrl-C reaches the job by itself, as a process of the terminal; other signals are passed on. It then saves its
            # run, which is waited for.
            if not isinstance(stop, KeyboardInterrupt) or getattr(stop, "exit_code", 130) != 130:
                process.terminate()
            process.wait()
            raise
    with output.open("rb") as file:
        file.seek(start)
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    return process.returncode, next((line for line in reversed(lines) if line), "")


@contextlib.contextmanager
def only_one(directory: Path) -> Iterator[tuple[int, ...]]:
    """Within the block no other process runs the job of `directory`; waits for one that does.

    The job's process inherits the lock by the handle that is given: one that outlives its killed launcher is waited for too.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / ".job.lock"
    if sys.platform == "win32":
        from filelock import FileLock

        with FileLock(path):
            yield ()
        return
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process runs this job; waiting for it", directory)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield (handle,)
    finally:
        os.close(handle)


def interrupted_by(number: int, frame: object) -> None:
    """A signal's handler: stops as Ctrl-C does, with an exit code of its own."""
    stop = KeyboardInterrupt()
    stop.exit_code = 128 + number  # type: ignore[attr-defined]
    raise stop
