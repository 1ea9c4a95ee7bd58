"""A run's identity: which folder it writes to, which of its processes this is, what it gives back.

A folder is fresh, unless the user explicitly says otherwise. Lightning starts its processes with the same overrides and with
the environment of the first; torchrun starts all at once, and lends them a key-value store. What only some commands need is
imported in its function: this module is read before every run.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from effdet.cli.overrides import ConfigError, Overrides
from heads.errors import UserError

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class RunDir:
    """A folder to write to."""

    path: Path
    resume_from: Path | None = None
    """The run folder or checkpoint file to go on from; None starts afresh."""
    numbered: bool = False
    """The folder was counted up to, not named by the user: the next number will do as well."""


def holds_run(path: Path) -> bool:
    """Whether a training has written results to `path` (one that failed before its first step has not)."""
    return (path / "metrics.csv").exists() or any((path / CHECKPOINTS).glob("*.ckpt"))


def run_of(model: str) -> Path | None:
    """The run folder that `model` names, by itself or by a checkpoint in it; None where it names none."""
    path = Path(model)
    directory = path.parent.parent if path.parent.name == CHECKPOINTS else path
    return next((found for found in (path, directory) if found.is_dir() and holds_run(found)), None)


def resolve(
    run_dir: str | None, *, resume: str | None, overwrite: bool, prefix: str, root: Path = Path("runs")
) -> RunDir:
    """Find the folder. Nothing is written, removed or made yet.

    Args:
        run_dir: the user's choice; None takes the next free ``root/prefix-N``.
        resume: None, ``"auto"`` or the path of a run folder or checkpoint.
        overwrite: what `run_dir` holds may go.
        prefix: of the default folder, ``TASK-DATA-BACKBONE``.
        root: where default folders go.

    Raises:
        ConfigError: the folder holds a run and neither `resume` nor `overwrite` says what to do with it; nothing to resume.
    """
    if resume is not None and overwrite:
        raise ConfigError([f"resume={resume} overwrite=true: contradict each other; give one of them"])
    if resume is not None and resume != "auto":
        return _resume_path(Path(resume), run_dir)
    if run_dir is None:
        newest = _numbered(root, prefix)
        if resume == "auto":
            if not newest or not holds_run(newest[-1]):
                raise ConfigError(
                    [f"resume=auto: there is no run {root / prefix}-N to go on with; name it with run_dir=DIR"]
                )
            return RunDir(newest[-1], newest[-1])
        number = 1 + max((_number(path) for path in newest), default=0)
        return RunDir(root / f"{prefix}-{number}", numbered=True)
    path = Path(run_dir)
    if path.exists() and not path.is_dir():
        raise ConfigError([f"run_dir={path}: is a file; name a folder"])
    if resume == "auto":
        return RunDir(
            path, path if holds_run(path) else None
        )  # a job that is restarted says the same overrides each time
    if holds_run(path) and not overwrite:
        raise ConfigError(
            [f"run_dir={path}: holds a run; go on with it by resume=auto, or replace it by overwrite=true"]
        )
    return RunDir(path)


def _resume_path(source: Path, run_dir: str | None) -> RunDir:
    if not source.exists():
        raise ConfigError([f"resume={source}: no such run folder or checkpoint"])
    if source.is_dir() and not holds_run(source):
        raise ConfigError([f"resume={source}: holds no run ({CONFIG} and {CHECKPOINTS}/)"])
    own = source if source.is_dir() else source.parent.parent if source.parent.name == CHECKPOINTS else None
    if run_dir is None and own is None:
        raise ConfigError([f"resume={source}: the checkpoint lies in no run folder; say where to write, run_dir=DIR"])
    path = Path(run_dir) if run_dir is not None else own
    assert path is not None
    if own is None or path.resolve() != own.resolve():
        if holds_run(path):
            raise ConfigError([f"run_dir={path}: holds another run than resume={source}; name a new folder"])
    return RunDir(path, source)


def make(directory: RunDir, *, overwrite: bool) -> Path:
    """Make the folder, empty of an earlier run's files if `overwrite`; returns its absolute path."""
    if overwrite and directory.resume_from is None and directory.path.is_dir() and holds_run(directory.path):
        _clear(directory.path)
    path = directory.path
    if directory.numbered:
        path = _claim(path.parent, path.name.removesuffix(str(_number(path))), _number(path))
    path.mkdir(parents=True, exist_ok=True)
    return path.absolute()


def write_config(path: Path, text: str) -> None:
    """Write ``config.yaml`` whole or not at all."""
    from effdet.files import write_text

    write_text(path / CONFIG, text)


def _claim(parent: Path, stem: str, number: int) -> Path:
    """The first free ``stem + number``: two runs started together get two folders."""
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            (parent / f"{stem}{number}").mkdir()
        except FileExistsError:
            number += 1
        else:
            return parent / f"{stem}{number}"


def _clear(path: Path) -> None:
    """Remove what a training writes, and leave whatever else a user keeps there."""
    for name in (CHECKPOINTS, "tensorboard", "wandb", "mlruns", "nonfinite", "evaluation"):
        shutil.rmtree(path / name, ignore_errors=True)
    for name in (CONFIG, "metrics.csv", "metrics.json", "predictions.json", "statistics.npz", "report.html",
                 "train_batch.jpg", "predictions.jpg"):  # fmt: skip
        (path / name).unlink(missing_ok=True)


def _numbered(root: Path, prefix: str) -> list[Path]:
    """The folders ``root/prefix-N`` by rising N."""
    found = [
        path for path in root.glob(f"{glob.escape(prefix)}-*") if re.fullmatch(r"\d+", path.name[len(prefix) + 1 :])
    ]
    return sorted(found, key=_number)


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


_VARIABLE = "EFFDET_RUN"
_PATIENCE = timedelta(minutes=10)


@dataclass(frozen=True)
class RunInfo:
    """What the first process decided."""

    run_dir: Path
    checkpoint: Path | None = None
    """Where to go on from."""
    finished: bool = False
    """The run has reached its end before: there is nothing to do."""

    def to_json(self) -> str:
        return json.dumps([str(self.run_dir), None if self.checkpoint is None else str(self.checkpoint), self.finished])

    @classmethod
    def from_json(cls, text: str) -> RunInfo:
        run_dir, checkpoint, finished = json.loads(text)
        return cls(Path(run_dir), None if checkpoint is None else Path(checkpoint), finished)


def rank() -> int:
    """Of this process among all of the run; 0 where it is the only one."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def is_first() -> bool:
    """Whether this process prints and writes for all."""
    return rank() == 0


def under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1


def broadcast(started: RunInfo) -> None:
    """To be called by the first process, when the folder is there. Its ``config.yaml`` follows before it starts others."""
    os.environ[_VARIABLE] = started.to_json()
    if under_torchrun():
        _store().set(_VARIABLE, started.to_json())


def clear() -> None:
    """The run is over: a next one in this process decides anew."""
    os.environ.pop(_VARIABLE, None)


def parent_run() -> RunInfo | None:
    """What a process that started this one decided; None in the first process, and under torchrun."""
    text = os.environ.get(_VARIABLE)
    return RunInfo.from_json(text) if text and not is_first() and not under_torchrun() else None


def receive() -> RunInfo | None:
    """What the first process decided, in another one; None where there is no way to know."""
    if under_torchrun():
        return RunInfo.from_json(_store().get(_VARIABLE).decode())
    return parent_run()


def _store() -> Any:
    """torchrun's own store, which every process can reach."""
    from torch import distributed

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(host, port, is_master=False, timeout=_PATIENCE)  # type: ignore[attr-defined]
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # each restart of the agent begins anew
    return distributed.PrefixStore(f"effdet-{restart}", store)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class RunResult:
    """The outcome of a training or an evaluation."""

    run_dir: Path | None
    """Folder of everything that was written; None after ``--help`` and ``--print``."""
    metrics: Mapping[str, Any]
    """``AP``, ``AP50``, … of the last evaluation."""


def run_command(name: str, overrides: Overrides) -> RunResult:
    """Run ``python -m effdet NAME WORDS``, hand its lines on, and read what it wrote.

    Raises:
        UserError: it failed; its last line says why.
    """
    import subprocess

    command = [
        sys.executable,
        "-m",
        "effdet",
        name,
        *overrides.flags(),
        *(str(override) for override in overrides.items),
    ]
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    if process.returncode:
        raise UserError(last.removeprefix("error: ") or f"effdet {name} ended with exit code {process.returncode}")
    directory = Path(last)  # a command ends with the path of what it wrote
    found = directory / "metrics.json"
    return RunResult(directory, json.loads(found.read_text(encoding="utf-8")) if found.is_file() else {})


_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of glibc's ``mallopt``."""


def keep_freed_memory() -> bool:
    """Let freed memory be used again instead of returned; holds for the rest of the process.

    On a CPU, a model asks for the same large tensors again at every step. The C library of most Linux systems returns large
    blocks to the kernel as they are freed, and gets them back as pages that must be zeroed and mapped one by one: a seventh of
    a training step goes there (measured: a detector of phi = -2 at 256 px, batch 8, one thread of an AMD EPYC, 68,000 page
    faults a step against 1,500).

    Returns:
        Whether the C library took it; only glibc has these settings.
    """
    import ctypes
    import platform

    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26))
    return all(library.mallopt(*pair) == 1 for pair in settings)


def refuse_json(path: Path, *keys: str, key: str, what: str) -> None:
    """Refuse to replace a JSON file that has not all of `keys`, by which `what` of ours is known.

    Raises:
        UserError: it is there, and something else.
    """

    from effdet.files import read_json, refuse_replacing
    from effdet.renamed import renew

    def is_ours(path: Path) -> bool:
        value = read_json(path)
        return isinstance(value, dict) and renew(value).keys() >= set(keys)

    refuse_replacing(path, is_ours, key=key, what=what)
