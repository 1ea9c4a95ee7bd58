"""The published networks, row by row, as their authors wrote them.

Sources: EfficientNet (arXiv:1905.11946) Table 1 and the coefficients of its code, which are rounded by hand and *not*
powers of alpha, beta and gamma; EfficientNet-Lite's release notes; EfficientNetV2 (arXiv:2104.00298) Table 4 and the
configurations of its code; the ``rw`` variants of timm, which were drawn from the V2 paper before its code came out.
"""

from __future__ import annotations

from dataclasses import dataclass

from backbones.spec import StageSpec


@dataclass(frozen=True)
class Coefficients:
    """One row of a compound-scaling table."""

    width: float
    depth: float
    image_size: int
    """Pixels, square."""
    dropout: float


ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15
"""Depth, width and resolution for each unit of phi (EfficientNet §3.3): alpha * beta^2 * gamma^2 ~ 2."""

# op, kernel, stride, expansion, channels, repeats, se_ratio
B0_STAGES = (  # Table 1, stages 2 to 8. Lite has the same, with attention switched off.
    StageSpec("separable", 3, 1, 1, 16, 1, 0.25),
    StageSpec("mbconv", 3, 2, 6, 24, 2, 0.25),
    StageSpec("mbconv", 5, 2, 6, 40, 2, 0.25),
    StageSpec("mbconv", 3, 2, 6, 80, 3, 0.25),
    StageSpec("mbconv", 5, 1, 6, 112, 3, 0.25),
    StageSpec("mbconv", 5, 2, 6, 192, 4, 0.25),
    StageSpec("mbconv", 3, 1, 6, 320, 1, 0.25),
)
B0_STEM, B0_HEAD = 32, 1280

V1_COEFFICIENTS = {
    "b0": Coefficients(1.0, 1.0, 224, 0.2),
    "b1": Coefficients(1.0, 1.1, 240, 0.2),
    "b2": Coefficients(1.1, 1.2, 260, 0.3),
    "b3": Coefficients(1.2, 1.4, 300, 0.3),
    "b4": Coefficients(1.4, 1.8, 380, 0.4),
    "b5": Coefficients(1.6, 2.2, 456, 0.4),
    "b6": Coefficients(1.8, 2.6, 528, 0.5),
    "b7": Coefficients(2.0, 3.1, 600, 0.5),
    "b8": Coefficients(2.2, 3.6, 672, 0.5),
    "l2": Coefficients(4.3, 5.3, 800, 0.5),
}

LITE_COEFFICIENTS = {
    "lite0": Coefficients(1.0, 1.0, 224, 0.2),
    "lite1": Coefficients(1.0, 1.1, 240, 0.2),
    "lite2": Coefficients(1.1, 1.2, 260, 0.3),
    "lite3": Coefficients(1.2, 1.4, 280, 0.3),
    "lite4": Coefficients(1.4, 1.8, 300, 0.3),
}


def _v2(channels: tuple[int, ...], repeats: tuple[int, ...], *, first: str = "conv") -> tuple[StageSpec, ...]:
    """The stages of an EfficientNetV2 (Table 4): fused ones, then MBConv, of which the smaller networks leave out the last."""
    rows = (
        (first, 1, 1, 0.0),  # op, stride, expansion, se_ratio
        ("fused", 2, 4, 0.0),
        ("fused", 2, 4, 0.0),
        ("mbconv", 2, 4, 0.25),
        ("mbconv", 1, 6, 0.25),
        ("mbconv", 2, 6, 0.25),
        ("mbconv", 1, 6, 0.25),
    )
    return tuple(
        StageSpec(op, 3, stride, expansion, width, count, se_ratio)
        for (op, stride, expansion, se_ratio), width, count in zip(rows, channels, repeats, strict=False)
    )


V2_BASE_STAGES = _v2((16, 32, 48, 96, 112, 192), (1, 2, 2, 3, 5, 8))

V2_BASE_COEFFICIENTS = {  # the sizes are those of evaluation
    "v2_b0": Coefficients(1.0, 1.0, 224, 0.2),
    "v2_b1": Coefficients(1.0, 1.1, 240, 0.2),
    "v2_b2": Coefficients(1.1, 1.2, 260, 0.3),
    "v2_b3": Coefficients(1.2, 1.4, 300, 0.3),
}


@dataclass(frozen=True)
class Network:
    """A network that is given outright, not scaled from another."""

    stem: int
    stages: tuple[StageSpec, ...]
    head: int
    image_size: int
    """Pixels, square, of evaluation (V2 trains on smaller images)."""
    dropout: float


V2_NETWORKS = {
    "v2_s": Network(24, _v2((24, 48, 64, 128, 160, 256), (2, 4, 4, 6, 9, 15)), 1280, 384, 0.2),
    "v2_m": Network(24, _v2((24, 48, 80, 160, 176, 304, 512), (3, 5, 5, 7, 14, 18, 5)), 1280, 480, 0.3),
    "v2_l": Network(32, _v2((32, 64, 96, 192, 224, 384, 640), (4, 7, 7, 10, 19, 25, 7)), 1280, 480, 0.4),
    "v2_xl": Network(32, _v2((32, 64, 96, 192, 256, 512, 640), (4, 8, 8, 16, 24, 32, 8)), 1280, 512, 0.4),
    # V2-S x 0.8 in width, 0.9 in depth
    "v2_rw_t": Network(24, _v2((24, 40, 48, 104, 128, 208), (2, 4, 4, 6, 9, 14)), 1024, 288, 0.2),
    # The first stage of these still projects, as the paper's figure has it; rw_m is rw_s x 1.2 in width, 1.2 and 1.6 in depth.
    "v2_rw_s": Network(24, _v2((24, 48, 64, 128, 160, 272), (2, 4, 4, 6, 9, 15), first="fused"), 1792, 384, 0.2),
    "v2_rw_m": Network(32, _v2((32, 56, 80, 152, 192, 328), (3, 5, 5, 8, 15, 24), first="fused"), 2152, 416, 0.3),
}

TIMM_IMAGE_SIZES = {
    "efficientnet_b1": 288,
    "efficientnet_b2": 288,
    "efficientnet_b3": 320,
    "efficientnet_b4": 384,
    "efficientnet_b5": 448,
    "efficientnetv2_m": 416,
}
"""Pixels, square: where timm evaluates its own training runs at a size other than the paper's."""
