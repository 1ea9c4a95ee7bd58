"""The evaluation set: every image of a split, once, laid on the canvas by the model's own geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from effdet.data.records import Dataset, Record
from effdet.preprocess import Preprocess
from heads.structures import Geometry


@dataclass(frozen=True, eq=False)
class EvalSample:
    """One image on the canvas, and the way back."""

    image: np.ndarray
    """(3, H, W) uint8 RGB, a view of (H, W, 3) memory."""
    geometry: Geometry
    record: Record
    index: int
    mask: np.ndarray | None = None
    """(h, w) uint8 true segmentation map in original pixels, 255 where ignored; None where the image has none."""
    instances: np.ndarray | None = None
    """(h, w) int32 true objects in original pixels, as :meth:`Dataset.read_instances` gives them, or None."""


class EvalSet:
    """A source as samples by index; an undecodable image is an error, since all images of a split count."""

    def __init__(self, source: Dataset, preprocess: Preprocess) -> None:
        self.source = source
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> EvalSample:
        record = self.source.records[index]
        canvas, geometry = self.preprocess.geometry(self.source.read_image(record))
        masked = "semantic" in self.source.labelled
        return EvalSample(
            canvas.transpose(2, 0, 1),
            geometry,
            record,
            index,
            mask=self.source.read_mask(record) if masked else None,
            instances=self.source.read_instances(record) if masked else None,
        )
