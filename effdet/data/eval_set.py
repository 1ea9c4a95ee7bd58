"""The evaluation set: every picture of a split, once, laid on the canvas by the model's own geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from effdet.data.records import Record, Source
from effdet.preprocess import Preprocess
from heads.structures import Geometry


@dataclass(frozen=True, eq=False)
class EvalSample:
    """One picture on the canvas, and the way back."""

    image: np.ndarray
    """(3, H, W) uint8 RGB, a view of (H, W, 3) memory."""
    geometry: Geometry
    record: Record
    index: int


class EvalSet:
    """A source as samples by index; an undecodable picture is an error, since all pictures of a split count."""

    def __init__(self, source: Source, preprocess: Preprocess) -> None:
        self.source = source
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> EvalSample:
        record = self.source.records[index]
        canvas, geometry = self.preprocess.geometry(self.source.read_image(record))
        return EvalSample(canvas.transpose(2, 0, 1), geometry, record, index)
