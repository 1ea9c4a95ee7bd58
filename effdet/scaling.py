"""Compound scaling of the whole model: literal rows for the published detectors, any phi in between and below, segmentation.

Rows: EfficientDet (arXiv 1911.09070) table 1 with the corrections of its code (D5 has 7 BiFPN layers and 1280 px, D6 8 layers;
D6, D7, D7x and the Lite models sum without weights), EfficientDet-Lite (google/automl), and the models that the PyTorch
`effdet` distribution added (symmetric padding, EfficientNetV2, Quad-FPN).

Continuous scaling (section 4.2):

    W_bifpn = 64 * 1.35^phi     D_bifpn = 3 + phi     D_box = D_class = 3 + floor(phi / 3)     R = 512 + 128 * phi

At the integers 0…6 the published rows hold, which round these formulas by hand (D5: 7 layers, 1280 px). Between two
integers width and size are interpolated; below 0 the formulas go on, down to a network for a laptop's CPU. Sizes are
rounded to 64 px and at least 128, so that the coarsest level keeps a whole cell.

Segmentation (section 5.2) has one published point: on B4 a pyramid of 128 channels and 3 cells, and a head of 256 channels and
3 convolutions. Ours for the other sizes: the pyramid's width is a power of the detector's, through D0's 64 and through this
point (the detector's 224 -> 128); the head is twice as wide; cells and convolutions stay 3, or fewer where the detector has
fewer.

    D0 64   D1 80   D2 88   D3 104   D4 128   D5 144   D6 176
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from backbones.scaling import architecture, conventions_of
from heads.structures import UserError

P3_P7 = ("P3", "P4", "P5", "P6", "P7")
PAPER_ASPECTS = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))
"""Anchor width and height factors; the product is 0.98, as published."""
ROOT_ASPECTS = ((1.0, 1.0), (2**0.5, 0.5**0.5), (0.5**0.5, 2**0.5))


@dataclass(frozen=True)
class DetectorRow:
    """A detector's scaling: what EfficientDet's table 1 lists, and the conventions of its weights."""

    name: str
    backbone: str
    size: int
    """Side of the square input, pixels."""
    channels: int
    """W_bifpn."""
    cells: int
    """D_bifpn."""
    repeats: int
    """D_box = D_class."""
    anchor_scale: float = 4.0
    fusion: Literal["fast", "softmax", "sum"] = "fast"
    levels: tuple[str, ...] = P3_P7
    kind: Literal["bifpn", "fpn", "panet", "quad"] = "bifpn"
    aspects: tuple[tuple[float, float], ...] = PAPER_ASPECTS
    padding: Literal["same", "symmetric"] = "same"
    redundant_bias: bool = True
    resample: tuple[Literal["max", "bilinear"], Literal["nearest", "bilinear"]] = ("max", "nearest")
    """How the neck goes (down, up)."""
    activation: str = "silu"
    pixels: str = "imagenet"
    """Pixel statistics: imagenet, or half (mean and deviation 0.5)."""
    fill: tuple[int, int, int] = (124, 116, 104)


def _d(name: str, backbone: str, size: int, channels: int, cells: int, repeats: int, **rest) -> DetectorRow:
    return DetectorRow(f"tf_efficientdet_{name}", f"tf_efficientnet_{backbone}", size, channels, cells, repeats, **rest)


def _lite(name: str, backbone: str, size: int, channels: int, cells: int, repeats: int, scale: float) -> DetectorRow:
    row = _d(name, backbone, size, channels, cells, repeats, anchor_scale=scale, fusion="sum")
    return replace(row, activation="relu6", pixels="half", fill=(128, 128, 128))


_ROWS = (
    _d("d0", "b0", 512, 64, 3, 3),
    _d("d1", "b1", 640, 88, 4, 3),
    _d("d2", "b2", 768, 112, 5, 3),
    _d("d3", "b3", 896, 160, 6, 4),
    _d("d4", "b4", 1024, 224, 7, 4),
    _d("d5", "b5", 1280, 288, 7, 4),
    _d("d6", "b6", 1280, 384, 8, 5, fusion="sum"),
    _d("d7", "b6", 1536, 384, 8, 5, fusion="sum", anchor_scale=5.0),
    _d("d7x", "b7", 1536, 384, 8, 5, fusion="sum", levels=(*P3_P7, "P8")),
    _lite("lite0", "lite0", 320, 64, 3, 3, 3.0),
    _lite("lite1", "lite1", 384, 88, 4, 3, 3.0),
    _lite("lite2", "lite2", 448, 112, 5, 3, 3.0),
    _lite("lite3", "lite3", 512, 160, 6, 4, 4.0),
    _lite("lite3x", "lite3", 640, 200, 6, 4, 3.0),
    _lite("lite4", "lite4", 640, 224, 7, 4, 4.0),
)
_ADVPROP = tuple(
    replace(row, name=f"{row.name}_ap", pixels="half", fill=(0, 0, 0)) for row in _ROWS if row.name[-2:] in
    ("d0", "d1", "d2", "d3", "d4", "d5")
)  # fmt: skip
_SYMMETRIC = {"padding": "symmetric", "redundant_bias": False}
_BILINEAR = {"resample": ("bilinear", "bilinear"), "aspects": ROOT_ASPECTS}
_TORCH = (
    DetectorRow("efficientdet_d0", "efficientnet_b0", 512, 64, 3, 3, **_SYMMETRIC),
    DetectorRow("efficientdet_d1", "efficientnet_b1", 640, 88, 4, 3, **_SYMMETRIC),
    DetectorRow("efficientdetv2_dt", "efficientnetv2_rw_t", 768, 128, 5, 3, **_SYMMETRIC, **_BILINEAR),
    DetectorRow("efficientdetv2_ds", "efficientnetv2_rw_s", 1024, 256, 7, 4, **_SYMMETRIC, **_BILINEAR),
    DetectorRow("efficientdet_q0", "efficientnet_b0", 512, 64, 3, 3, kind="quad", **_SYMMETRIC),
    DetectorRow("efficientdet_q1", "efficientnet_b1", 640, 88, 3, 3, kind="quad", **_SYMMETRIC,
                resample=("bilinear", "bilinear")),
    DetectorRow("efficientdet_q2", "efficientnet_b2", 768, 112, 4, 3, kind="quad", **_SYMMETRIC),
)  # fmt: skip
DETECTORS: dict[str, DetectorRow] = {row.name: row for row in (*_ROWS, *_ADVPROP, *_TORCH)}

_ALIASES = {
    **{f"efficientdet_{kind}": f"tf_efficientdet_{kind}" for kind in ("d2", "d3", "d4", "d5", "d6", "d7", "d7x")},
    **{f"efficientdet_lite{kind}": f"tf_efficientdet_lite{kind}" for kind in ("0", "1", "2", "3", "3x", "4")},
    **{kind: f"tf_efficientdet_{kind}" for kind in ("d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d7x")},
}

# The detector that a network belongs to. V2 has no published EfficientDet rows but dt and ds; the others take the row of the
# V1 network of like cost.
_BY_NETWORK = {
    **{f"b{phi}": f"tf_efficientdet_d{phi}" for phi in range(7)},
    **dict.fromkeys(("b7", "b8", "l2"), "tf_efficientdet_d7x"),
    **{f"lite{phi}": f"tf_efficientdet_lite{phi}" for phi in range(5)},
    **{f"v2_b{phi}": f"tf_efficientdet_d{phi}" for phi in range(4)},
    "v2_s": "tf_efficientdet_d4",
    "v2_m": "tf_efficientdet_d5",
    "v2_l": "tf_efficientdet_d6",
    "v2_xl": "tf_efficientdet_d6",
    "v2_rw_t": "efficientdetv2_dt",
    "v2_rw_s": "efficientdetv2_ds",
    "v2_rw_m": "efficientdetv2_ds",
}


def detector_row(name: str) -> DetectorRow | None:
    """The row of a published detector by its full or short name, or None."""
    return DETECTORS.get(_ALIASES.get(name, name))


def row_for_backbone(backbone: str) -> DetectorRow:
    """The row whose neck, head and size go with `backbone`, a name of :func:`backbones.list_names`.

    Around weights of PyTorch's padding, neck and head have it too.

    Raises:
        ValueError: there is no such backbone.
    """
    row = replace(DETECTORS[_BY_NETWORK[architecture(backbone)]], backbone=backbone)
    return replace(row, **_SYMMETRIC) if conventions_of(backbone).padding == "symmetric" else row


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


CELLS = REPEATS = 3
_POWER = math.log(128 / 64) / math.log(224 / 64)


def semantic_channels(row: DetectorRow) -> int:
    """Width of the pyramid of a model that only segments, from that of the detector; a multiple of 8."""
    return max(16, 8 * round(64 * (row.channels / 64) ** _POWER / 8))


def semantic_cells(row: DetectorRow) -> int:
    """Cells of the pyramid of a model that only segments."""
    return min(CELLS, row.cells)
