"""The last layers of a detection head, whose rows are anchors: taken over from a file with other anchors a cell.

For each anchor of the model the file's anchor of nearest size and shape is taken, by the IoU of the two about one centre: its
class rows as they are, its box rows so that they decode to the same box. With ``ty, tx, th, tw`` about an anchor of (w, h),
and the model's of (w', h'):

    ty' = ty h / h'    tx' = tx w / w'    th' = th + log(h / h')    tw' = tw + log(w / w')

All four are linear in the last layer's output, so this is exact up to rounding. It isn't where the anchors of file and model
stand in another ratio on each level, since the levels share the layer: then the mean ratio is taken, and a note says so.

A head that predicts distributions (:mod:`heads.detection.distribution`) has distances in units of its anchors: its rows can be
taken, but not converted. Between deltas and distributions, or other numbers of bins, no rows fit: the box layer starts at the
anchor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from effdet.model import VisionModel
from effdet.scaling import PAPER_ASPECTS, ROOT_ASPECTS
from heads.detection import AnchorSpec, DetectionHead
from heads.detection.distribution import initial_biases

Shape = tuple[float, float]
"""(width, height), in strides."""
_SAME = 1e-6  # relative: the same number, written in two ways


@dataclass(frozen=True)
class AnchorMatch:
    """Where an anchor of the model gets its rows from."""

    source: int
    """Place of the file's anchor in its cell."""
    shape: Shape
    source_shape: Shape
    iou: float

    @property
    def ratio(self) -> Shape:
        """The file's width and height over the model's."""
        return self.source_shape[0] / self.shape[0], self.source_shape[1] / self.shape[1]


@dataclass
class AnchorRows:
    """What became of the anchors: tensors that replace the file's, and what to say."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    """A line for each head whose rows changed."""
    initial: dict[str, Tensor] = field(default_factory=dict)
    """Box layers that no row of the file fits."""
    notes: list[str] = field(default_factory=list)


def resulting_anchors(own: AnchorSpec, aspects: tuple[Shape, ...] | None) -> AnchorSpec:
    """The anchors of a model after a load: the file's `aspects` take the place of published ones, not of the user's."""
    published = own.factors in (PAPER_ASPECTS, ROOT_ASPECTS)
    return own if aspects is None or not published or own.factors == aspects else replace_aspects(own, aspects)


def replace_aspects(spec: AnchorSpec, aspects: tuple[Shape, ...]) -> AnchorSpec:
    return AnchorSpec(spec.scale, spec.scales_per_octave, aspects)


def fit_anchors(
    model: VisionModel,
    state: Mapping[str, Tensor],
    known: Mapping[str, AnchorSpec],
    *,
    aspects: tuple[Shape, ...] | None = None,
    bins: Mapping[str, int] | None = None,
) -> AnchorRows:
    """Bring the last layers of a file's detection heads to the model's anchors; the rest of `state` isn't looked at.

    Args:
        state: the file's tensors under our names.
        known: the file's anchors by head name, where they are known; rows of unknown ones stay as they are.
        aspects: of the file, which the model takes over where its own are published ones.
        bins: the file's bins of a box side by head name; a head that is not there has deltas.
    """
    result = AnchorRows()
    for name, head in model.heads.items():
        if not isinstance(head, DetectionHead) or name not in known:
            continue
        boxes = _keys(state, f"heads.{name}.box_net.predict.")
        if not boxes:
            continue
        source, target = known[name], resulting_anchors(head.anchor_spec, aspects)
        theirs = (bins or {}).get(name)
        count = state[boxes[0]].shape[0] // (4 * (theirs or 1))
        if count != source.per_cell:
            result.notes.append(
                f"{name} has {count} anchors a cell in the file, not the {source.per_cell} of its conventions: their shapes "
                "are unknown"
            )
            continue
        matches = match_anchors(target, source, len(head.in_levels))
        if theirs != head.bins:
            for key in boxes:
                result.initial[key] = _initial(state[key], head.bins, len(matches))
            result.notes.append(
                f"{name}: the file's boxes are {_kind(theirs)} and the model's {_kind(head.bins)}; their last layer is fresh"
            )
        if _same(matches, count):
            continue
        for key in set(boxes) - set(result.initial):
            if theirs is None:
                result.tensors[key] = box_rows(state[key], matches, bias=key.endswith("bias"))
            else:
                result.tensors[key] = class_rows(state[key], matches, count)
        if theirs is not None and theirs == head.bins and not _same_sizes(matches):
            result.notes.append(
                f"{name}: distributions over distances cannot be converted to anchors of other sizes; boxes grow with them"
            )
        for layer in head.class_layers:
            for key in _keys(state, f"heads.{name}.{layer}."):
                result.tensors[key] = class_rows(state[key], matches, count)
        result.taken.append(_said(matches, count, converted=theirs is None is head.bins))
        if not _one_ratio(target, source, len(head.in_levels)):
            result.notes.append(
                f"{name}: the anchors of file and model stand in another ratio on each level; boxes were converted by the mean"
            )
    return result


def match_anchors(target: AnchorSpec, source: AnchorSpec, levels: int) -> list[AnchorMatch]:
    """For each anchor of a cell of `target`, in order, the best of `source`; of equals the first."""
    theirs = shapes(source, levels)
    matches = []
    for shape in shapes(target, levels):
        overlaps = [_iou(shape, other) for other in theirs]
        best = max(range(len(theirs)), key=lambda place: round(overlaps[place], 6))
        matches.append(AnchorMatch(best, shape, theirs[best], overlaps[best]))
    return matches


def shapes(spec: AnchorSpec, levels: int) -> list[Shape]:
    """(width, height) of a cell's anchors in strides, in their order; of scales that differ by level the geometric mean."""
    scale = math.exp(sum(math.log(spec.scale_of(level, levels)) for level in range(levels)) / levels)
    sizes = [scale * 2 ** (octave / spec.scales_per_octave) for octave in range(spec.scales_per_octave)]
    return [(size * x, size * y) for size in sizes for x, y in spec.factors]


def box_rows(theirs: Tensor, matches: Sequence[AnchorMatch], *, bias: bool) -> Tensor:
    """(file's anchors * 4, …) -> (model's anchors * 4, …) float32: rows ty, tx, th, tw that decode to the same boxes."""
    rows = theirs.double().reshape(-1, 4, *theirs.shape[1:])[[match.source for match in matches]]
    factor = rows.new_tensor([[match.ratio[1], match.ratio[0], 1.0, 1.0] for match in matches])
    rows = rows * factor.reshape(*factor.shape, *([1] * (theirs.ndim - 1)))
    if bias:
        rows = rows + rows.new_tensor([[0, 0, math.log(match.ratio[1]), math.log(match.ratio[0])] for match in matches])
    return rows.flatten(0, 1).float()


def class_rows(theirs: Tensor, matches: Sequence[AnchorMatch], per_cell: int) -> Tensor:
    """(`per_cell` * classes, …) -> (model's anchors * classes, …)."""
    if theirs.shape[0] % per_cell:
        return theirs  # not of these anchors: the load says that it doesn't fit
    rows = theirs.reshape(per_cell, -1, *theirs.shape[1:])
    return rows[[match.source for match in matches]].flatten(0, 1)


def _keys(state: Mapping[str, Tensor], prefix: str) -> list[str]:
    """Weight and bias of the very last layer below `prefix`: of a separable convolution, the pointwise one."""
    return [key for key in state if key.startswith(prefix) and ".depthwise." not in key]


def _iou(one: Shape, other: Shape) -> float:
    common = min(one[0], other[0]) * min(one[1], other[1])
    return common / (one[0] * one[1] + other[0] * other[1] - common)


def _same(matches: Sequence[AnchorMatch], count: int) -> bool:
    """The model has the file's anchors."""
    return [match.source for match in matches] == list(range(count)) and _same_sizes(matches)


def _same_sizes(matches: Sequence[AnchorMatch]) -> bool:
    return all(math.isclose(side, 1.0, rel_tol=_SAME) for match in matches for side in match.ratio)


def _initial(theirs: Tensor, bins: int | None, anchors: int) -> Tensor:
    """Rows after which every box is its anchor whatever the features of the file: (anchors * 4 * (bins or 1), …) float32."""
    rows = torch.zeros(anchors * 4 * (bins or 1), *theirs.shape[1:])
    return initial_biases(rows, bins) if bins is not None and rows.ndim == 1 else rows


def _kind(bins: int | None) -> str:
    return "deltas" if bins is None else f"distributions over {bins} bins"


def _one_ratio(target: AnchorSpec, source: AnchorSpec, levels: int) -> bool:
    ratios = [source.scale_of(level, levels) / target.scale_of(level, levels) for level in range(levels)]
    return math.isclose(min(ratios), max(ratios), rel_tol=_SAME)


def _said(matches: Sequence[AnchorMatch], count: int, *, converted: bool, limit: int = 3) -> str:
    """Such as ``1 a cell of the file's 9: 3.00 x 3.00 strides by the rows of 3.00 x 3.00 (IoU 1.00)``."""
    parts = [
        f"{_sides(match.shape)} strides by the rows of {_sides(match.source_shape)} (IoU {match.iou:.2f})"
        for match in matches[:limit]
    ]
    more = f", … ({len(matches) - limit} more)" if len(matches) > limit else ""
    end = "; box rows converted to the new sizes" if converted and not _same_sizes(matches) else ""
    return f"{len(matches)} a cell from the file's {count}: {', '.join(parts)}{more}{end}"


def _sides(shape: Shape) -> str:
    return f"{shape[0]:.2f} x {shape[1]:.2f}"
