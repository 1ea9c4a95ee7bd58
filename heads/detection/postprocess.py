"""From logits and deltas to detections: threshold, the largest candidates, decoding, suppression, cap.

The order matters for cost: only survivors are sorted, decoded and compared. The reference takes the 5000 largest of all
logits, decodes, and suppresses for each image and class; the detections of score `score_threshold` and above are the same.

Suppression only looks back: whatever follows the first candidates can't change which of them are kept. So an image that
gets its 100 detections out of the first :data:`FIRST` needs no others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor

from heads.detection.boxes import decode
from heads.detection.candidates import largest
from heads.detection.nms import greedy_nms, soft_nms
from heads.fields import check_fields
from heads.structures import Detections

FIRST = 1536
"""Candidates that are tried before all of `pre_nms` are."""


@dataclass(frozen=True)
class PostProcess:
    """What becomes of a head's raw output. The defaults are those that COCO results are reported with."""

    score_threshold: Annotated[float, "0..1"] = 0.001
    """Detections below are dropped, before anything else is done."""
    nms_iou: Annotated[float, "0..1"] = 0.5
    """Of two boxes of one class that overlap by more, the better stays."""
    pre_nms: Annotated[int, "1.."] = 5000
    """Candidates (anchor and class) that go into suppression."""
    max_detections: Annotated[int, "1.."] = 100
    """Detections of one image; COCO counts 100."""
    per_class_nms: bool = True
    """false lets boxes of different classes suppress each other."""
    multi_label: bool = True
    """True: an anchor may detect several classes. False: only its best; a little faster, and lower in AP."""
    soft_nms: bool = False
    """Lower the scores of overlapping boxes instead of dropping them (the paper's results; a little higher in AP,
    slower)."""
    sigma: Annotated[float, "0.01..10"] = 0.5
    """Soft-NMS: smaller values lower overlapping scores more."""

    def __post_init__(self) -> None:
        check_fields(self, "")


@torch.no_grad()
def postprocess(
    class_logits: Tensor,
    box_deltas: Tensor,
    anchors: Tensor,
    settings: PostProcess,
    *,
    named: Tensor | None = None,
) -> Detections:
    """Raw outputs of a batch -> its detections, in input pixels.

    Boxes are not clipped: where the image ends on the canvas is known only to whoever brings them back to it.

    Args:
        class_logits: (B, A, K).
        box_deltas: (B, A, 4) ty, tx, th, tw.
        anchors: (A, 4) float32 xyxy, input pixels.
        named: (K,) bool; logits that are False never detect. None: all may.

    Returns:
        Sorted by falling score. ``capped`` is True for images where `pre_nms` or `max_detections` left something out that
        had the score.
    """

    def boxes(anchor: Tensor) -> Tensor:
        return decode(anchors[anchor], _at(box_deltas, anchor).float())

    return _search(class_logits, boxes, settings, named)


@torch.no_grad()
def postprocess_boxes(
    class_logits: Tensor, boxes: Tensor, settings: PostProcess, *, named: Tensor | None = None
) -> Detections:
    """:func:`postprocess` for boxes that are decoded already, as an exported network gives them.

    Args:
        class_logits: (B, A, K).
        boxes: (B, A, 4) float32 xyxy, input pixels.
        named: as there.
    """
    return _search(class_logits, lambda anchor: _at(boxes, anchor), settings, named)


def _search(
    class_logits: Tensor, boxes: Callable[[Tensor], Tensor], settings: PostProcess, named: Tensor | None
) -> Detections:
    """Detections among (B, A, K) logits; `boxes` gives those of anchors, (B, n) -> (B, n, 4)."""
    first = settings.pre_nms if settings.soft_nms else min(FIRST, settings.pre_nms)  # soft-NMS reorders
    logits, anchor, labels, more = _candidates(class_logits, settings, named, first)
    found, full = _detections(logits, labels, boxes(anchor), settings)
    if first < settings.pre_nms and not bool((full | ~more).all()):
        logits, anchor, labels, more = _candidates(class_logits, settings, named, settings.pre_nms)
        found, full = _detections(logits, labels, boxes(anchor), settings)
    return replace(found, capped=more | full)


def _detections(logits: Tensor, labels: Tensor, boxes: Tensor, settings: PostProcess) -> tuple[Detections, Tensor]:
    """Suppression and cap of candidates (B, n): the detections, and (B,) bool, where there are more than they may be."""
    scores, groups = logits.sigmoid(), labels if settings.per_class_nms else None
    valid = (logits >= _logit(settings.score_threshold)) & (
        logits > float("-inf")
    )  # -inf: not a candidate, even at score_threshold=0
    limit = settings.max_detections + 1  # one more than asked for tells whether the cap bites
    if settings.soft_nms:
        index, scores = soft_nms(
            boxes, scores * valid, groups, sigma=settings.sigma, minimum=settings.score_threshold, limit=limit
        )
        kept = scores > 0
    else:
        index, kept = greedy_nms(boxes, groups, valid, iou=settings.nms_iou, limit=limit)
        scores = scores.gather(1, index).masked_fill(~kept, 0.0)
    counts = kept.sum(1)
    most = min(int(counts.max()) if len(counts) else 0, settings.max_detections)
    index, kept = index[:, :most], kept[:, :most]
    detections = Detections(
        boxes=_at(boxes, index).masked_fill(~kept[..., None], 0.0),
        scores=scores[:, :most],
        labels=labels.gather(1, index).masked_fill(~kept, -1),
        counts=counts.clamp(max=settings.max_detections),
    )
    return detections, counts > settings.max_detections


def _candidates(
    class_logits: Tensor, settings: PostProcess, named: Tensor | None, limit: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best `limit` candidates: logits (B, n) falling, anchors (B, n), labels (B, n), and (B,) bool: there were more."""
    classes = class_logits.shape[2]
    if settings.multi_label:
        logits, place = largest(class_logits, limit + 1, named=named)
        anchor, labels = torch.div(place, classes, rounding_mode="floor"), place % classes
    else:
        if named is not None and not bool(named.all()):
            class_logits = class_logits.masked_fill(~named, float("-inf"))
        logits, anchor = largest(class_logits.amax(2, keepdim=True), limit + 1)
        labels = class_logits.gather(1, anchor[..., None].expand(-1, -1, classes)).argmax(2)
    more = (logits[:, limit:] >= _logit(settings.score_threshold)).any(1)
    return logits[:, :limit].float(), anchor[:, :limit], labels[:, :limit], more


def _at(values: Tensor, anchor: Tensor) -> Tensor:
    """(B, A, 4) at (B, n) -> (B, n, 4)."""
    images, total = values.shape[:2]
    rows = anchor + torch.arange(images, device=anchor.device)[:, None] * total
    return values.flatten(0, 1).index_select(0, rows.flatten()).view(*anchor.shape, 4)  # whole rows: faster than gather


def _logit(score_threshold: float) -> float:
    if score_threshold <= 0:
        return float("-inf")
    return math.log(score_threshold / (1 - score_threshold)) if score_threshold < 1 else float("inf")
