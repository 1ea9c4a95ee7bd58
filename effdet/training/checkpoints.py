"""Checkpoint files: written whole or not at all, checked before they are trusted, readable without running their code.

A checkpoint is torch's zip file of tensors, numbers, strings, lists and dictionaries only, so that
``torch.load(path, weights_only=True)`` reads it. The zip holds a CRC of every part; :func:`valid` checks them, which
``torch.load`` does not (it loads a file with a flipped bit in silence).
"""

from __future__ import annotations

import errno
import os
import warnings
import zipfile
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from effdet.files import replacing
from effdet.renamed import renew
from effdet.training.errors import CheckpointError
from effdet.weights.read import BoundsError, check_archive

LAST, PREVIOUS, BEST = "last.ckpt", "last.ckpt.previous", "best.ckpt"


def write_checkpoint(path: str | Path, values: Mapping[str, Any], *, previous: bool = False) -> Path:
    """Write `values` to `path`, atomically.

    The file is written beside its place, forced to the disk, and moved there; the folder is forced to the disk after
    that. Whatever happens, `path` holds the old file or the new one, whole.

    Args:
        values: plain values and tensors; a few other kinds are made plain (:func:`plain`).
        previous: keep the file that was at `path` as ``PATH.previous``.

    Raises:
        CheckpointError: the disk is full, or the folder can't be written. The old file is whole.
    """
    path = Path(path)
    values = plain(values)
    before = path.with_name(f"{path.name}.previous") if previous else None
    try:
        with replacing(path, previous=before) as partial, partial.open("wb") as file:
            torch.save(values, file)
    except BaseException as error:
        # torch's writer turns the OSError of a full disk into a RuntimeError, which has it as its context.
        cause = error if isinstance(error, OSError) else error.__context__
        if isinstance(cause, OSError) and not isinstance(error, KeyboardInterrupt):
            raise CheckpointError(_write_trouble(path, cause)) from error
        raise
    return path


def read_checkpoint(path: str | Path, *, mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint to the CPU; no code in the file is run.

    Args:
        mmap: leave tensors on the disk until they are touched, to look at the rest in no time.
    """
    try:
        check_archive(Path(path))
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path} does not exist") from None
    except BoundsError as error:
        raise CheckpointError(str(error)) from None
    except Exception as error:  # a corrupt file fails in many ways: zip, pickle, EOF, RuntimeError
        text = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"checkpoint {path} can't be read ({text}); is it corrupt?") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(values).__name__}, not a dictionary")
    return renew(values)


def valid(path: str | Path) -> bool:
    """Whether every byte of a checkpoint is as it was written. Reads the file once; a missing file is not valid."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError):
        return False


def newest_valid(run_dir: str | Path) -> Path | None:
    """The checkpoint to resume a run from: last, else the one before, else best; corrupt ones are passed over, aloud.

    None where the run has not saved any. Raises CheckpointError where it has, and all are corrupt.
    """
    directory = Path(run_dir) / "checkpoints"
    corrupt = []
    for name in (LAST, PREVIOUS, BEST):
        path = directory / name
        if not path.exists():
            continue
        if valid(path):
            return path
        corrupt.append(str(path))
        warnings.warn(
            f"{path} is corrupt (a part fails its checksum, or is missing); looking for an older one", stacklevel=2
        )
    if corrupt:
        raise CheckpointError(
            f"every checkpoint of this run is corrupt: {', '.join(corrupt)}; start anew with overwrite=true"
        )
    return None


def plain(value: Any, where: str = "") -> Any:
    """`value` with nothing but what ``weights_only=True`` reads.

    Paths, dates and enums become text, time spans seconds, NumPy's numbers and arrays Python's numbers and tensors,
    sets lists; anything else is an error that names the key.
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes)) and not isinstance(value, Enum):
        # A NumPy float64 is a float too, and would be pickled as NumPy's.
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {plain(key, where): plain(item, f"{where}.{key}" if where else str(key)) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Enum):
        return plain(value.value, where)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value)
    if isinstance(value, tuple):
        return tuple(plain(item, where) for item in value)
    if isinstance(value, (Sequence, Set)):
        return [plain(item, where) for item in value]
    raise CheckpointError(
        f"a checkpoint holds tensors and plain values only; {where or 'the value'} is a {type(value).__module__}."
        f"{type(value).__qualname__} (a callback's state_dict() must be plain)"
    )


def _write_trouble(path: Path, error: OSError) -> str:
    left = f"; {path.name} as it was is whole" if path.exists() else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full: {path} could not be written{left}; free some space and resume"
    return f"{path} could not be written ({error.strerror or error}){left}"
