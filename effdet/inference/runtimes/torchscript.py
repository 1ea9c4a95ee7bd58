"""TorchScript files, for programs that still read them: PyTorch itself has moved on to ``torch.export``."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
import torchvision  # noqa: F401  # registers torchvision::nms, which a graph with NMS calls

from effdet.inference.exported import KEY, ExportInfo
from heads.structures import UserError


class TorchScriptRuntime:
    """One module. It computes with PyTorch's threads, whatever `threads` says: they belong to the process."""

    def __init__(self, path: Path) -> None:
        extra = {KEY: ""}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own deprecation
            try:
                self._module = torch.jit.load(path, map_location="cpu", _extra_files=extra)
            except RuntimeError as error:
                raise UserError(f"{path}: TorchScript cannot read it: {' '.join(str(error).split())[:200]}") from None
        text = extra[KEY]
        self.info = ExportInfo.from_json(text.decode() if isinstance(text, bytes) else text, source=path)

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        values = self._module(torch.from_numpy(np.ascontiguousarray(images)))
        return {name: value.numpy() for name, value in zip(self.info.outputs, values, strict=True)}


def load(path: Path, threads: int) -> TorchScriptRuntime:
    return TorchScriptRuntime(path)
