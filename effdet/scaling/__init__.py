"""Compound scaling of the whole detector: literal rows for the published models, and any phi in between and below."""

from effdet.scaling.phi import detector_phi
from effdet.scaling.tables import DETECTORS, DetectorRow, detector_row, row_for_backbone

__all__ = ["DETECTORS", "DetectorRow", "detector_phi", "detector_row", "row_for_backbone"]
