"""Metrics and predictions as files, each written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from effdet.evaluation.loop import EvaluationResult


def write_results(result: EvaluationResult, folder: str | os.PathLike[str]) -> list[Path]:
    """Write ``metrics.json`` and, where there are boxes, ``predictions.json``; gives the paths.

    ``metrics.json`` also has ``pictures``, ``seconds`` and ``pictures_per_second``.
    """
    folder = Path(folder)
    speed = {
        "pictures": result.pictures,
        "seconds": result.seconds,
        "pictures_per_second": result.pictures_per_second,
    }
    paths = [write_json(folder / "metrics.json", {**result.metrics, **speed}, indent=2)]
    if "AP" in result.metrics or result.predictions:
        paths.append(write_json(folder / "predictions.json", result.predictions))
    return paths


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = None) -> Path:
    """Write strict JSON (NaN and infinities become null) beside `path` and move it there: no reader sees half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(plain(value), file, indent=indent, allow_nan=False, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files; results are the user's to share
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def plain(value: Any) -> Any:
    """`value` in what strict JSON can hold: numpy to Python, tuples to lists, paths to text, NaN and infinities to None."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(entry) for entry in value]
    return value


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
