"""Exported files in their own runtimes, one module each. A new format is a new module and a line in `RUNTIMES`."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from effdet.inference.exported import ExportInfo
from heads.structures import UserError


class Runtime(Protocol):
    """A loaded file."""

    info: ExportInfo

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name, of images (B, 3, H, W) uint8, or float32 where the file normalises not itself.

        The images may lie in memory in any order: a runtime copies what it wants in another one, by numpy. (After a parallel
        copy of PyTorch's, its threads spin for milliseconds on the cores that the runtime needs.) The arrays of the result are
        the caller's: no later call writes into them.
        """
        ...


@dataclass(frozen=True)
class RuntimeKind:
    """How files of one suffix are opened."""

    module: str
    """In this package; it has ``load(path, threads) -> Runtime``."""
    packages: tuple[str, ...]
    """What it imports."""
    extra: str | None
    """Our extra that brings them; None where nothing is needed beyond PyTorch."""


RUNTIMES: Mapping[str, RuntimeKind] = {
    ".onnx": RuntimeKind("onnx", ("onnxruntime",), "onnx"),
    ".xml": RuntimeKind("openvino", ("openvino",), "openvino"),
    ".pt2": RuntimeKind("torch_export", (), None),
    ".torchscript": RuntimeKind("torchscript", (), None),
    ".pte": RuntimeKind("executorch", ("executorch",), "executorch"),
}


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether `path` has the suffix of an exported file."""
    return Path(path).suffix.lower() in RUNTIMES


def open_runtime(path: str | os.PathLike[str], *, threads: int | None = None) -> Runtime:
    """The file at `path`, ready to run on the CPU.

    Args:
        threads: of the runtime; None takes as many as torch has (``torch.get_num_threads()``).

    Raises:
        UserError: no such file, an unknown suffix, a missing package, a file that is not ours.
    """
    file = Path(path).expanduser()
    kind = RUNTIMES.get(file.suffix.lower())
    if kind is None:
        raise UserError(f"{file}: not an exported file; their suffixes are {', '.join(RUNTIMES)}")
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    require(kind.packages, kind.extra, f"{file.name}")
    if threads is None:
        import torch

        threads = torch.get_num_threads()
    elif threads < 1:
        raise UserError(f"threads={threads} must be 1 or more")
    return importlib.import_module(f"{__name__}.{kind.module}").load(file, threads)


def require(packages: tuple[str, ...], extra: str | None, what: str) -> None:
    """Refuse in one line where one of `packages` is not installed."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(f"{what} needs {', '.join(missing)}: pip install 'effdet-lightning[{extra}]'")
