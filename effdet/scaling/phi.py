"""Continuous compound scaling of the detector (EfficientDet, arXiv 1911.09070, section 4.2).

    W_bifpn = 64 * 1.35^phi     D_bifpn = 3 + phi     D_box = D_class = 3 + floor(phi / 3)     R = 512 + 128 * phi

At the integers 0…6 the published rows hold, which round these formulas by hand (D5: 7 layers, 1280 px). Between two
integers width and size are interpolated; below 0 the formulas go on, down to a network for a laptop's CPU. Sizes are
rounded to 64 px and at least 128, so that the coarsest level keeps a whole cell.
"""

from __future__ import annotations

import math
from dataclasses import replace

from effdet.scaling.tables import DETECTORS, DetectorRow
from heads.structures import UserError

LOWEST, HIGHEST = -4.0, 6.0

BACKBONE_GMACS = {
    -4: 0.043, -3: 0.092, -2: 0.163, -1: 0.241,
    0: 0.364, 1: 0.659, 2: 0.952, 3: 1.767, 4: 4.276, 5: 10.028, 6: 18.682,
}  # fmt: skip
"""10^9 multiply-adds of the backbone at phi, without a classifier, for one image of its own size (224 px at phi = 0)."""


def nearest_phi(gmacs: float) -> int:
    """The phi whose backbone is nearest to `gmacs`, 10^9 multiply-adds, by their ratio."""
    return min(BACKBONE_GMACS, key=lambda phi: abs(math.log(max(gmacs, 1e-9) / BACKBONE_GMACS[phi])))


def detector_phi(phi: float) -> DetectorRow:
    """The detector row at `phi` in [-4, 6]; its backbone is named ``phi=…`` and is scaled by the backbone's own rule.

    Raises:
        UserError: phi is out of range.
    """
    if not LOWEST <= phi <= HIGHEST:
        raise UserError(f"phi={phi:g} is out of range; use {LOWEST:g} (smallest) to {HIGHEST:g} (EfficientDet-D6)")
    name, backbone = f"efficientdet_phi{phi:g}", f"phi={phi:g}"
    if phi < 0:
        width = max(16, 8 * round(64 * 1.35**phi / 8))
        depth, repeats = max(1, round(3 + phi)), max(1, 3 + math.floor(phi / 3))
        size = max(128, 64 * round((512 + 128 * phi) / 64))
        return DetectorRow(name, backbone, size, width, depth, repeats)
    below, above = DETECTORS[f"tf_efficientdet_d{math.floor(phi)}"], DETECTORS[f"tf_efficientdet_d{math.ceil(phi)}"]
    share = phi - math.floor(phi)
    if share == 0:
        return replace(below, name=name, backbone=backbone)
    blend = lambda a, b: a + share * (b - a)
    return replace(
        below,
        name=name,
        backbone=backbone,
        size=64 * round(blend(below.size, above.size) / 64),
        channels=8 * round(blend(below.channels, above.channels) / 8),
        cells=round(blend(below.cells, above.cells)),
        repeats=round(blend(below.repeats, above.repeats)),
    )
