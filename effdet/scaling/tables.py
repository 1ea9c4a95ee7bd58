"""The published detectors, one literal row each.

Sources: EfficientDet (arXiv 1911.09070) table 1 with the corrections of its code (D5 has 7 BiFPN layers and 1280 px, D6 8
layers; D6, D7, D7x and the Lite models sum without weights), EfficientDet-Lite (google/automl), and the models that the
PyTorch `effdet` distribution added (symmetric padding, EfficientNetV2, Quad-FPN).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

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

# The detector that a backbone belongs to. V2 has no published EfficientDet rows but dt and ds; the others take the row of
# the V1 network of like cost.
_BY_BACKBONE = {
    **{f"tf_efficientnet_b{phi}": f"tf_efficientdet_d{phi}" for phi in range(7)},
    "tf_efficientnet_b7": "tf_efficientdet_d7x",
    "tf_efficientnet_b8": "tf_efficientdet_d7x",
    "tf_efficientnet_l2": "tf_efficientdet_d7x",
    **{f"tf_efficientnet_lite{phi}": f"tf_efficientdet_lite{phi}" for phi in range(5)},
    **{f"tf_efficientnetv2_b{phi}": f"tf_efficientdet_d{phi}" for phi in range(4)},
    "tf_efficientnetv2_s": "tf_efficientdet_d4",
    "tf_efficientnetv2_m": "tf_efficientdet_d5",
    "tf_efficientnetv2_l": "tf_efficientdet_d6",
    "tf_efficientnetv2_xl": "tf_efficientdet_d6",
    "efficientnetv2_rw_t": "efficientdetv2_dt",
    "efficientnetv2_rw_s": "efficientdetv2_ds",
    "efficientnetv2_rw_m": "efficientdetv2_ds",
}


def detector_row(name: str) -> DetectorRow | None:
    """The row of a published detector by its full or short name, or None."""
    return DETECTORS.get(_ALIASES.get(name, name))


def row_for_backbone(backbone: str) -> DetectorRow:
    """The row whose neck, head and size go with `backbone` (a full name, as ``tf_efficientnet_b3``).

    Plain ``efficientnet_*`` names take their ``tf_`` sibling's row with symmetric padding.

    Raises:
        UserError: no row goes with it.
    """
    if backbone in _BY_BACKBONE:
        return replace(DETECTORS[_BY_BACKBONE[backbone]], backbone=backbone)
    if (sibling := f"tf_{backbone}") in _BY_BACKBONE:
        return replace(DETECTORS[_BY_BACKBONE[sibling]], backbone=backbone, **_SYMMETRIC)
    raise UserError(f"no detector scaling goes with backbone {backbone!r}; choose one of {', '.join(_BY_BACKBONE)}")
