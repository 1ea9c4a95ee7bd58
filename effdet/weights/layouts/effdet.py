"""The PyTorch ``effdet`` distribution's names of an EfficientDet (rwightman/efficientdet-pytorch).

The file itself tells its wiring: the number of nodes in a cell gives the levels (8 for P3–P7, 10 for P3–P8, 21 for the quad
FPN on P3–P7), and the BatchNorms of the heads come in two orders, ``bn_rep.REPEAT.LEVEL.bn`` (``tf_*``, ``efficientdet_d*``)
and ``bn_rep.LEVEL.REPEAT`` without ``.bn`` (the V2 and Q models). Its nodes are numbered; ours go by direction and level.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from backbones.spec import BackboneSpec
from effdet.necks.topology import Node, topology
from effdet.weights.layouts import timm
from effdet.weights.layouts.modules import inverted, rename
from heads.structures import UserError

T = TypeVar("T")

HEAD, NECK = "heads.detection.", "neck."
_FIRST = 3  # every published model begins at P3
_FUSION_THEIRS, _FUSION_OURS = "edge_weights", "weights"


@dataclass(frozen=True)
class Wiring:
    """What the keys of a file say about its network."""

    kind: str
    levels: tuple[str, ...]
    cells: int
    repeats: int
    level_first: bool
    """Order of the heads' BatchNorms."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        return topology(self.kind, self.levels)


def matches(keys: Iterable[str]) -> bool:
    """Whether a file with these keys is in this layout."""
    known = set(keys)
    return "class_net.predict.conv_pw.weight" in known and any(key.startswith("fpn.cell.") for key in known)


def wiring(keys: Iterable[str]) -> Wiring:
    """Read the wiring off the keys.

    Raises:
        UserError: a wiring that no EfficientDet has (PAN and non-separable models).
    """
    keys = list(keys)
    nodes = _count(keys, r"fpn\.cell\.0\.fnode\.(\d+)\.")
    if nodes == 21:
        kind, levels = "quad", 5
    elif nodes >= 4 and nodes % 2 == 0:
        kind, levels = "bifpn", (nodes + 2) // 2
    else:
        raise UserError(
            f"this effdet file has {nodes} neck nodes in a cell; only BiFPN and Quad-FPN networks can be read"
        )
    return Wiring(
        kind=kind,
        levels=tuple(f"P{_FIRST + number}" for number in range(levels)),
        cells=_count(keys, r"fpn\.cell\.(\d+)\."),
        repeats=_count(keys, r"class_net\.conv_rep\.(\d+)\."),
        level_first=not any(re.match(r"class_net\.bn_rep\.\d+\.\d+\.bn\.", key) for key in keys),
    )


def _count(keys: Iterable[str], pattern: str) -> int:
    numbers = [int(found.group(1)) for key in keys if (found := re.match(pattern, key))]
    return max(numbers, default=-1) + 1


def modules(found: Wiring, backbone: BackboneSpec) -> dict[str, str]:
    """Module prefixes, theirs -> ours."""
    table = {f"backbone.{theirs}": ours for theirs, ours in timm.modules(backbone).items()}
    for number, level in enumerate(found.levels):
        table |= {f"fpn.resample.{number}.conv.{theirs}": f"{NECK}extra.{level}.{ours}" for theirs, ours in _CONV_NORM}
    for cell in range(found.cells):
        for number, node in enumerate(found.nodes):
            theirs, ours = f"fpn.cell.{cell}.fnode.{number}.", f"{NECK}cells.{cell}.{node.name}."
            table[f"{theirs}combine"] = f"{ours}fuse"
            table |= {f"{theirs}after_combine.conv.{name}": ours + other for name, other in _AFTER}
            for source, level in enumerate(found.levels):  # a lateral can only come from an input of the cell
                lateral = f"{theirs}combine.resample.{source}.conv."
                table |= {lateral + name: f"{ours}laterals.{level}.{other}" for name, other in _CONV_NORM}
    for net in ("class_net", "box_net"):
        for part, ours in (("predict", "predict"), *((f"conv_rep.{r}", f"convs.{r}") for r in range(found.repeats))):
            table[f"{net}.{part}.conv_dw"] = f"{HEAD}{net}.{ours}.depthwise"
            table[f"{net}.{part}.conv_pw"] = f"{HEAD}{net}.{ours}.pointwise"
        for repeat in range(found.repeats):
            for number, level in enumerate(found.levels):
                place = f"{number}.{repeat}" if found.level_first else f"{repeat}.{number}.bn"
                table[f"{net}.bn_rep.{place}"] = f"{HEAD}{net}.norms.{repeat}.{level}"
    return table


_CONV_NORM = (("conv", "conv"), ("bn", "norm"))
_AFTER = (("conv_dw", "conv.depthwise"), ("conv_pw", "conv.pointwise"), ("bn", "norm"))


def to_ours(state: Mapping[str, T], backbone: BackboneSpec) -> dict[str, T]:
    """Their state dict under our names. Keys that no EfficientDet has keep their name."""
    renamed = rename(state, modules(wiring(state), backbone))
    return {_leaf(key, _FUSION_THEIRS, _FUSION_OURS): value for key, value in renamed.items()}


def from_ours(state: Mapping[str, T], found: Wiring, backbone: BackboneSpec) -> dict[str, T]:
    """Ours under their names, in the order of BatchNorms that `found` asks for."""
    renamed = rename(state, inverted(modules(found, backbone)))
    return {_leaf(key, f"combine.{_FUSION_OURS}", f"combine.{_FUSION_THEIRS}"): value for key, value in renamed.items()}


def _leaf(key: str, old: str, new: str) -> str:
    return key.removesuffix(old) + new if key.endswith(f".{old}") else key


def fit_biases(state: dict[str, Tensor], requested: Iterable[str]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Bring the biases that a BatchNorm follows to what the model has, without changing what it computes.

    A file without them fills the model's with zeros. A bias that the model lacks moves into the BatchNorm's mean:
    ``norm(x + b)`` with mean m is ``norm(x)`` with mean m - b.
    """
    requested = set(requested)
    fitted = dict(state)
    added, moved = 0, 0
    for key in sorted(key for key in requested | set(state) if _is_redundant(key)):
        weight = fitted.get(key.removesuffix("bias") + "weight")
        if key in requested and key not in fitted and weight is not None:
            fitted[key] = torch.zeros(weight.shape[0], dtype=weight.dtype)
            added += 1
        elif key in fitted and key not in requested:
            bias = fitted.pop(key)
            for mean in _means_after(key, fitted):
                fitted[mean] = fitted[mean] - bias.to(fitted[mean].dtype)
            moved += 1
    notes = []
    if added:
        notes.append(f"{added} biases that a BatchNorm follows are not in the file; they are zero")
    if moved:
        notes.append(f"{moved} biases that a BatchNorm follows were moved into its mean; the model has none")
    return fitted, tuple(notes)


def _is_redundant(key: str) -> bool:
    if key.startswith(NECK):
        return key.endswith(("conv.bias", "pointwise.bias"))
    return bool(re.match(r"heads\.detection\.\w+\.convs\.\d+\.pointwise\.bias$", key))


def _means_after(key: str, state: Mapping[str, Tensor]) -> list[str]:
    """Running means of the BatchNorms that follow the convolution of this bias."""
    if key.startswith(NECK):
        return [re.sub(r"conv(\.pointwise)?\.bias$", "norm.running_mean", key)]
    head, repeat = re.match(r"(.+)\.convs\.(\d+)\.", key).groups()  # type: ignore[union-attr]
    return [name for name in state if re.match(rf"{re.escape(head)}\.norms\.{repeat}\.\w+\.running_mean$", name)]
