"""timm's names of an EfficientNet classifier, and of the backbone inside ``effdet`` checkpoints.

``tf_*`` and plain files have equal keys: padding and epsilon do not show here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from backbones.spec import BackboneSpec
from effdet.weights.layouts.modules import BACKBONE, CLASSIFIER, blocks, inverted, rename

T = TypeVar("T")

_BLOCKS = {
    "mbconv": {
        "conv_pw": "expand.conv",
        "bn1": "expand.norm",
        "conv_dw": "depthwise.conv",
        "bn2": "depthwise.norm",
        "conv_pwl": "project.conv",
        "bn3": "project.norm",
    },
    "separable": {
        "conv_dw": "depthwise.conv",
        "bn1": "depthwise.norm",
        "conv_pw": "project.conv",
        "bn2": "project.norm",
    },
    "fused": {
        "conv_exp": "expand.conv",
        "bn1": "expand.norm",
        "conv_pwl": "project.conv",
        "bn2": "project.norm",
    },
    "conv": {"conv": "conv.conv", "bn1": "conv.norm"},
}
_ATTENTION = {
    "se": {"se.conv_reduce": "attention.reduce", "se.conv_expand": "attention.expand"},
    "eca": {"se.conv": "attention.conv"},
    "none": {},
}


def matches(keys: Iterable[str]) -> bool:
    """Whether a file with these keys is in this layout."""
    return "conv_stem.weight" in set(keys)


def modules(spec: BackboneSpec) -> dict[str, str]:
    """Module prefixes, timm's -> ours."""
    table = {"conv_stem": f"{BACKBONE}stem.conv", "bn1": f"{BACKBONE}stem.norm"}
    for block in blocks(spec):
        for theirs, ours in (_BLOCKS[block.op] | _ATTENTION[block.attention]).items():
            table[f"blocks.{block.stage}.{block.index}.{theirs}"] = block.ours + ours
    table |= {
        "conv_head": f"{CLASSIFIER}conv_head.conv",
        "bn2": f"{CLASSIFIER}conv_head.norm",
        "classifier": f"{CLASSIFIER}classifier",
    }
    return table


def to_ours(state: Mapping[str, T], spec: BackboneSpec) -> dict[str, T]:
    """timm's state dict under our names."""
    return rename(state, modules(spec))


def from_ours(state: Mapping[str, T], spec: BackboneSpec) -> dict[str, T]:
    """Ours under timm's names."""
    return rename(state, inverted(modules(spec)))
