"""Which anchor answers for which box: the contract of matchers, the paper's rule, ATSS and task-aligned assignment.

A matcher is called with a :class:`MatchInput` and returns an :class:`Assignment`: for each anchor the row of its box in its own
image, or -1 where the anchor is background. There is no third state: EfficientDet ignores nothing.

Boxes are handled a few at a time, so that memory stays flat from 1 to 500 boxes an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from heads.detection.boxes import box_iou, centre_form, decode

PAIRS_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 25}
"""Anchor-box pairs looked at together: about what the cache of a CPU core holds, and what keeps a GPU busy."""


@dataclass(frozen=True)
class MatchInput:
    """What a matcher sees of a batch; nothing in it carries a gradient."""

    anchors: Tensor
    """(A, 4) float32 xyxy, input pixels, in the order of :func:`heads.detection.anchors.anchors`."""
    boxes: Tensor
    """(B, M, 4) float32 xyxy, input pixels; any values in padding rows."""
    labels: Tensor
    """(B, M) int64, -1 in padding rows."""
    class_logits: Tensor
    """(B, A, K), the network's."""
    box_deltas: Tensor
    """(B, A, 4), the network's."""
    cells: Sequence[int]
    """Cells of each level, finest first; ``A = sum(cells) * per_cell``."""
    per_cell: int
    """Anchors in a cell."""
    progress: float | Tensor = 1.0
    """Share of the training steps that are done, 0 to 1."""

    def predicted(self) -> Tensor:
        """(B, A, 4) float32 xyxy, input pixels: the network's boxes, decoded."""
        return decode(self.anchors, self.box_deltas.float())


@dataclass(frozen=True)
class Assignment:
    """Which anchor learns what."""

    index: Tensor
    """(B, A) int64 in -1…M-1: row of the anchor's box, -1 for background."""
    score: Tensor | None = None
    """(B, A) float32 in 0…1: how sure a positive anchor should be of its class; None means 1. Class losses read it."""


class Matcher(Protocol):
    """Anything that is called like this.

    A matcher with an attribute ``reads_predictions = False`` assigns only by boxes, anchors and progress, so that gradient
    accumulation counts a step without running the network twice (:mod:`heads.ranks`). Others are taken to read them.
    """

    def __call__(self, inputs: MatchInput) -> Assignment: ...


@dataclass(frozen=True)
class ScheduledMatcher:
    """One matcher before a share of the training is done, another from there on."""

    early: Matcher
    late: Matcher
    start: float = 0.25
    """``MatchInput.progress`` at which `late` takes over."""

    @property
    def reads_predictions(self) -> bool:
        return any(getattr(matcher, "reads_predictions", True) for matcher in (self.early, self.late))

    def __call__(self, inputs: MatchInput) -> Assignment:
        if isinstance(inputs.progress, Tensor):
            raise ValueError("progress must be a number: reading a tensor would wait for the device")
        return (self.early if inputs.progress < self.start else self.late)(inputs)


@dataclass(frozen=True)
class IoUMatcher:
    """The paper's: :func:`match_iou`."""

    reads_predictions = False
    threshold: float = 0.5

    def __call__(self, inputs: MatchInput) -> Assignment:
        return Assignment(match_iou(inputs.anchors, inputs.boxes, inputs.labels, threshold=self.threshold))


@torch.no_grad()
def match_iou(anchors: Tensor, boxes: Tensor, labels: Tensor, *, threshold: float = 0.5) -> Tensor:
    """An anchor takes the box of its highest IoU if that is at least `threshold`; each box's own best anchor takes it always.

    Ties are resolved as the reference resolves them: between boxes the first, between anchors the first; where two boxes
    have the same best anchor the first box has it. One deviation: a box that overlaps no anchor at all (it lies outside the
    image, or has no area) gets none, where the reference gives it anchor 0.

    Args:
        anchors: (A, 4) float32 xyxy, input pixels.
        boxes: (B, M, 4) float32 xyxy, input pixels.
        labels: (B, M) int64, -1 in padding rows.

    Returns:
        (B, A) int64 in -1…M-1.
    """
    batch, count = labels.shape
    best_iou = anchors.new_full((batch, len(anchors)), threshold)
    best_box = torch.full((batch, len(anchors)), -1, dtype=torch.int64, device=anchors.device)
    owner = torch.full_like(best_box, count)  # the first box that claims the anchor as its best; `count` for none
    for start, piece in box_pieces(boxes, len(anchors)):
        real = labels[:, start : start + piece.shape[1]] >= 0  # (B, m)
        iou = box_iou(piece * real[..., None], anchors)  # (B, m, A); a padding row becomes a box without area
        value, index = iou.max(dim=1)  # (B, A)
        # The first piece may reach the threshold exactly; a later one has to be strictly better than what stands.
        better = (value > best_iou) | ((value >= best_iou) & (best_box < 0))
        best_iou = torch.where(better, value, best_iou)
        best_box = torch.where(better, index + start, best_box)
        top, anchor = iou.max(dim=2)  # (B, m)
        claim = torch.arange(start, start + piece.shape[1], device=anchors.device).expand_as(anchor)
        owner.scatter_reduce_(1, anchor, torch.where(real & (top > 0), claim, count), "amin")
    return torch.where(owner < count, owner, best_box)


@dataclass(frozen=True)
class ATSSMatcher:
    """:func:`match_atss`: thresholds from the statistics of the anchors near a box."""

    reads_predictions = False
    nearest: int = 9

    def __call__(self, inputs: MatchInput) -> Assignment:
        given = inputs.anchors, inputs.boxes, inputs.labels
        return Assignment(match_atss(*given, cells=inputs.cells, per_cell=inputs.per_cell, nearest=self.nearest))


@torch.no_grad()
def match_atss(
    anchors: Tensor, boxes: Tensor, labels: Tensor, *, cells: Sequence[int], per_cell: int, nearest: int = 9
) -> Tensor:
    """ATSS (Zhang et al., 2020, algorithm 1): candidates are the anchors of each level's `nearest` cells, by their centres.

    A candidate is taken if its IoU is at least mean + standard deviation over the box's candidates, and its centre lies in
    the box. With several anchors a cell the paper's k counts cells: its code takes k * per_cell anchors a level. A box that
    has no cell centre inside gets no anchor; as in the paper, none is forced.

    Args:
        anchors: (A, 4) float32 xyxy, input pixels, in the order of :func:`heads.detection.anchors.anchors`.
        boxes: (B, M, 4) float32 xyxy, input pixels.
        labels: (B, M) int64, -1 in padding rows.
        cells: cells of each level; ``A = sum(cells) * per_cell``.

    Returns:
        (B, A) int64: row of the anchor's box, or -1.
    """
    if boxes.shape[1] == 0:
        return _nothing(boxes, anchors)
    x, y, _, _ = centre_form(boxes)
    cell_x, cell_y, _, _ = centre_form(anchors[::per_cell])  # all anchors of a cell share its centre
    offset, chosen = 0, []
    for count in cells:
        level = slice(offset, offset + count)
        distance = (x[..., None] - cell_x[level]) ** 2 + (y[..., None] - cell_y[level]) ** 2  # (B, M, cells)
        chosen.append(distance.topk(min(nearest, count), dim=-1, largest=False).indices + offset)
        offset += count
    cell = torch.cat(chosen, dim=-1)  # (B, M, n)
    candidates = (cell[..., None] * per_cell + torch.arange(per_cell, device=cell.device)).flatten(2)
    iou = box_iou(boxes[..., None, :], anchors[candidates])[..., 0, :]  # (B, M, n * per_cell)
    threshold = iou.mean(-1, keepdim=True) + iou.std(-1, keepdim=True)
    centre_x, centre_y = cell_x[cell].repeat_interleave(per_cell, -1), cell_y[cell].repeat_interleave(per_cell, -1)
    valid = (iou >= threshold) & (iou > 0) & _inside(centre_x, centre_y, boxes) & (labels >= 0)[..., None]
    return assign_to_best(candidates, iou, valid, len(anchors))


@dataclass(frozen=True)
class TaskAlignedMatcher:
    """:func:`match_tal`: anchors that already both classify and locate a box best learn it."""

    reads_predictions = True
    topk: int = 13
    alpha: float = 1.0
    beta: float = 6.0
    smallest: float = 0.0

    def __call__(self, inputs: MatchInput) -> Assignment:
        return match_tal(
            inputs.anchors,
            inputs.boxes,
            inputs.labels,
            class_logits=inputs.class_logits,
            predicted=inputs.predicted(),
            topk=self.topk,
            alpha=self.alpha,
            beta=self.beta,
            smallest=self.smallest,
        )


@torch.no_grad()
def match_tal(
    anchors: Tensor,
    boxes: Tensor,
    labels: Tensor,
    *,
    class_logits: Tensor,
    predicted: Tensor,
    topk: int = 13,
    alpha: float = 1.0,
    beta: float = 6.0,
    smallest: float = 0.0,
) -> Assignment:
    """Each box takes its `topk` best aligned anchors, by ``score**alpha * iou**beta``, with their centre inside the box.

    TOOD (Feng et al., 2021). An anchor that several boxes want goes to the one it overlaps best. Its target score is its
    alignment, scaled so that the best aligned anchor of a box has the IoU of the best overlapping one (section 3.2.2); losses
    on hard targets don't read it.

    Args:
        anchors: (A, 4) float32 xyxy, input pixels.
        boxes: (B, M, 4) float32 xyxy, input pixels.
        labels: (B, M) int64, -1 in padding rows.
        class_logits: (B, A, K), the network's.
        predicted: (B, A, 4) float32 xyxy, input pixels: the network's boxes, decoded.
        smallest: sides shorter than this, in input pixels, count as this long where centres inside the box are looked for:
            a box between the centres of cells would have no anchor otherwise.

    Returns:
        The row of each anchor's box, and the target score.
    """
    if boxes.shape[1] == 0:
        nothing = _nothing(boxes, anchors)
        return Assignment(nothing, torch.zeros(nothing.shape, device=anchors.device))
    centre_x, centre_y, _, _ = centre_form(anchors)
    candidates, aligned, overlap, valid = [], [], [], []
    for start, piece in box_pieces(boxes, len(anchors)):
        label = labels[:, start : start + piece.shape[1]]  # (B, m)
        index = label.clamp(min=0)[:, None, :].expand(-1, len(anchors), -1)
        score = class_logits.gather(2, index).float().sigmoid().transpose(1, 2)  # (B, m, A)
        iou = box_iou(piece, predicted)  # (B, m, A)
        allowed = _inside(centre_x, centre_y, _at_least(piece, smallest)) & (label >= 0)[..., None]
        alignment = (score**alpha * iou**beta).masked_fill(~allowed, -1.0)
        value, anchor = alignment.topk(min(topk, len(anchors)), dim=-1)  # (B, m, topk)
        candidates.append(anchor)
        aligned.append(value)
        overlap.append(iou.gather(-1, anchor))
        valid.append(value > 0)
    candidate, value, iou, is_valid = (torch.cat(parts, 1) for parts in (candidates, aligned, overlap, valid))
    index = assign_to_best(candidate, iou, is_valid, len(anchors))
    return Assignment(index, _target_scores(index, candidate, value, iou))


def _target_scores(index: Tensor, candidates: Tensor, alignment: Tensor, iou: Tensor) -> Tensor:
    """(B, A) float32: the scaled alignment of each positive anchor with its box, 0 for the others.

    Args:
        index: (B, A) int64, row of the anchor's box or -1.
        candidates, alignment, iou: (B, M, n) anchors that each box asked for, and how they suit it.
    """
    count = candidates.shape[1]
    owner = index.gather(1, candidates.flatten(1)).view_as(candidates)
    won = owner == torch.arange(count, device=index.device)[:, None]  # (B, M, n)
    alignment, iou = alignment * won, iou * won
    highest = alignment.amax(-1, keepdim=True)
    scaled = alignment / highest.clamp(min=1e-12) * iou.amax(-1, keepdim=True)
    return iou.new_zeros(index.shape).scatter_reduce_(1, candidates.flatten(1), scaled.flatten(1), "amax")


def box_pieces(boxes: Tensor, anchors: int) -> Iterator[tuple[int, Tensor]]:
    """``(first row, (B, m, 4))`` pieces of `boxes` (B, M, 4), with B * m * anchors about constant."""
    size = max(1, PAIRS_AT_ONCE.get(boxes.device.type, 1 << 20) // max(1, anchors * boxes.shape[0]))
    for start in range(0, boxes.shape[1], size):
        yield start, boxes[:, start : start + size]


def assign_to_best(candidates: Tensor, quality: Tensor, valid: Tensor, anchors: int) -> Tensor:
    """Gives every anchor that several boxes want to the box of the highest quality (of equals, the first).

    Args:
        candidates: (B, M, n) int64 anchors that each box would take.
        quality: (B, M, n) float32 in 0…1, by which anchors choose.
        valid: (B, M, n) bool; the rest is not asked for.

    Returns:
        (B, `anchors`) int64 in -1…M-1.
    """
    batch, count, each = candidates.shape
    flat, quality = candidates.flatten(1), quality.masked_fill(~valid, -1.0).flatten(1)  # (B, M * n)
    best = quality.new_full((batch, anchors), -1.0).scatter_reduce_(1, flat, quality, "amax")
    wins = valid.flatten(1) & (quality == best.gather(1, flat))
    box = torch.arange(count, device=flat.device).repeat_interleave(each).expand_as(flat)
    owner = flat.new_full((batch, anchors), count).scatter_reduce_(1, flat, torch.where(wins, box, count), "amin")
    return torch.where(owner < count, owner, -1)


def _nothing(boxes: Tensor, anchors: Tensor) -> Tensor:
    """(B, A) int64 of -1: the assignment of a batch without boxes."""
    return torch.full((len(boxes), len(anchors)), -1, dtype=torch.int64, device=anchors.device)


def _inside(x: Tensor, y: Tensor, boxes: Tensor) -> Tensor:
    """Whether points lie in boxes (B, M, 4): (B, M, n), for points (B, M, n) or (n,)."""
    x1, y1, x2, y2 = boxes[..., None, :].unbind(-1)
    return (x > x1) & (x < x2) & (y > y1) & (y < y2)


def _at_least(boxes: Tensor, side: float) -> Tensor:
    """Boxes (…, 4) xyxy whose sides shorter than `side` are made that long about the centre; the others as they are."""
    if side <= 0:
        return boxes
    grown = (side - (boxes[..., 2:] - boxes[..., :2])).clamp(min=0) / 2
    return torch.cat([boxes[..., :2] - grown, boxes[..., 2:] + grown], -1)
