"""How a layout is written down: a table of module prefixes, theirs -> ours.

A tensor's own name (``weight``, ``running_mean``, …) is the same on both sides. Ours are the names of
:class:`effdet.model.VisionModel`: ``backbone.…`` and ``heads.classification.…``. Keys that a table doesn't know keep
their name, so that the loader can report them as left over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from backbones.spec import BackboneSpec

T = TypeVar("T")

BACKBONE, CLASSIFIER = "backbone.", "heads.classification."


@dataclass(frozen=True)
class BlockPlace:
    """Where a block stands, and what is in it."""

    ours: str
    """Prefix of the block among our names, with its last dot."""
    stage: int
    index: int
    """Within the stage."""
    number: int
    """Over the whole backbone."""
    op: str
    """As in :class:`backbones.spec.StageSpec`."""
    attention: str
    """``se``, ``eca`` or ``none`` in this very block."""


def blocks(spec: BackboneSpec) -> Iterator[BlockPlace]:
    """Every block of the backbone, in order."""
    number = 0
    for stage, row in enumerate(spec.stages):
        attention = spec.attention_of(row) if row.op != "conv" else "none"
        for index in range(row.repeats):
            yield BlockPlace(f"{BACKBONE}stages.{stage}.{index}.", stage, index, number, row.op, attention)
            number += 1


def rename(state: Mapping[str, T], table: Mapping[str, str]) -> dict[str, T]:
    """`state` with every key's module prefix replaced by the table's; order and values are kept."""
    renamed = {}
    for key, value in state.items():
        module, _, leaf = key.rpartition(".")
        renamed[f"{table[module]}.{leaf}" if module in table else key] = value
    return renamed


def inverted(table: Mapping[str, str]) -> dict[str, str]:
    """Ours -> theirs."""
    return {ours: theirs for theirs, ours in table.items()}
