"""Writers, one module a format: ``write(job)`` lays the file at ``job.path``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from effdet.export.graph import ExportGraph
from effdet.inference.exported import ExportInfo


@dataclass(frozen=True)
class WriteJob:
    """What a writer is given."""

    graph: ExportGraph
    info: ExportInfo
    path: Path
    calibration: Tensor | None
    """(N, 3, H, W) uint8 images on the canvas, for int8."""
