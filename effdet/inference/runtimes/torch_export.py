"""Programs of ``torch.export`` (.pt2), run by PyTorch itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torchvision  # noqa: F401  # registers torchvision::nms, which a graph with NMS calls

from effdet.inference.exported import KEY, ExportInfo
from heads.structures import UserError


class TorchExportRuntime:
    """One program. It computes with PyTorch's threads, whatever `threads` says: they belong to the process."""

    def __init__(self, path: Path) -> None:
        extra = {KEY: ""}
        try:
            program = torch.export.load(path, extra_files=extra)
        except Exception as error:  # zip, pickle and schema errors, of many classes
            raise UserError(f"{path}: torch.export cannot read it: {' '.join(str(error).split())[:200]}") from None
        self.info = ExportInfo.from_json(extra[KEY], source=path)
        self._module = _unguarded(program)

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        values = self._module(torch.from_numpy(np.ascontiguousarray(images)))
        return {name: value.numpy() for name, value in zip(self.info.outputs, values, strict=True)}


def _unguarded(program: torch.export.ExportedProgram) -> torch.nn.Module:
    """The program without the exporter's guess that a level never has a single cell: at one cell it computes the same."""
    try:
        return program.module(check_guards=False)
    except TypeError:  # an older torch, which has no such guards
        return program.module()


def load(path: Path, threads: int) -> TorchExportRuntime:
    return TorchExportRuntime(path)
