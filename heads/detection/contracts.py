"""Matchers and losses of the user's own, called once on a small batch before anything is trained with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from heads.detection.anchors import AnchorSpec
from heads.detection.anchors import anchors as anchors_of
from heads.detection.matcher import Assignment, Matcher, MatchInput
from heads.errors import UserError

_BATCH = 2
_SIZES, _IMAGE = [(4, 6), (2, 3)], (32, 48)


def check_matcher(matcher: Matcher, spec: AnchorSpec, classes: int) -> None:
    """Raises UserError unless `matcher` gives two images with a box each an :class:`Assignment` of the right shape."""
    anchors = anchors_of(_SIZES, _IMAGE, spec)
    count = len(anchors)
    boxes = anchors[[0, count - 1]][:, None]  # (B, 1, 4)
    inputs = MatchInput(
        anchors=anchors,
        boxes=boxes,
        labels=torch.tensor([[0], [classes - 1]]),
        class_logits=torch.zeros(_BATCH, count, classes),
        box_deltas=torch.zeros(_BATCH, count, 4),
        cells=[height * width for height, width in _SIZES],
        per_cell=spec.per_cell,
        progress=0.5,
    )
    with torch.no_grad():
        found = _called("matcher", matcher, inputs)
    if not isinstance(found, Assignment):
        raise UserError(
            f"{_name('matcher', matcher)} must return heads.detection.matcher.Assignment, and returned a {_type(found)}"
        )
    index, shape = found.index, (_BATCH, count)
    if tuple(index.shape) != shape or index.dtype != torch.int64 or not -1 <= int(index.min()) <= int(index.max()) < 1:
        raise UserError(
            f"{_name('matcher', matcher)}: Assignment.index must be int64 of shape {shape} (images, anchors), each the row of "
            f"a box or -1, and is {index.dtype} of shape {tuple(index.shape)}, {int(index.min())} to {int(index.max())} for "
            "one box"
        )
    if found.score is not None and tuple(found.score.shape) != shape:
        raise UserError(
            f"{_name('matcher', matcher)}: Assignment.score must be of shape {shape}, and is of {tuple(found.score.shape)}"
        )


def check_class_loss(loss: Callable[..., Tensor], spec: AnchorSpec, classes: int) -> None:
    """Raises UserError unless `loss` sums up logits of two images to a scalar that is connected to them."""
    count = len(anchors_of(_SIZES, _IMAGE, spec))
    logits = torch.full((_BATCH, count, classes), -4.0, requires_grad=True)
    labels = torch.full((_BATCH, count), -1)
    labels[0, 0] = 0
    for score in (None, (labels >= 0).float()):
        with torch.enable_grad():
            found = _called("class_loss", loss, logits, labels, score=score, weight=torch.ones(_BATCH))
        _check_tensor("class_loss", loss, found, (), "the sum over all entries")


def check_box_loss(loss: Callable[..., Tensor], spec: AnchorSpec) -> None:
    """Raises UserError unless `loss` gives a number for each anchor of two images, connected to the deltas."""
    anchors = anchors_of(_SIZES, _IMAGE, spec)
    deltas = torch.full((_BATCH, len(anchors), 4), 0.1, requires_grad=True)
    with torch.enable_grad():
        found = _called("box_loss", loss, deltas, anchors, anchors.expand(_BATCH, -1, -1) + 1)
    _check_tensor("box_loss", loss, found, (_BATCH, len(anchors)), "one number for each image and anchor")


def _called(key: str, part: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return part(*args, **kwargs)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{_name(key, part)}: the call that its contract states failed: {reason}") from error


def _check_tensor(key: str, part: Callable[..., Any], found: Any, shape: tuple[int, ...], meaning: str) -> None:
    if not isinstance(found, Tensor) or tuple(found.shape) != shape:
        given = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {_type(found)}"
        raise UserError(f"{_name(key, part)} must return a tensor of shape {shape}, {meaning}, and returned {given}")
    if not found.requires_grad:
        raise UserError(f"{_name(key, part)}: what it returns has no gradient: compute it from its first argument")


def _name(key: str, part: Callable[..., Any]) -> str:
    return f"{key} {getattr(part, '__name__', type(part).__name__)}"


def _type(value: Any) -> str:
    return type(value).__name__
