"""Which folder a run writes to: a fresh one, unless the user says otherwise in so many words."""

from __future__ import annotations

import glob
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from effdet.cli.errors import ConfigError

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
        return RunDir(path, path if holds_run(path) else None)  # a job that is restarted says the same words each time
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


def make(folder: RunDir, *, overwrite: bool) -> Path:
    """Make the folder, empty of an earlier run's files if `overwrite`; returns its absolute path."""
    if overwrite and folder.resume_from is None and folder.path.is_dir() and holds_run(folder.path):
        _clear(folder.path)
    path = folder.path
    if folder.numbered:
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
