"""Compound scaling's coefficients (EfficientNet, arXiv 1905.11946, section 3.3).

    depth = alpha^phi     width = beta^phi     resolution = gamma^phi     with alpha * beta^2 * gamma^2 ≈ 2

so that each step of phi about doubles the multiply-adds: they grow with depth, and with the square of width and resolution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from backbones.scaling import BackboneSpec, round_filters
from effdet.model import Architecture
from heads.structures import UserError

TARGET = 2.0
"""Of alpha * beta^2 * gamma^2."""
SMALLEST = 32
"""Pixels: the backbone's last stride."""


@dataclass(frozen=True)
class Factors:
    """How much deeper, wider and larger than the base."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0

    @property
    def macs(self) -> float:
        """Multiply-adds in units of the base's, if layers, channels and pixels were not whole numbers."""
        return self.depth * self.width**2 * self.resolution**2


@dataclass(frozen=True)
class Coefficients:
    """The factors of one step of phi."""

    alpha: float
    beta: float
    gamma: float

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            if not (value := getattr(self, name)) >= 1:
                raise UserError(f"{name}={value:g}: must be at least 1; scaling up makes nothing smaller")

    @property
    def product(self) -> float:
        """alpha * beta^2 * gamma^2."""
        return self.at(1).macs

    def at(self, phi: float) -> Factors:
        """The factors of `phi` steps; a negative number makes the base smaller."""
        return Factors(self.alpha**phi, self.beta**phi, self.gamma**phi)

    @property
    def label(self) -> str:
        return f"a{self.alpha:g}-b{self.beta:g}-g{self.gamma:g}"


PAPER = Coefficients(1.2, 1.1, 1.15)
"""What the paper's own search found for B0 on ImageNet."""


def candidates(
    alphas: Sequence[float], betas: Sequence[float], gammas: Sequence[float], *, tolerance: float
) -> tuple[Coefficients, ...]:
    """The points of the grid whose product is within `tolerance` (a share of 2) of 2, in the grid's order.

    Raises:
        UserError: there is none.
    """
    grid = [Coefficients(*point) for point in itertools.product(alphas, betas, gammas)]
    found = tuple(point for point in grid if math.isclose(point.product, TARGET, rel_tol=0, abs_tol=tolerance * TARGET))
    if not found:
        raise UserError(
            f"no point of the grid has alpha · beta² · gamma² within {tolerance:.0%} of 2; "
            "add values to candidates.alpha, candidates.beta or candidates.gamma, or raise candidates.tolerance"
        )
    return found


def axis(kind: str, factor: float) -> Factors:
    """Scaling along one axis only.

    Args:
        kind: ``depth``, ``width`` or ``resolution``.
    """
    return Factors(**{kind: factor})


def scaled(base: Architecture, factors: Factors, *, name: str, size_step: int = 1) -> Architecture:
    """`base` under `factors`, with whole layers, channels in multiples of 8 and whole pixels.

    Layers go to the nearest number. The published networks round them up, which turns a depth of 1.2 into 1.44 times B0's
    layers: a grid under α · β² · γ² ≈ 2 would compare models of unlike cost.

    Args:
        name: of the new architecture and of its backbone.
        size_step: height and width are rounded to a multiple of this many pixels.
    """
    neck, head = base.neck, base.head
    if neck is not None:
        neck = neck.replace(
            channels=round_filters(neck.channels, factors.width), repeats=_nearest(neck.repeats * factors.depth)
        )
    if head is not None:
        head = replace(head, repeats=_nearest(head.repeats * factors.depth) if head.repeats else 0)
    steps = (round(side * factors.resolution / size_step) for side in base.image_size)
    height, width = (max(SMALLEST, size_step * step) for step in steps)
    return Architecture(
        name=name,
        backbone=_backbone(base.backbone, factors, name=name, size=max(height, width)),
        image_size=(height, width),
        neck=neck,
        head=head,
        made_by={},
    )


def _backbone(base: BackboneSpec, factors: Factors, *, name: str, size: int) -> BackboneSpec:
    stages = tuple(
        replace(
            stage,
            channels=round_filters(stage.channels, factors.width),
            repeats=_nearest(stage.repeats * factors.depth),
        )
        for stage in base.stages
    )
    # The statistics that a backbone expects of its pixels go by its name.
    name = f"lite_{name}" if "lite" in base.name and "lite" not in name else name
    return replace(
        base,
        name=name,
        stages=stages,
        stem_channels=round_filters(base.stem_channels, factors.width),
        head_channels=round_filters(base.head_channels, factors.width),
        image_size=size,
    )


def _nearest(layers: float) -> int:
    return max(1, round(layers))
