"""Metrics and predictions as files, each written whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from effdet.evaluation.loop import EvaluationResult
from effdet.files import replacing


def write_results(result: EvaluationResult, directory: str | os.PathLike[str]) -> list[Path]:
    """Write ``metrics.json`` and, where there are boxes, ``predictions.json``; gives the paths.

    ``metrics.json`` also has ``images``, ``seconds`` and ``images_per_second``.
    """
    directory = Path(directory)
    speed = {
        "images": result.images,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
    }
    paths = [write_json(directory / "metrics.json", {**result.metrics, **speed}, indent=2)]
    if "AP" in result.metrics or result.predictions:
        paths.append(write_json(directory / "predictions.json", result.predictions))
    return paths


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = None) -> Path:
    """Write strict JSON (NaN and infinities become null) beside `path` and move it there: no reader sees half a file."""
    # Lone surrogates, of file names that are not UTF-8, become the escapes of JSON that read back as the same name.
    with replacing(path) as partial, partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
        json.dump(plain(value), file, indent=indent, allow_nan=False, ensure_ascii=False)
        file.write("\n")
    return Path(path)


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
