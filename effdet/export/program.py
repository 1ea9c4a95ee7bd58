"""The graph as a ``torch.export`` program, which most formats start from."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from effdet.export.graph import ExportGraph, example
from effdet.inference.exported import ExportInfo


def export_program(graph: ExportGraph, info: ExportInfo) -> torch.export.ExportedProgram:
    """Record `graph` for the shapes that `info` promises."""
    dynamic = torch.export.Dim.DYNAMIC
    axes: dict[int, Any] = {}
    if info.batch is None:
        axes[0] = dynamic
    if info.dynamic_size:
        axes |= {2: dynamic, 3: dynamic}
    with torch.no_grad(), quiet():
        return torch.export.export(graph, (example(info),), dynamic_shapes=(axes,) if axes else None, strict=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' notes to their own developers."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
