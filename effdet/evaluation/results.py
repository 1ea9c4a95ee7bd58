"""Metrics, predictions and predicted segmentation maps as files, each written whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from effdet.evaluation.loop import EvaluationResult
from effdet.files import replacing
from heads.structures import ClassTable, UserError


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


class ClassMapWriter:
    """Writes one 8-bit grey PNG an image, named as the image and in the image's own size.

    For Cityscapes that is the form of a submission: ids, not trainIds, in files that begin with city, sequence and frame.

    Args:
        directory: where to; made when the first map is written.
        classes: the data's, whose own ids are written.
        void: what stands where none of the classes was found.
    """

    def __init__(self, directory: Path, classes: ClassTable, *, void: int) -> None:
        ids = [void if own is None else own for own in (*classes.ids, void)]
        if min(ids) < 0 or max(ids) > 255:
            raise UserError(
                f"segmentation maps have 8 bits a pixel, and the data's ids go from {min(ids)} to {max(ids)}"
            )
        self.directory = directory
        self._ids = np.array(ids, np.uint8)
        self._names: dict[str, str] = {}

    def __call__(self, record: Any, labels: np.ndarray) -> None:
        """
        Args:
            record: the image's; its `file_name` names the file.
            labels: (H, W) integers in 0…K, K for none of the classes.
        """
        with replacing(self.directory / self._name(record.file_name)) as partial:
            Image.fromarray(self._ids[labels]).save(partial, format="PNG")

    def _name(self, file_name: str) -> str:
        """Below the folder, whatever the set calls the image, and another one for each: ``a.jpg`` and ``a.png`` are two."""
        parts = [part for part in PurePosixPath(file_name).parts if part not in ("..", "/") and not part.endswith(":")]
        path = PurePosixPath(*parts)
        name, number = path.with_suffix(".png"), 1
        while self._names.setdefault(str(name).casefold(), file_name) != file_name:
            number += 1
            name = path.with_name(f"{path.stem}_{number}.png")
        return str(name)
