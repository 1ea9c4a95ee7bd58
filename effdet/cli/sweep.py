"""The jobs of ``-m`` and the table over them.

A job is what a launcher runs, in this process, in another, or on another machine: a process of our own single command, which
writes to the job's folder. ``job.json`` there says what the job is and how it ended: one that is done is not started again, one
that was interrupted goes on. The table says what each setting reached over its seeds, and whether the differences are more than
chance; a setting is what the overrides of a job say without ``seed=``.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import math
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from omegaconf import DictConfig

from effdet.cli.overrides import Override, unquote
from effdet.files import read_json, write_text
from heads.errors import UserError

if TYPE_CHECKING:
    from effdet.report.statistics.bootstrap import Difference, Spread


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
        overrides = tuple(str(override_of(override)) for override in hydra.overrides.task)
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


def override_of(override: str) -> Override:
    """A job's override as Hydra has it, ``data.root='/a b'``, as the override that the shell would give."""
    parsed = OverridesParser.create().parse_override(override)
    value = parsed._value
    if isinstance(value, QuotedString):
        text = unquote(value.text)
    else:
        text = value if isinstance(value, str) else parsed.get_value_string()
    return Override(parsed.get_key_element().lstrip("+"), text)


MAIN = ("AP", "mIoU", "top1", "recall@1")


def metric(directory: Path) -> tuple[str, float] | None:
    """(name, value) of what the task is measured by, of a folder with results: ``task.monitor``, else the first there is.

    Of a task with several (AP and mIoU of driving) their mean, named ``AP+mIoU``.
    """
    if not (directory / "metrics.json").is_file():
        return None
    metrics, names = read_json(directory / "metrics.json"), None
    if (directory / "config.yaml").is_file():
        import yaml

        config = yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))
        names = (config.get("task") or {}).get("monitor")
    names = [names] if isinstance(names, str) else names or [next((name for name in MAIN if name in metrics), "")]
    values = [metrics.get(name) for name in names]
    if not all(isinstance(value, int | float) for value in values):
        return None
    return "+".join(names), sum(values) / len(values)


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


SEED = "seed"


@dataclass(frozen=True)
class SweepJob:
    """One job and what came of it."""

    directory: Path
    record: JobRecord
    metric: str | None
    value: float | None

    @property
    def seed(self) -> str | None:
        """As it was written; None where the overrides name none."""
        found = [text.partition("=")[2] for text in self.record.overrides if text.partition("=")[0] == SEED]
        return found[0] if found else None

    @property
    def setting(self) -> tuple[str, ...]:
        return tuple(text for text in self.record.overrides if text.partition("=")[0] != SEED)

    @property
    def command(self) -> str:
        """For a shell."""
        return shlex.join(["effdet", self.record.command, *self.record.flags, *self.record.overrides])


@dataclass(frozen=True)
class Setting:
    """The jobs that differ only in their seed and have a result."""

    name: str
    """The overrides in which it differs from the other settings."""
    jobs: tuple[SweepJob, ...]
    spread: Spread
    difference: Difference | None = None
    """To the best setting; None for that one, and where nothing can be paired."""
    over: str = ""
    """What the interval of the difference is over: seeds or images."""


@dataclass(frozen=True)
class SweepTable:
    """Jobs by their number, and settings with the best first."""

    jobs: tuple[SweepJob, ...]
    settings: tuple[Setting, ...]
    metric: str | None
    level: float

    @property
    def best(self) -> SweepJob | None:
        """The best job of the best setting."""
        return max(self.settings[0].jobs, key=lambda job: job.value or -math.inf) if self.settings else None

    @property
    def unfinished(self) -> tuple[SweepJob, ...]:
        return tuple(job for job in self.jobs if job.record.state != DONE)


def read_jobs(directory: Path) -> list[SweepJob]:
    """The jobs below `directory`, by their number."""
    jobs = []
    for path in directory.rglob(JOB):
        record = JobRecord.read(path.parent)
        if record is not None:
            found = metric(path.parent) if record.state == DONE else None
            jobs.append(SweepJob(path.parent, record, *(found or (None, None))))
    return sorted(jobs, key=lambda job: (job.record.number, str(job.directory)))


def sweep_table(directory: Path, *, level: float = 0.95) -> SweepTable:
    """Group, rank and pair the jobs below `directory`. Settings measured by another metric than the first job are left out."""
    from effdet.report.statistics.bootstrap import spread

    jobs = read_jobs(directory)
    name = next((job.metric for job in jobs if job.metric is not None), None)
    groups: dict[tuple[str, ...], list[SweepJob]] = {}
    for job in jobs:
        if job.value is not None and job.metric == name:
            groups.setdefault(job.setting, []).append(job)
    common = set.intersection(*(set(job.setting) for job in jobs)) if jobs else set()
    settings = []
    for setting, members in groups.items():
        shown = " ".join(text for text in setting if text not in common) or "(the only setting)"
        settings.append(Setting(shown, tuple(members), spread([job.value or 0.0 for job in members])))
    settings.sort(key=lambda setting: -setting.spread.mean)
    paired = [_paired(settings[0], setting, level) for setting in settings]
    return SweepTable(tuple(jobs), tuple(paired), name, level)


def _paired(best: Setting, other: Setting, level: float) -> Setting:
    """`other` with its difference to `best`: by seed where two are shared, else by image where each has one run."""
    from effdet.report.statistics.bootstrap import paired_by_seed

    if other is best:
        return other
    values = [{job.seed: job.value or 0.0 for job in setting.jobs} for setting in (best, other)]
    if (found := paired_by_seed(values[0], values[1], level=level)) is not None:
        return replace(other, difference=found, over="seeds")
    if len(best.jobs) == len(other.jobs) == 1:
        if (found := _by_image(best.jobs[0], other.jobs[0], level)) is not None:
            return replace(other, difference=found, over="images")
    return other


def _by_image(first: SweepJob, second: SweepJob, level: float) -> Difference | None:
    """The difference that `effdet compare` finds between two runs."""
    from effdet.report.statistics.bootstrap import paired_difference
    from effdet.report.statistics.files import find_statistics, read_statistics, shared_heads

    try:
        one, two = (read_statistics(find_statistics(job.directory)) for job in (first, second))
        heads = shared_heads(one, two, (str(first.directory), str(second.directory)))
    except UserError:  # measured on different splits, or without statistics: nothing to pair
        return None
    for head in heads:
        found = paired_difference(one.statistics[head], two.statistics[head], level=level)
        if first.metric in found:
            return found[first.metric]
    return None


def finish(directory: Path) -> int:
    """Write and print the table of `directory`; 0 where every job has its result."""
    table = sweep_table(directory)
    write_table(table, directory)
    print(to_markdown(table), end="")
    print(directory)
    return 1 if table.unfinished or not table.jobs else 0


def write_table(table: SweepTable, directory: Path) -> None:
    """``sweep.md``, ``sweep.csv`` and ``sweep.json``."""
    write_text(directory / "sweep.md", to_markdown(table))
    write_text(directory / "sweep.csv", to_csv(table))
    write_text(directory / "sweep.json", json.dumps(to_record(table), indent=2, ensure_ascii=False) + "\n")


def to_markdown(table: SweepTable) -> str:
    """Settings with the best first, jobs without a result, and the best job's command."""
    lines = []
    if table.settings:
        header = ("setting", "seeds", table.metric, "± s.d.", "− best", f"{table.level:.0%} interval", "over", "p")
        rows = [_row(setting) for setting in table.settings]
        lines += _aligned([tuple(map(str, header)), *rows])
    for job in table.unfinished:
        error = job.record.error or "stopped before its end; the same command goes on"
        lines += ["", f"{job.record.state}: job {job.record.number}, {' '.join(job.record.overrides)}: {error}"]
        if job.record.state == FAILED:
            lines.append(f"    {job.directory / OUTPUT}")
    if table.best is not None:
        lines += [
            "",
            f"best: {table.best.metric} {table.best.value:.4f}, {table.best.directory}",
            f"    {table.best.command}",
        ]
    elif not table.unfinished:
        lines.append(f"{len(table.jobs)} jobs are done; none has a metric")
    return "\n".join(lines) + "\n"


def _row(setting: Setting) -> tuple[str, ...]:
    spread, found = setting.spread, setting.difference
    deviation = "–" if math.isnan(spread.deviation) else f"{spread.deviation:.4f}"
    start = (setting.name, str(spread.seeds), f"{spread.mean:.4f}", deviation)
    if found is None:
        return (*start, "–", "–", "–", "–")
    return (*start, f"{found.value:+.4f}", f"{found.low:+.4f} … {found.high:+.4f}", setting.over, f"{found.p:.3f}")


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table in Markdown that is also read as plain text."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def to_csv(table: SweepTable) -> str:
    """A line a job, a column an override."""
    keys = list(dict.fromkeys(text.partition("=")[0] for job in table.jobs for text in job.record.overrides))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["job", "state", *keys, "metric", "value", "seconds", "starts", "folder"])
    for job in table.jobs:
        record = job.record
        values = dict(override.split("=", 1) for override in record.overrides)
        own = [values.get(key, "") for key in keys]
        measured = [job.metric or "", "" if job.value is None else job.value]
        writer.writerow([record.number, record.state, *own, *measured, record.seconds, record.starts, job.directory])
    return text.getvalue()


def to_record(table: SweepTable) -> dict[str, Any]:
    """``sweep.json``."""

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    def difference(setting: Setting) -> dict[str, Any] | None:
        if (found := setting.difference) is None:
            return None
        values = {**asdict(found), "difference": found.value}
        return {**{key: finite(value) for key, value in values.items()}, "over": setting.over}

    settings = [
        {
            "setting": setting.name,
            "jobs": [job.record.number for job in setting.jobs],
            "seeds": [job.seed for job in setting.jobs],
            "values": [job.value for job in setting.jobs],
            "mean": setting.spread.mean,
            "deviation": finite(setting.spread.deviation),
            "difference_to_best": difference(setting),
        }
        for setting in table.settings
    ]
    jobs = [
        {**asdict(job.record), "folder": str(job.directory), "metric": job.metric, "value": job.value}
        for job in table.jobs
    ]
    return {
        "metric": table.metric,
        "level": table.level,
        "best": None if table.best is None else {"job": table.best.record.number, "command": table.best.command},
        "settings": settings,
        "jobs": jobs,
    }
