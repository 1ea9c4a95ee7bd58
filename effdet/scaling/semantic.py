"""Compound scaling of segmentation models.

EfficientDet (arXiv 1911.09070, section 5.2) gives one point: on B4 a pyramid of 128 channels and 3 cells, and a head of
256 channels and 3 convolutions. Ours for the other sizes: the pyramid's width is a power of the detector's, through D0's
64 and through this point (the detector's 224 -> 128); the head is twice as wide; cells and convolutions stay 3, or fewer
where the detector has fewer.

    D0 64   D1 80   D2 88   D3 104   D4 128   D5 144   D6 176
"""

from __future__ import annotations

import math

from effdet.scaling.tables import DetectorRow

CELLS = REPEATS = 3
_POWER = math.log(128 / 64) / math.log(224 / 64)


def semantic_channels(row: DetectorRow) -> int:
    """Width of the pyramid for segmentation alone, from that of the detector; a multiple of 8."""
    return max(16, 8 * round(64 * (row.channels / 64) ** _POWER / 8))


def semantic_cells(row: DetectorRow) -> int:
    """Cells of the pyramid for segmentation alone."""
    return min(CELLS, row.cells)
