"""Non-maximum suppression over a whole batch at once, hard and soft.

The usual trick, to shift each class to a place of its own and run one NMS, rounds float32 boxes more the more classes and
images there are. Here classes are compared instead, so the result is exactly that of an NMS for each image and class.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms

from heads.detection.boxes import box_iou

FAR = 2.0**20
"""Pixels: one image's boxes nearer to the origin than this can be set apart by class without loss in float64."""
FEW = 2048
"""Candidates that torchvision's kernel, which compares pair by pair and can't stop early, resolves sooner than rounds do."""
PAIRS_AT_ONCE = {"cpu": 1 << 17, "cuda": 1 << 24}
"""Pairs of boxes compared together: a CPU wants them in its cache, a GPU wants few launches."""
_ROUND = 192  # candidates resolved together: enough that one round often gives the usual 100 detections


@torch.no_grad()
def greedy_nms(boxes: Tensor, labels: Tensor | None, valid: Tensor, *, iou: float, limit: int) -> tuple[Tensor, Tensor]:
    """Of candidates sorted by falling score, keeps each that overlaps no kept one of its class by more than `iou`.

    It works in rounds: resolve the first candidates among themselves, then strike out all later ones that the kept overlap.
    It stops when every image has `limit`, so the cost follows what is asked for, not what was offered.

    Args:
        boxes: (B, N, 4) float32 xyxy, sorted by falling score.
        labels: (B, N) int64 class; boxes of different classes never suppress each other. None: one class for all.
        valid: (B, N) bool; the rest is never kept and suppresses nothing.
        limit: boxes to keep for each image.

    Returns:
        ``(B, n)`` int64 positions in N of the kept boxes, in order, with ``n <= limit``, 0 in padding; and ``(B, n)`` bool,
        True where a position is real.
    """
    batch, count = valid.shape
    if batch == 1 and count <= FEW and boxes.device.type == "cpu" and bool((boxes.abs() < FAR).all()):
        return _of_one(boxes[0], None if labels is None else labels[0], valid[0], iou=iou, limit=limit)
    order = torch.arange(count, device=boxes.device).expand(batch, -1)
    labels = torch.zeros_like(order) if labels is None else labels
    alive, kept_order, kept_flags, total = valid, [], [], 0
    while alive.shape[1]:
        head, rest = slice(0, _ROUND), slice(_ROUND, None)
        keep = _keep_among(
            _overlap(boxes[:, head], labels[:, head], boxes[:, head], labels[:, head], iou), alive[:, head]
        )
        kept_order.append(order[:, head])
        kept_flags.append(keep)
        total = total + keep.sum(1)  # (B,)
        alive = alive[:, rest]
        if bool((total.ge(limit) | ~alive.any(1)).all()):
            break
        front = _front(keep)
        label = labels[:, head].gather(1, front).masked_fill_(~keep.gather(1, front), -1)  # -1 strikes nothing
        alive = alive & ~_struck(_take(boxes[:, head], front), label, boxes[:, rest], labels[:, rest], iou)
        front = _front(alive)  # what is left moves up
        order, labels = order[:, rest].gather(1, front), labels[:, rest].gather(1, front)
        boxes, alive = _take(boxes[:, rest], front), alive.gather(1, front)
    if not kept_order:
        return order[:, :0], alive[:, :0]
    positions, flags = torch.cat(kept_order, 1), torch.cat(kept_flags, 1)
    front = _front(flags)[:, :limit]
    flags = flags.gather(1, front)
    return positions.gather(1, front).masked_fill(~flags, 0), flags


def _of_one(boxes: Tensor, labels: Tensor | None, valid: Tensor, *, iou: float, limit: int) -> tuple[Tensor, Tensor]:
    """:func:`greedy_nms` of one image, (N, 4), (N,), (N,), on a CPU: torchvision's kernel, each class in a place of its own.

    In float64 the shift costs less than a millionth of a pixel for a thousand classes.
    """
    places = valid.nonzero()[:, 0]
    count = len(places)
    chosen = boxes[places].double()
    if labels is not None:
        chosen += (4 * FAR * labels[places])[:, None]
    falling = torch.arange(count, 0, -1, dtype=torch.float64)
    kept = places[:0]
    for most in (*(few for few in (_ROUND, 1024) if few < count), count):  # the kernel compares all with each it keeps
        kept = nms(chosen[:most], falling[:most], iou)
        if len(kept) >= limit:
            break
    found = places[kept[:limit]][None]
    return found, torch.ones_like(found, dtype=torch.bool)


@torch.no_grad()
def soft_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, *, sigma: float, minimum: float, limit: int
) -> tuple[Tensor, Tensor]:
    """Gaussian soft-NMS (Bodla et al., 2017): a kept box fades the others of its class by ``exp(-IoU**2 / sigma)``.

    Scores only fall, so the first `limit` that are picked are the best `limit` of all: it stops there.

    Args:
        boxes: (B, N, 4) float32 xyxy, in any order.
        scores: (B, N) float32; candidates of `minimum` or less are dropped, at the start and as they fade.
        labels: (B, N) int64 class, or None for one class.

    Returns:
        ``(B, n)`` int64 positions in N in order of their faded scores, ``n <= limit``, and ``(B, n)`` float32 faded scores:
        0 marks padding.
    """
    scores = scores.masked_fill(scores <= minimum, 0.0)
    positions, faded = [], []
    for _ in range(min(limit, scores.shape[1])):
        score, position = scores.max(dim=1, keepdim=True)  # (B, 1)
        positions.append(position)
        faded.append(score)
        overlap = box_iou(_take(boxes, position), boxes)[:, 0]  # (B, N)
        if labels is not None:
            overlap = overlap.masked_fill_(labels != labels.gather(1, position), 0.0)
        scores = scores * overlap.square_().div_(-sigma).exp_()
        scores = scores.masked_fill_(scores <= minimum, 0.0).scatter_(1, position, 0.0)
    if not positions:
        return torch.zeros_like(scores[:, :0], dtype=torch.int64), scores[:, :0]
    return torch.cat(positions, 1), torch.cat(faded, 1)


def _overlap(first: Tensor, first_labels: Tensor, second: Tensor, second_labels: Tensor, iou: float) -> Tensor:
    """(B, n, 4), (B, n), (B, m, 4), (B, m) -> (B, n, m) bool: of one class, with an IoU above `iou`."""
    return (box_iou(first, second) > iou).logical_and_(first_labels[..., None] == second_labels[:, None])


def _keep_among(overlap: Tensor, alive: Tensor) -> Tensor:
    """Greedy NMS of few candidates: overlap (B, n, n) and alive (B, n) -> kept (B, n).

    Repeats "kept = alive and not struck by a kept one before me" until nothing changes. The first k are right after k
    repetitions, and the fixed point is the greedy answer; it takes as many as the longest chain of strikes, not n.
    """
    before = overlap.triu(1).float()
    keep = alive
    for _ in range(alive.shape[1]):
        struck = torch.bmm(keep[:, None].float(), before)[
            :, 0
        ]  # by how many: quicker than an "any" over the first axis
        update = alive & (struck == 0)
        if torch.equal(update, keep):
            break
        keep = update
    return keep


def _struck(first: Tensor, first_labels: Tensor, second: Tensor, second_labels: Tensor, iou: float) -> Tensor:
    """(B, n, 4), (B, n), (B, m, 4), (B, m) -> (B, m) bool: which of `second` any of `first` overlaps. A few at a time."""
    second = second.movedim(-1, 0).contiguous().movedim(0, -1)  # once, what box_iou would do for each piece
    struck = torch.zeros_like(second_labels, dtype=torch.bool)
    step = max(1, PAIRS_AT_ONCE.get(first.device.type, 1 << 18) // max(1, struck.numel()))
    for boxes, labels in zip(first.split(step, 1), first_labels.split(step, 1), strict=True):
        struck |= _overlap(boxes, labels, second, second_labels, iou).any(1)
    return struck


def _front(flags: Tensor) -> Tensor:
    """flags (B, n) bool -> (B, most) positions of the True entries, in order, then some False ones to the longest row's end."""
    most = int(flags.sum(1).max()) if flags.numel() else 0
    return torch.sort(flags, dim=1, descending=True, stable=True).indices[:, :most]


def _take(boxes: Tensor, positions: Tensor) -> Tensor:
    """boxes (B, N, 4) at positions (B, n) -> (B, n, 4)."""
    return boxes.gather(1, positions[..., None].expand(-1, -1, 4))
