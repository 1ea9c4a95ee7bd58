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

V2_BASE_STAGES = (
    StageSpec("conv", 3, 1, 1, 16, 1),
    StageSpec("fused", 3, 2, 4, 32, 2),
    StageSpec("fused", 3, 2, 4, 48, 2),
    StageSpec("mbconv", 3, 2, 4, 96, 3, 0.25),
    StageSpec("mbconv", 3, 1, 6, 112, 5, 0.25),
    StageSpec("mbconv", 3, 2, 6, 192, 8, 0.25),
)

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
    "v2_s": Network(
        24,
        (
            StageSpec("conv", 3, 1, 1, 24, 2),
            StageSpec("fused", 3, 2, 4, 48, 4),
            StageSpec("fused", 3, 2, 4, 64, 4),
            StageSpec("mbconv", 3, 2, 4, 128, 6, 0.25),
            StageSpec("mbconv", 3, 1, 6, 160, 9, 0.25),
            StageSpec("mbconv", 3, 2, 6, 256, 15, 0.25),
        ),
        head=1280,
        image_size=384,
        dropout=0.2,
    ),
    "v2_m": Network(
        24,
        (
            StageSpec("conv", 3, 1, 1, 24, 3),
            StageSpec("fused", 3, 2, 4, 48, 5),
            StageSpec("fused", 3, 2, 4, 80, 5),
            StageSpec("mbconv", 3, 2, 4, 160, 7, 0.25),
            StageSpec("mbconv", 3, 1, 6, 176, 14, 0.25),
            StageSpec("mbconv", 3, 2, 6, 304, 18, 0.25),
            StageSpec("mbconv", 3, 1, 6, 512, 5, 0.25),
        ),
        head=1280,
        image_size=480,
        dropout=0.3,
    ),
    "v2_l": Network(
        32,
        (
            StageSpec("conv", 3, 1, 1, 32, 4),
            StageSpec("fused", 3, 2, 4, 64, 7),
            StageSpec("fused", 3, 2, 4, 96, 7),
            StageSpec("mbconv", 3, 2, 4, 192, 10, 0.25),
            StageSpec("mbconv", 3, 1, 6, 224, 19, 0.25),
            StageSpec("mbconv", 3, 2, 6, 384, 25, 0.25),
            StageSpec("mbconv", 3, 1, 6, 640, 7, 0.25),
        ),
        head=1280,
        image_size=480,
        dropout=0.4,
    ),
    "v2_xl": Network(
        32,
        (
            StageSpec("conv", 3, 1, 1, 32, 4),
            StageSpec("fused", 3, 2, 4, 64, 8),
            StageSpec("fused", 3, 2, 4, 96, 8),
            StageSpec("mbconv", 3, 2, 4, 192, 16, 0.25),
            StageSpec("mbconv", 3, 1, 6, 256, 24, 0.25),
            StageSpec("mbconv", 3, 2, 6, 512, 32, 0.25),
            StageSpec("mbconv", 3, 1, 6, 640, 8, 0.25),
        ),
        head=1280,
        image_size=512,
        dropout=0.4,
    ),
    "v2_rw_t": Network(  # V2-S x 0.8 in width, 0.9 in depth
        24,
        (
            StageSpec("conv", 3, 1, 1, 24, 2),
            StageSpec("fused", 3, 2, 4, 40, 4),
            StageSpec("fused", 3, 2, 4, 48, 4),
            StageSpec("mbconv", 3, 2, 4, 104, 6, 0.25),
            StageSpec("mbconv", 3, 1, 6, 128, 9, 0.25),
            StageSpec("mbconv", 3, 2, 6, 208, 14, 0.25),
        ),
        head=1024,
        image_size=288,
        dropout=0.2,
    ),
    "v2_rw_s": Network(  # its first stage still projects, as the paper's figure has it
        24,
        (
            StageSpec("fused", 3, 1, 1, 24, 2),
            StageSpec("fused", 3, 2, 4, 48, 4),
            StageSpec("fused", 3, 2, 4, 64, 4),
            StageSpec("mbconv", 3, 2, 4, 128, 6, 0.25),
            StageSpec("mbconv", 3, 1, 6, 160, 9, 0.25),
            StageSpec("mbconv", 3, 2, 6, 272, 15, 0.25),
        ),
        head=1792,
        image_size=384,
        dropout=0.2,
    ),
    "v2_rw_m": Network(  # rw_s x 1.2 in width, 1.2 and 1.6 in depth
        32,
        (
            StageSpec("fused", 3, 1, 1, 32, 3),
            StageSpec("fused", 3, 2, 4, 56, 5),
            StageSpec("fused", 3, 2, 4, 80, 5),
            StageSpec("mbconv", 3, 2, 4, 152, 8, 0.25),
            StageSpec("mbconv", 3, 1, 6, 192, 15, 0.25),
            StageSpec("mbconv", 3, 2, 6, 328, 24, 0.25),
        ),
        head=2152,
        image_size=416,
        dropout=0.3,
    ),
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
