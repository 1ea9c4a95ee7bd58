"""How files name their tensors, detected from their keys, and the same tensors under our names.

A layout is a table of module prefixes, theirs -> ours; a tensor's own name (``weight``, ``running_mean``, …) is the same on
both sides. Ours are the names of :class:`effdet.model.VisionModel`: ``backbone.…`` and ``heads.classification.…``. Keys that
a table doesn't know keep their name, so that the loader can report them as left over.

    timm         an EfficientNet classifier. ``tf_*`` and plain files have equal keys: padding and epsilon do not show
    torchvision  a classifier in which everything is numbered: ``features.0`` is the stem, then the stages, then the 1x1
                 convolution before the classifier; a block is a sequence of (convolution, norm) pairs and the attention
    lukemelas    ``efficientnet_pytorch`` (lukemelas/EfficientNet-PyTorch): blocks are numbered through, without stages
    effdet       rwightman/efficientdet-pytorch. The number of nodes in a cell gives the levels (8 for P3–P7, 10 for P3–P8,
                 21 for the quad FPN on P3–P7), and the BatchNorms of the heads come in two orders, ``bn_rep.REPEAT.LEVEL.bn``
                 (``tf_*``, ``efficientdet_d*``) and ``bn_rep.LEVEL.REPEAT`` without ``.bn`` (the V2 and Q models)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from backbones.spec import BackboneSpec
from effdet.necks.topology import Node, topology
from effdet.weights.read import WeightsError
from heads.structures import UserError

T = TypeVar("T")

OURS = "ours"
BACKBONE, CLASSIFIER, HEAD, NECK = "backbone.", "heads.classification.", "heads.detection.", "neck."
_FIRST = 3  # every published EfficientDet begins at P3


def detect_layout(keys: Iterable[str]) -> str:
    """``ours``, ``effdet``, ``timm``, ``torchvision`` or ``lukemelas``.

    Raises:
        WeightsError: the keys are of no layout that can be read.
    """
    known = dict.fromkeys(keys)
    if any(key.startswith((f"{BACKBONE}stem.", "stem.conv.")) for key in known):
        return OURS
    if "class_net.predict.conv_pw.weight" in known and any(key.startswith("fpn.cell.") for key in known):
        return "effdet"
    for name, needed in _NEEDED.items():
        if needed <= known.keys():
            return name
    shown = ", ".join(list(known)[:3])
    raise WeightsError(
        f"its keys ({shown}, …) are of no layout that can be read; known are EfficientNet and EfficientDet weights of "
        "timm, torchvision, lukemelas, effdet, EfficientDet-Lite .tflite and our own"
    )


def to_ours(state: Mapping[str, T], layout: str, backbone: BackboneSpec) -> dict[str, T]:
    """The tensors under the names of :class:`effdet.model.VisionModel`; unknown keys keep their own name."""
    if layout == OURS:
        bare = any(key.startswith("stem.conv.") for key in state)  # a backbone saved by itself
        return {BACKBONE + key: value for key, value in state.items()} if bare else dict(state)
    if layout != "effdet":
        return rename(state, MODULES[layout](backbone))
    renamed = rename(state, effdet_modules(wiring(state), backbone))
    return {re.sub(r"\.edge_weights$", ".weights", key): value for key, value in renamed.items()}


def external_state(state: Mapping[str, Tensor], backbone: nn.Module) -> tuple[str, dict[str, Tensor], tuple[str, ...]]:
    """For a backbone that is not ours: the layout, the tensors under the names of a VisionModel, and keys of no use to it.

    A file is one of ours (a whole model, or the backbone by itself), or the file of a whole network of timm.
    """
    if any(key.startswith(BACKBONE) for key in state):
        return OURS, dict(state), ()
    if set(state) & set(backbone.state_dict()):
        return OURS, {BACKBONE + key: value for key, value in state.items()}, ()
    if isinstance(backbone, SupportsOwnKey):
        found = {key: backbone.own_key(key) for key in state}
        if any(found.values()):
            tensors = {BACKBONE + own: state[key] for key, own in found.items() if own is not None}
            return "timm", tensors, tuple(key for key, own in found.items() if own is None)
    shown = ", ".join(list(state)[:3])
    raise WeightsError(f"its keys ({shown}, …) are not those of the backbone, a {type(backbone).__name__}")


@runtime_checkable
class SupportsOwnKey(Protocol):
    """See :meth:`backbones.timm.TimmBackbone.own_key`."""

    def own_key(self, key: str) -> str | None: ...


def rename(state: Mapping[str, T], table: Mapping[str, str]) -> dict[str, T]:
    """`state` with every key's module prefix replaced by the table's; order and values are kept."""
    renamed = {}
    for key, value in state.items():
        module, _, leaf = key.rpartition(".")
        renamed[f"{table[module]}.{leaf}" if module in table else key] = value
    return renamed


# ----------------------------------------------------------------------------------------------------------- classifiers


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


# Our layers of a block in their order, the attention left out; and timm's names of the convolutions.
_TIMM = {
    "mbconv": {"conv_pw": "expand", "conv_dw": "depthwise", "conv_pwl": "project"},
    "separable": {"conv_dw": "depthwise", "conv_pw": "project"},
    "fused": {"conv_exp": "expand", "conv_pwl": "project"},
    "conv": {"conv": "conv"},
}
_TIMM_ATTENTION = {
    "se": {"se.conv_reduce": "attention.reduce", "se.conv_expand": "attention.expand"},
    "eca": {"se.conv": "attention.conv"},
    "none": {},
}
_LUKEMELAS = {"_bn0": "expand", "_bn1": "depthwise", "_bn2": "project"}


def _ends(stem: tuple[str, str], last: tuple[str, str], classifier: str) -> dict[str, str]:
    """Prefixes of what comes before and behind the blocks; (convolution, norm) each."""
    table = {stem[0]: f"{BACKBONE}stem.conv", stem[1]: f"{BACKBONE}stem.norm"}
    table |= {last[0]: f"{CLASSIFIER}conv_head.conv", last[1]: f"{CLASSIFIER}conv_head.norm"}
    return table | {classifier: f"{CLASSIFIER}classifier"}


def timm_modules(spec: BackboneSpec) -> dict[str, str]:
    table = _ends(("conv_stem", "bn1"), ("conv_head", "bn2"), "classifier")
    for block in blocks(spec):
        prefix = f"blocks.{block.stage}.{block.index}."
        for number, (theirs, ours) in enumerate(_TIMM[block.op].items(), start=1):
            table[prefix + theirs] = f"{block.ours}{ours}.conv"
            table[f"{prefix}bn{number}"] = f"{block.ours}{ours}.norm"
        table |= {prefix + theirs: block.ours + ours for theirs, ours in _TIMM_ATTENTION[block.attention].items()}
    return table


def torchvision_modules(spec: BackboneSpec) -> dict[str, str]:
    last = f"features.{len(spec.stages) + 1}."
    table = _ends(("features.0.0", "features.0.1"), (f"{last}0", f"{last}1"), "classifier.1")
    for block in blocks(spec):
        layers = list(_TIMM[block.op].values())
        if block.attention != "none" and "depthwise" in layers:
            layers.insert(layers.index("depthwise") + 1, "attention")
        for number, layer in enumerate(layers):
            theirs, ours = f"features.{block.stage + 1}.{block.index}.block.{number}.", f"{block.ours}{layer}."
            pair = (("fc1", "reduce"), ("fc2", "expand")) if layer == "attention" else (("0", "conv"), ("1", "norm"))
            table |= {theirs + their_leaf: ours + our_leaf for their_leaf, our_leaf in pair}
    return table


def lukemelas_modules(spec: BackboneSpec) -> dict[str, str]:
    table = _ends(("_conv_stem", "_bn0"), ("_conv_head", "_bn1"), "_fc")
    for block in blocks(spec):
        prefix = f"_blocks.{block.number}."
        for norm, ours in _LUKEMELAS.items():
            if ours != "expand" or block.op == "mbconv":
                table[f"{prefix}_{ours}_conv"], table[prefix + norm] = (
                    f"{block.ours}{ours}.conv",
                    f"{block.ours}{ours}.norm",
                )
        if block.attention == "se":
            table |= {f"{prefix}_se_{leaf}": f"{block.ours}attention.{leaf}" for leaf in ("reduce", "expand")}
    return table


MODULES = {"timm": timm_modules, "torchvision": torchvision_modules, "lukemelas": lukemelas_modules}
"""Of a classifier by layout: spec -> {their module prefix: ours}."""
_NEEDED = {
    "timm": {"conv_stem.weight"},
    "torchvision": {"features.0.0.weight", "features.1.0.block.0.0.weight"},
    "lukemelas": {"_conv_stem.weight"},
}


# ----------------------------------------------------------------------------------------------------------- EfficientDet


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


def effdet_modules(found: Wiring, backbone: BackboneSpec) -> dict[str, str]:
    """Module prefixes of an EfficientDet of the ``effdet`` distribution -> ours."""
    table = {f"backbone.{theirs}": ours for theirs, ours in timm_modules(backbone).items()}
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
