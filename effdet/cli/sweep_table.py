"""The table over a sweep's jobs: what each setting reached over its seeds, and whether the differences are more than chance.

A setting is what the overrides of a job say without ``seed=``. Written beside the jobs as ``sweep.md``, ``sweep.csv`` (a line
a job) and ``sweep.json``.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from effdet.cli.job import DONE, FAILED, JOB, OUTPUT, JobRecord, metric

if TYPE_CHECKING:
    from effdet.report.statistics.bootstrap import Difference, Spread

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
    """The jobs that differ in their seed alone and have a result."""

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
        return Setting(other.name, other.jobs, other.spread, found, "seeds")
    if len(best.jobs) == len(other.jobs) == 1:
        if (found := _by_image(best.jobs[0], other.jobs[0], level)) is not None:
            return Setting(other.name, other.jobs, other.spread, found, "images")
    return other


def _by_image(first: SweepJob, second: SweepJob, level: float) -> Difference | None:
    """The difference that `effdet compare` finds between two runs."""
    from effdet.report.statistics.bootstrap import paired_difference
    from effdet.report.statistics.files import find_statistics, read_statistics, shared_heads
    from heads.errors import UserError

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
    from effdet.files import write_text

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
        values = {key: value for key, _, value in (override.partition("=") for override in job.record.overrides)}
        own = [values.get(key, "") for key in keys]
        record = job.record
        writer.writerow(
            [record.number, record.state, *own, job.metric or "", "" if job.value is None else job.value, record.seconds,
             record.starts, job.directory]
        )  # fmt: skip
    return text.getvalue()


def to_record(table: SweepTable) -> dict[str, Any]:
    """``sweep.json``."""

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    settings = [
        {
            "setting": setting.name,
            "jobs": [job.record.number for job in setting.jobs],
            "seeds": [job.seed for job in setting.jobs],
            "values": [job.value for job in setting.jobs],
            "mean": setting.spread.mean,
            "deviation": finite(setting.spread.deviation),
            "difference_to_best": None
            if (found := setting.difference) is None
            else {key: finite(value) for key, value in {**asdict(found), "difference": found.value}.items()}
            | {"over": setting.over},
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
