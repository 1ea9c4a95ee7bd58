"""Multiply-accumulates of a backbone from its description alone, without building it: a formula for each block.

A convolution does ``out_h * out_w * kernel**2 * in * out / groups`` of them, a dense layer ``in * out``. Normalisation,
activations, biases, averages and products with attention weights are not counted, as is usual.
"""

from __future__ import annotations

from functools import lru_cache

from backbones.attention import eca_kernel
from backbones.scaling import BackboneSpec
from backbones.spec import StageSpec


def backbone_macs(spec: BackboneSpec, image_size: int) -> int:
    """Of the stem and all stages, for one picture of `image_size` pixels a side."""
    return _trunk(spec, image_size)[0]


def classifier_macs(spec: BackboneSpec, image_size: int, classes: int) -> int:
    """Of the backbone with EfficientNet's classifier: a 1x1 convolution to ``head_channels`` and a dense layer."""
    total, side = _trunk(spec, image_size)
    return total + side * side * spec.channels[-1] * spec.head_channels + spec.head_channels * classes


def _trunk(spec: BackboneSpec, image_size: int) -> tuple[int, int]:
    """MACs, and the side of C5 in pixels."""
    side = _halved(image_size)
    total = side * side * 9 * 3 * spec.stem_channels
    width = spec.stem_channels
    for stage in spec.stages:
        total += stage_macs(stage, spec.attention_of(stage), width, side)
        side = _halved(side) if stage.stride == 2 else side
        width = stage.channels
    return total, side


@lru_cache(maxsize=65536)
def stage_macs(stage: StageSpec, attention: str, in_channels: int, side: int) -> int:
    """Of all blocks of `stage` on an input of `side` x `side` pixels."""
    total, width = 0, in_channels
    for repeat in range(stage.repeats):
        out_side = _halved(side) if stage.stride == 2 and repeat == 0 else side
        total += _block_macs(stage, attention, width, side * side, out_side * out_side)
        side, width = out_side, stage.channels
    return total


def _block_macs(stage: StageSpec, attention: str, narrow: int, before: int, after: int) -> int:
    """`before` and `after`: pixels of the block's input and output."""
    area, out = stage.kernel**2, stage.channels
    if stage.op == "conv":
        return after * area * narrow * out
    if stage.op == "separable":
        wide, spatial = narrow, after * area * narrow
    else:
        wide = round(narrow * stage.expansion)
        spatial = after * area * narrow * wide
        if stage.op == "mbconv":
            spatial = before * narrow * wide + after * area * wide
    return spatial + _attention_macs(stage, attention, narrow, wide) + after * wide * out


def _attention_macs(stage: StageSpec, attention: str, narrow: int, wide: int) -> int:
    if attention == "se":
        return 2 * wide * max(1, int(narrow * stage.se_ratio))
    return wide * eca_kernel(wide) if attention == "eca" else 0


def _halved(side: int) -> int:
    return (side + 1) // 2
