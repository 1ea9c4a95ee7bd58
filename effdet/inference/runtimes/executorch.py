"""ExecuTorch programs (.pte, with their description in a .json beside them) in ExecuTorch's Python runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from effdet.inference.exported import ExportInfo
from heads.structures import UserError


class ExecuTorchRuntime:
    """The program's ``forward``. It has a thread pool of its own, which Python cannot size."""

    def __init__(self, path: Path) -> None:
        from executorch.runtime import Runtime  # pyright: ignore[reportMissingImports]

        beside = path.with_suffix(".json")
        if not beside.is_file():
            raise UserError(f"{path}: {beside.name} is not beside it, which says what model it holds; copy both")
        self.info = ExportInfo.from_json(beside.read_text(encoding="utf-8"), source=beside)
        self._program: Any = Runtime.get().load_program(path)  # kept: the method lives in its memory
        self._forward = self._program.load_method("forward")

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        values = self._forward.execute((torch.from_numpy(np.ascontiguousarray(images)),))
        return {name: value.numpy().copy() for name, value in zip(self.info.outputs, values, strict=True)}


def load(path: Path, threads: int) -> ExecuTorchRuntime:
    return ExecuTorchRuntime(path)
