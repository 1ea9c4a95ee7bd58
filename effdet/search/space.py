"""MnasNet's factorised hierarchical search space (Tan et al., CVPR 2019, §4.1) around any backbone of this family.

The network is cut into blocks, here the stages of a base network: stem, strides and head width are the base's. Each block
is searched by itself, and all its layers are equal, so the space stays small while blocks may differ:

| decision  | options                                                                          |
|-----------|----------------------------------------------------------------------------------|
| op        | ``conv``, ``separable`` (depthwise and pointwise), ``mbconv``; ``fused`` on wish |
| kernel    | 3, 5                                                                             |
| attention | none, SE with ratio 0.25, ECA                                                    |
| skip      | none, identity                                                                   |
| filters   | 0.75, 1, 1.25 × the base's                                                       |
| layers    | -1, 0, +1 relative to the base's, at least one                                   |
| expansion | 3, 6                                                                             |

MnasNet has SE or none where we add ECA, writes the expansion into its op, and has a third skip, pooling, which our blocks
lack. An expansion means something only to ``mbconv`` and ``fused``, attention to all but ``conv``; elsewhere the decision
is idle, and different choices give one network.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from backbones.scaling import BackboneSpec, round_filters
from backbones.spec import StageSpec

Tokens = tuple[int, ...]
"""An architecture as the number of the option taken at each decision, block by block."""

SE_RATIO = 0.25
OPS = ("conv", "separable", "mbconv")
OPTIONS: dict[str, tuple[str | int | float | bool, ...]] = {
    "op": OPS,
    "kernel": (3, 5),
    "attention": ("none", "se", "eca"),
    "skip": (False, True),
    "filters": (0.75, 1.0, 1.25),
    "layers": (-1, 0, 1),
    "expansion": (3, 6),
}
"""The decisions of a block, in the order in which they are taken."""


@dataclass(frozen=True)
class SearchSpace:
    """All architectures around `base`.

    Args:
        base: gives strides, stem, head, and what filters and layers are relative to.
        fused: whether Fused-MBConv (EfficientNetV2) is a fourth op.
        divisor: filters are rounded to a multiple of it. With narrow bases 8 makes most options equal.
    """

    base: BackboneSpec
    fused: bool = False
    divisor: int = 8

    @cached_property
    def options(self) -> dict[str, tuple[str | int | float | bool, ...]]:
        """Decision -> its options, in each block."""
        return {**OPTIONS, "op": (*OPS, "fused")} if self.fused else OPTIONS

    @cached_property
    def sizes(self) -> Tokens:
        """Number of options at each decision of the whole network."""
        return tuple(len(options) for options in self.options.values()) * self.blocks

    @property
    def blocks(self) -> int:
        return len(self.base.stages)

    @cached_property
    def count(self) -> int:
        """Number of different architectures."""
        return math.prod(len(known) for known in self._known)

    def decode(self, tokens: Sequence[int]) -> BackboneSpec:
        """The network that `tokens` describe.

        Raises:
            ValueError: there are too few or too many, or one names no option.
        """
        tokens = tuple(tokens)
        if len(tokens) != len(self.sizes):
            raise ValueError(f"tokens must be {len(self.sizes)} numbers, got {len(tokens)}")
        for place, (token, size) in enumerate(zip(tokens, self.sizes, strict=True)):
            if not 0 <= token < size:
                raise ValueError(f"tokens[{place}] (={token}) must lie in [0, {size - 1}]")
        width = len(self.options)
        stages = tuple(self._tables[block][tokens[block * width : (block + 1) * width]] for block in range(self.blocks))
        name = f"search-{hashlib.sha256(repr(stages).encode()).hexdigest()[:8]}"
        return replace(self.base, name=name, stages=stages)

    def encode(self, spec: BackboneSpec) -> Tokens:
        """The first tokens that :meth:`decode` to the stages of `spec`.

        Raises:
            ValueError: `spec` lies outside the space.
        """
        if len(spec.stages) != self.blocks:
            raise ValueError(f"{spec.name!r} has {len(spec.stages)} stages, the space has {self.blocks} blocks")
        tokens: Tokens = ()
        for block, stage in enumerate(spec.stages):
            plain = _plain(replace(stage, attention=spec.attention_of(stage)))
            if plain not in self._known[block]:
                raise ValueError(f"stage {block} of {spec.name!r} lies outside the space: {stage}")
            tokens += self._known[block][plain]
        return tokens

    @cached_property
    def _tables(self) -> tuple[dict[Tokens, StageSpec], ...]:
        """For each block: its tokens -> its stage."""
        names = list(self.options)
        choices = list(product(*(range(len(options)) for options in self.options.values())))
        return tuple(
            {
                chosen: self._stage(
                    base, {name: self.options[name][token] for name, token in zip(names, chosen, strict=True)}
                )
                for chosen in choices
            }
            for base in self.base.stages
        )

    @cached_property
    def _known(self) -> tuple[dict[StageSpec, Tokens], ...]:
        """For each block: a stage -> the first tokens that give it."""
        return tuple({stage: chosen for chosen, stage in reversed(table.items())} for table in self._tables)

    def _stage(self, base: StageSpec, chosen: dict) -> StageSpec:
        factor = chosen["filters"]
        stage = StageSpec(
            op=chosen["op"],
            kernel=chosen["kernel"],
            stride=base.stride,
            expansion=chosen["expansion"],
            channels=base.channels if factor == 1 else round_filters(base.channels, factor, divisor=self.divisor),
            repeats=max(1, base.repeats + chosen["layers"]),
            se_ratio=SE_RATIO,
            skip=chosen["skip"],
            attention=chosen["attention"],
        )
        return _plain(stage)


def _plain(stage: StageSpec) -> StageSpec:
    """`stage` with what its op ignores set to nothing: equal networks get equal descriptions."""
    attention = "none" if stage.op == "conv" else stage.attention
    return replace(
        stage,
        expansion=stage.expansion if stage.op in ("mbconv", "fused") else 1,
        attention=attention,
        se_ratio=0.0 if attention == "none" else SE_RATIO,
    )
