"""What a found network is compared with: its base, scaled to the same multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from backbones.scaling import BackboneSpec, round_filters
from backbones.tables import ALPHA, BETA

STEPS = [step / 20 for step in range(-80, 81)]
"""Of compound scaling, in width and depth; at 0 it is the base."""


def equal_macs_baseline(
    base: BackboneSpec, macs: Callable[[BackboneSpec], float], *, target: float, divisor: int = 8
) -> BackboneSpec:
    """`base` with the width and depth of compound scaling whose `macs` come nearest to `target`.

    Stem, head and input size stay those of the base, as they do in a search.
    """
    found: dict[BackboneSpec, float] = {}
    for step in sorted(STEPS, key=abs):  # of equals the nearest to the base
        spec = _scaled(base, step, divisor)
        if spec not in found:
            found[spec] = macs(spec)
    best = min(found, key=lambda spec: abs(found[spec] - target))
    return replace(best, name=f"{base.name}-baseline")


def _scaled(base: BackboneSpec, step: float, divisor: int) -> BackboneSpec:
    if step == 0:
        return base
    stages = tuple(
        replace(
            stage,
            channels=round_filters(stage.channels, BETA**step, divisor=divisor),
            repeats=max(1, round(stage.repeats * ALPHA**step)),
        )
        for stage in base.stages
    )
    return replace(base, stages=stages)
