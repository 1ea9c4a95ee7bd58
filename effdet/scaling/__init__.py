"""Compound scaling of the whole model: literal rows for the published detectors, and any phi in between and below."""

from effdet.scaling.phi import detector_phi, nearest_phi
from effdet.scaling.semantic import REPEATS, semantic_cells, semantic_channels
from effdet.scaling.tables import DETECTORS, DetectorRow, detector_row, row_for_backbone

__all__ = [
    "DETECTORS",
    "REPEATS",
    "DetectorRow",
    "detector_phi",
    "detector_row",
    "nearest_phi",
    "row_for_backbone",
    "semantic_cells",
    "semantic_channels",
]
