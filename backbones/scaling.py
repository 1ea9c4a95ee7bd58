"""From a name, or a number phi, to the backbone it stands for.

Compound scaling (EfficientNet §3.3) widens, deepens and enlarges together. The published networks use coefficients
rounded by hand (`tables`), so whole phi reads that table, fractions interpolate in it, and only below B0, where nothing
is published, do the powers ``1.1 ** phi`` (width), ``1.2 ** phi`` (depth) and ``1.15 ** phi`` (resolution) apply.

A name also carries *conventions* that no weight file shows: padding and BatchNorm's epsilon and momentum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from typing import Any

from backbones.layers import LayerConventions
from backbones.spec import BackboneSpec, StageSpec
from backbones.tables import (
    ALPHA,
    B0_HEAD,
    B0_STAGES,
    B0_STEM,
    BETA,
    GAMMA,
    LITE_COEFFICIENTS,
    TIMM_IMAGE_SIZES,
    V1_COEFFICIENTS,
    V2_BASE_COEFFICIENTS,
    V2_BASE_STAGES,
    V2_NETWORKS,
    Coefficients,
)

__all__ = [
    "BackboneSpec", "StageSpec", "architecture", "backbone_spec", "conventions_of", "names", "phi_spec",
    "round_filters", "round_repeats", "scaled_spec",
]  # fmt: skip


TF = LayerConventions()
TIMM = LayerConventions(padding="symmetric", norm_eps=1e-5, norm_momentum=0.1)
# torchvision took its V1 weights from two places, and kept the BatchNorm settings of each.
TORCHVISION_PORTED = LayerConventions(padding="symmetric")
TORCHVISION_V2 = LayerConventions(padding="symmetric", norm_momentum=0.1)


def round_filters(channels: int, width: float, *, divisor: int = 8, floor: float = 0.9) -> int:
    """`channels` * `width` to the nearest multiple of `divisor`, at least one, and never below `floor` of the product.

    The V2 base networks have no such floor (0).
    """
    requested = channels * width
    rounded = max(divisor, int(requested + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < floor * requested else rounded


def round_repeats(repeats: int, depth: float) -> int:
    """`repeats` * `depth`, rounded up."""
    return math.ceil(depth * repeats)


def scaled_spec(
    coefficients: Coefficients,
    *,
    name: str,
    lite: bool = False,
    stages: Sequence[StageSpec] = B0_STAGES,
    floor: float = 0.9,
) -> BackboneSpec:
    """B0 (or Lite0, or V2-B0) under any coefficients. Lite keeps stem, head, and the depth of its first and last stage.

    Args:
        floor: as in :func:`round_filters`.
    """
    width, ends = coefficients.width, (0, len(stages) - 1)

    def filters(channels: int) -> int:
        return round_filters(channels, width, floor=floor)

    scaled = tuple(
        replace(
            stage,
            channels=filters(stage.channels),
            repeats=stage.repeats if lite and index in ends else round_repeats(stage.repeats, coefficients.depth),
        )
        for index, stage in enumerate(stages)
    )
    # Below B0 a fixed stem would be the larger part of a small network, so there even Lite's shrinks.
    fixed = lite and width >= 1
    return BackboneSpec(
        name=name,
        stages=scaled,
        stem_channels=B0_STEM if fixed else filters(B0_STEM),
        head_channels=B0_HEAD if lite else filters(B0_HEAD),
        attention="none" if lite else "se",
        activation="relu6" if lite else "silu",
        dropout=coefficients.dropout,
        image_size=coefficients.image_size,
    )


def phi_coefficients(phi: float, *, lite: bool = False) -> Coefficients:
    """The row for any phi: the table's at whole numbers, interpolated between them, extrapolated below 0.

    Interpolated and extrapolated resolutions are rounded to a multiple of 8 pixels.
    """
    rows = list((LITE_COEFFICIENTS if lite else V1_COEFFICIENTS).values())
    if not lite:
        rows.pop()  # L2 is not a step of phi
    if not math.isfinite(phi) or phi > len(rows) - 1:
        raise ValueError(f"phi must be a number up to {len(rows) - 1}, got {phi}")
    if phi < 0:
        size = rows[0].image_size * GAMMA**phi
        return Coefficients(BETA**phi, ALPHA**phi, max(32, round(size / 8) * 8), rows[0].dropout)
    low = math.floor(phi)
    if low == phi:
        return rows[low]
    part, one, two = phi - low, rows[low], rows[low + 1]

    def between(first: float, second: float) -> float:
        return first + part * (second - first)

    return Coefficients(
        between(one.width, two.width),
        between(one.depth, two.depth),
        round(between(one.image_size, two.image_size) / 8) * 8,
        between(one.dropout, two.dropout),
    )


def phi_spec(phi: float, *, lite: bool = False, **overrides: Any) -> BackboneSpec:
    """The backbone at `phi`: 0...8 are B0...B8 (`lite`: 0...4 are Lite0...Lite4), negative values are smaller."""
    if phi >= 0 and phi == int(phi):
        name = f"tf_efficientnet_{'lite' if lite else 'b'}{phi:g}"
    else:
        name = f"{'lite_phi' if lite else 'phi'}{phi:g}"
    return _override(scaled_spec(phi_coefficients(phi, lite=lite), name=name, lite=lite), overrides)


@cache
def _registry() -> dict[str, tuple[str, LayerConventions]]:
    """Every name -> (architecture, conventions). Short names come first."""
    plain = [*V1_COEFFICIENTS, *LITE_COEFFICIENTS]
    second = [*V2_BASE_COEFFICIENTS, *V2_NETWORKS]
    # The `rw` networks exist only in timm, so there is no TensorFlow to follow.
    found = {arch: (arch, TIMM if "rw" in arch else TF) for arch in plain + second}
    for arch in plain:
        found[f"tf_efficientnet_{arch}"] = (arch, TF)
        found[f"efficientnet_{arch}"] = (arch, TIMM)
    for arch in second:
        suffix = arch.removeprefix("v2_")
        if "rw" not in arch:
            found[f"tf_efficientnetv2_{suffix}"] = (arch, TF)
        if arch not in V2_BASE_COEFFICIENTS:
            found[f"efficientnetv2_{suffix}"] = (arch, TIMM)
    for arch in list(V1_COEFFICIENTS)[:8]:
        ported = arch in ("b5", "b6", "b7")
        found[f"torchvision_efficientnet_{arch}"] = (arch, TORCHVISION_PORTED if ported else TIMM)
    for arch in ("v2_s", "v2_m", "v2_l"):
        found[f"torchvision_efficientnet_{arch}"] = (arch, TORCHVISION_V2)
    return found


def names() -> list[str]:
    """All names :func:`backbone_spec` knows."""
    return list(_registry())


def _entry(name: str) -> tuple[str, LayerConventions]:
    registry = _registry()
    if name not in registry:
        close = get_close_matches(str(name), registry, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "backbones.list_names() has them all"
        raise ValueError(f"there is no backbone {name!r}; {hint}")
    return registry[name]


def _full_name(name: str) -> str:
    entry = _entry(name)
    arch = entry[0]
    if name != arch:
        return name
    return next(full for full, other in _registry().items() if full != arch and other == entry)


def architecture(name: str) -> str:
    """The short name with the same layers: ``tf_efficientnet_b0`` -> ``b0``, ``efficientnetv2_s`` -> ``v2_s``."""
    return _entry(name)[0]


def conventions_of(name: str) -> LayerConventions:
    """Padding and BatchNorm settings that `name` stands for."""
    return _entry(name)[1]


def backbone_spec(name: str, **overrides: Any) -> BackboneSpec:
    """The spec that `name` stands for, with single fields replaced: ``backbone_spec("b3", attention="eca")``.

    A short name is read as the full one, which the spec then carries: ``b3`` is ``tf_efficientnet_b3``.
    Short names (``b0...b8``, ``l2``, ``lite0...lite4``, ``v2_s``, ``v2_b0``, ...) and ``tf_*`` mean TensorFlow's
    conventions, plain ``efficientnet*`` timm's, ``torchvision_*`` torchvision's.
    """
    arch, conventions = _entry(name)
    name = _full_name(name)
    if arch in V1_COEFFICIENTS:
        spec = scaled_spec(V1_COEFFICIENTS[arch], name=name)
    elif arch in LITE_COEFFICIENTS:
        spec = scaled_spec(LITE_COEFFICIENTS[arch], name=name, lite=True)
    elif arch in V2_BASE_COEFFICIENTS:
        spec = scaled_spec(V2_BASE_COEFFICIENTS[arch], name=name, stages=V2_BASE_STAGES, floor=0)
    else:
        row = V2_NETWORKS[arch]
        spec = BackboneSpec(name, row.stages, row.stem, row.head, dropout=row.dropout, image_size=row.image_size)
    spec = replace(
        spec,
        padding=conventions.padding,
        norm_eps=conventions.norm_eps,
        norm_momentum=conventions.norm_momentum,
        image_size=TIMM_IMAGE_SIZES.get(name, spec.image_size),
    )
    return _override(spec, overrides)


def _override(spec: BackboneSpec, overrides: dict[str, Any]) -> BackboneSpec:
    if not overrides:
        return spec
    return BackboneSpec.from_dict({**spec.to_dict(), **overrides})
