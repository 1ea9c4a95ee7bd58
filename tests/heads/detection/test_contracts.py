"""What is said of matchers and losses that don't keep to their contracts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from heads.detection import AnchorSpec
from heads.detection.contracts import check_box_loss, check_class_loss, check_matcher
from heads.detection.losses import BOX_LOSSES, DetectionLoss, FocalLoss
from heads.detection.matcher import Assignment, ATSSMatcher, IoUMatcher, TaskAlignedMatcher
from heads.errors import UserError

ONE = AnchorSpec(scales_per_octave=1, aspects=(1.0,))


@pytest.mark.parametrize("spec", [AnchorSpec(), ONE])
def test_our_own_keep_to_them(spec: AnchorSpec) -> None:
    for matcher in (IoUMatcher(), ATSSMatcher(), TaskAlignedMatcher()):
        check_matcher(matcher, spec, 3)
    check_class_loss(FocalLoss(), spec, 3)
    for make in BOX_LOSSES.values():
        check_box_loss(make(DetectionLoss()), spec)


def tensor_instead(inputs: Any) -> Any:
    return torch.zeros(2, 30, dtype=torch.int64)


def per_image(inputs: Any) -> Assignment:
    return Assignment(torch.zeros(len(inputs.anchors), dtype=torch.int64))


def too_far(inputs: Any) -> Assignment:
    return Assignment(torch.ones(2, len(inputs.anchors), dtype=torch.int64))


def broken(inputs: Any) -> Assignment:
    return inputs.predictions


def no_score(logits: Any, classes: Any, *, weight: Any) -> Any:
    return logits.sum()


def unreduced(logits: Any, classes: Any, *, score: Any, weight: Any) -> Any:
    return logits


def detached(logits: Any, classes: Any, *, score: Any, weight: Any) -> Any:
    return logits.detach().sum()


def scalar(deltas: Any, anchors: Any, boxes: Any) -> Any:
    return deltas.sum()


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (lambda: check_matcher(tensor_instead, ONE, 2), "matcher tensor_instead must return .*, and returned a Tensor"),
        (lambda: check_matcher(per_image, ONE, 2), r"int64 of shape \(2, 30\) .* of shape \(30,\)"),
        (lambda: check_matcher(too_far, ONE, 2), "1 to 1 for one box"),
        (lambda: check_matcher(broken, ONE, 2), "matcher broken: .* AttributeError: .*predictions"),
        (lambda: check_class_loss(no_score, ONE, 2), "class_loss no_score: .* unexpected keyword argument 'score'"),
        (lambda: check_class_loss(unreduced, ONE, 2), r"shape \(\), the sum over all entries, and returned .*\(2, 30, 2\)"),
        (lambda: check_class_loss(detached, ONE, 2), "class_loss detached: what it returns has no gradient"),
        (lambda: check_box_loss(scalar, ONE), r"box_loss scalar must return a tensor of shape \(2, 30\), .*of shape \(\)"),
    ],
)  # fmt: skip
def test_one_line_for_each_fault(check: Callable[[], None], line: str) -> None:
    with pytest.raises(UserError, match=line) as caught:
        check()
    assert "\n" not in str(caught.value)
