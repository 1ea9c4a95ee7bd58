"""ONNX files in ONNX Runtime, on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from effdet.inference.exported import INPUT, KEY, ExportInfo
from heads.structures import UserError


class OnnxRuntime:
    """One session.

    Args:
        path: of the file.
        threads: that one call uses.
    """

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; its warnings are notes about its own optimiser
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no public common class
            raise UserError(f"{path}: ONNX Runtime cannot read it: {' '.join(str(error).split())}") from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.info = ExportInfo.from_json(metadata.get(KEY), source=path)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        values = self._session.run(list(self.info.outputs), {INPUT: np.ascontiguousarray(images)})
        return {name: np.asarray(value) for name, value in zip(self.info.outputs, values, strict=True)}


def load(path: Path, threads: int) -> OnnxRuntime:
    return OnnxRuntime(path, threads)
