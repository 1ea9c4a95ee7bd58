"""The coder and IoU, by hand and by torchvision."""

import math

import hypothesis.strategies as st
import pytest
import torch
import torchvision
from hypothesis import given, settings

from heads.detection.boxes import aligned_iou, box_iou, decode, encode

corner = st.floats(-200, 700, width=32)
side = st.floats(1, 600, width=32)
box = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


def boxes_of(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 4)


def test_coder_by_hand():
    anchor = boxes_of([0, 0, 10, 20])  # centre (5, 10), 10 wide, 20 high
    target = boxes_of([6, 10, 26, 50])  # centre (16, 30), 20 wide, 40 high
    expected = torch.tensor([[(30 - 10) / 20, (16 - 5) / 10, math.log(2), math.log(2)]])  # ty, tx, th, tw
    torch.testing.assert_close(encode(anchor, target), expected)
    torch.testing.assert_close(decode(anchor, expected), target)


def test_no_deltas_are_the_anchors():
    anchors = boxes_of([[0, 0, 10, 20], [3, 4, 5, 9]])
    torch.testing.assert_close(decode(anchors, torch.zeros(2, 2, 4)), anchors.expand(2, 2, 4))
    assert decode(anchors[:0], torch.zeros(3, 0, 4)).shape == (3, 0, 4)


@given(st.lists(st.tuples(box, box), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_coder_round_trip(pairs):
    anchors, targets = boxes_of([a for a, _ in pairs]), boxes_of([b for _, b in pairs])
    torch.testing.assert_close(decode(anchors, encode(anchors, targets)), targets, rtol=1e-4, atol=2e-2)


def test_a_box_without_area_stays_finite():
    assert encode(boxes_of([0, 0, 10, 20]), boxes_of([5, 5, 5, 5])).isfinite().all()


@given(st.lists(box, min_size=1, max_size=6), st.lists(box, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_iou_of_pairs(first, second):
    ours = box_iou(boxes_of(first), boxes_of(second))
    torch.testing.assert_close(ours, torchvision.ops.box_iou(boxes_of(first), boxes_of(second)), atol=1e-5, rtol=1e-5)
    assert ((ours >= 0) & (ours <= 1 + 1e-6)).all()


def test_iou_by_hand_and_batched():
    first = boxes_of([[0, 0, 2, 2], [0, 0, 0, 0]])
    second = boxes_of([[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 0, 0]])
    expected = torch.tensor([[1 / 7, 1, 0, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(box_iou(first, second), expected)
    torch.testing.assert_close(box_iou(first.expand(3, 2, 4), second), expected.expand(3, 2, 4))
    assert box_iou(first[:0], second).shape == (0, 4)


@pytest.mark.parametrize(
    ("kind", "peer"),
    [
        ("giou", torchvision.ops.generalized_box_iou_loss),
        ("ciou", torchvision.ops.complete_box_iou_loss),
    ],
)
def test_iou_losses_and_gradients_as_torchvision(kind, peer):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 50, 2, generator=generator, dtype=torch.float64) * 20
    sides = torch.rand(2, 50, 2, generator=generator, dtype=torch.float64) * 20 + 1
    ours, theirs = torch.cat([corners, corners + sides], -1).unbind(0)
    ours.requires_grad_()
    loss, expected = 1 - aligned_iou(ours, theirs, kind), peer(ours, theirs)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    gradient, expected_gradient = torch.autograd.grad(loss.sum(), ours)[0], torch.autograd.grad(expected.sum(), ours)[0]
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


def test_aligned_iou_by_hand():
    a, b = boxes_of([0, 0, 2, 2]), boxes_of([1, 1, 3, 3])
    torch.testing.assert_close(aligned_iou(a, b), torch.tensor([1 / 7]))
    torch.testing.assert_close(aligned_iou(a, b, "giou"), torch.tensor([1 / 7 - 2 / 9]))
    torch.testing.assert_close(aligned_iou(a, b, "ciou"), torch.tensor([1 / 7 - 2 / 18]))  # equal shapes: no third term
    with pytest.raises(ValueError, match="iou, giou, ciou, got 'diou'"):
        aligned_iou(a, b, "diou")
