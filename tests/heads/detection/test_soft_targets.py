"""Another detector's outputs as targets: the dense quality focal loss against its formula, the foreground, and equal images."""

import math

import pytest
import torch
import torch.nn.functional as F

from heads.detection import focal
from heads.detection.boxes import aligned_iou, decode
from heads.detection.focal import dense_quality_focal_loss, quality_focal_loss
from heads.detection.soft_targets import SHARE, soft_target_loss, soft_targets
from tests.heads.test_distillation import detection

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [10, 0, 30, 20], [0, 10, 10, 20], [5, 5, 25, 25]])


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plain(x, target, beta=2.0):
    """The definition, entry by entry."""
    return (target - x.sigmoid()).abs() ** beta * F.binary_cross_entropy_with_logits(x, target, reduction="none")


def test_dense_quality_focal_by_hand():
    # p = 1/2 against y = 3/4: (1/4)^2 ln 2; against y = 0 (a logit of -inf): (1/2)^2 ln 2.
    target = torch.tensor([[[math.log(3.0), -torch.inf]]])
    found = dense_quality_focal_loss(torch.zeros(1, 1, 2), target, weight=torch.ones(1))
    assert found.item() == pytest.approx((0.0625 + 0.25) * math.log(2))


@pytest.mark.parametrize("piece", [1, 7, 1 << 17])
def test_dense_quality_focal_as_defined(piece, monkeypatch):
    monkeypatch.setitem(focal.PIECE, "cpu", piece)
    x, target = random(3, 5, 4, seed=1).mul(3).requires_grad_(), random(3, 5, 4, seed=2) * 3
    target[0, 0] = -torch.inf
    weight = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
    found = dense_quality_focal_loss(x, target, weight=weight)
    expected = (plain(x, target.sigmoid()).sum((1, 2)) * weight).sum()
    torch.testing.assert_close(found, expected)
    ours, theirs = torch.autograd.grad(3 * found, x)[0], torch.autograd.grad(3 * expected, x)[0]
    torch.testing.assert_close(ours, theirs)
    assert (ours[1] == 0).all()


def test_dense_and_sparse_agree_where_one_class_is_above_zero():
    x, score = random(2, 5, 3, dtype=torch.float32), torch.rand(2, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 1, -1, 2, -1], [-1, -1, 1, 0, 2]])
    target = torch.full_like(x, -torch.inf)
    target.scatter_(2, labels.clamp(min=0)[..., None], torch.where(labels >= 0, score.logit(), -torch.inf)[..., None])
    torch.testing.assert_close(
        dense_quality_focal_loss(x, target, weight=torch.ones(2)), quality_focal_loss(x, labels, score)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision(dtype):
    x = random(2, 5, 3, seed=1, dtype=dtype).requires_grad_()
    target = random(2, 5, 3, seed=2, dtype=dtype)
    found = dense_quality_focal_loss(x, target, weight=torch.ones(2))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain(x.float(), target.float().sigmoid()).sum().detach(), check_dtype=False)
    assert torch.autograd.grad(found, x)[0].dtype == dtype


def test_the_foreground_is_the_best_of_each_image():
    logits = torch.full((2, 250, 3), -5.0)
    logits[0, [3, 7, 100], [0, 2, 1]] = torch.tensor([1.0, 2.0, 3.0])  # ceil(.01 * 250) = 3
    logits[1, 9, 0] = 4.0
    anchors = ANCHORS[:1].expand(250, 4)
    found = soft_targets(logits, torch.zeros(2, 250, 4), anchors)
    assert math.ceil(SHARE * 250) == 3
    assert (found.weight[0] > 0).nonzero().flatten().tolist() == [3, 7, 100]
    torch.testing.assert_close(found.weight[0, [3, 7, 100]], torch.tensor([1.0, 2.0, 3.0]).sigmoid())
    assert found.weight[1, 9] == torch.tensor(4.0).sigmoid()
    torch.testing.assert_close(found.boxes, anchors.expand(2, -1, -1))


def test_losses_are_sums_over_each_image_by_its_foreground():
    logits, deltas = random(2, 4, 3, seed=1, dtype=torch.float32), random(2, 4, 4, seed=2, dtype=torch.float32) * 0.2
    teacher, others = random(2, 4, 3, seed=3, dtype=torch.float32), random(2, 4, 4, seed=4, dtype=torch.float32) * 0.2
    targets = soft_targets(teacher, others, ANCHORS)
    found = soft_target_loss(logits, deltas, ANCHORS, targets)
    best, row = teacher.amax(2).sigmoid().max(1)  # of four anchors a single one is foreground
    classes = sum(plain(logits[i], teacher[i].sigmoid()).sum() / max(best[i].item(), 1) for i in range(2)) / 2
    boxes = sum(
        best[i]
        * (
            1
            - aligned_iou(
                decode(ANCHORS[row[i]], deltas[i, row[i]]), decode(ANCHORS[row[i]], others[i, row[i]]), "giou"
            )
        )
        for i in range(2)
    )
    torch.testing.assert_close(found["class"], torch.as_tensor(classes))
    torch.testing.assert_close(found["box"], torch.as_tensor(boxes) / 2)


def test_images_weigh_the_same_in_any_batch():
    logits, deltas = random(4, 4, 3, seed=1), random(4, 4, 4, seed=2) * 0.2
    teacher, others = random(4, 4, 3, seed=3), random(4, 4, 4, seed=4) * 0.2

    def loss(images):
        targets = soft_targets(teacher[images], others[images], ANCHORS)
        return soft_target_loss(logits[images], deltas[images], ANCHORS, targets)

    whole, parts = loss(slice(0, 4)), [loss(slice(i, i + 1)) for i in range(4)]
    for term, value in whole.items():
        torch.testing.assert_close(value, torch.stack([part[term] for part in parts]).mean(), check_dtype=False)


def test_nothing_to_learn_from_oneself_and_wild_boxes_stay_finite():
    logits, deltas = random(1, 4, 3).requires_grad_(), (random(1, 4, 4) * 0.2).requires_grad_()
    found = soft_target_loss(logits, deltas, ANCHORS, soft_targets(logits, deltas, ANCHORS))
    assert found["class"].item() == pytest.approx(0, abs=1e-9) and found["box"].item() == pytest.approx(0, abs=1e-5)
    wild = soft_targets(logits, deltas + 500, ANCHORS)
    assert torch.isfinite(wild.boxes).all()
    sum(soft_target_loss(logits, deltas, ANCHORS, wild).values()).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    assert deltas.grad is not None and torch.isfinite(deltas.grad).all()


def test_a_head_learns_the_classes_that_both_know():
    from heads.protocol import Context, SharedClasses

    torch.manual_seed(0)
    head, teacher = detection(3), detection(4)
    features = {"P3": torch.randn(2, 8, 8, 8), "P4": torch.randn(2, 8, 4, 4)}
    context = Context((64, 64))
    own, other = head(features, context), teacher(features, context)
    found = head.distil(own, other, SharedClasses((2, 0), (1, 3)), temperature=4.0)
    targets = soft_targets(other.class_logits[..., [1, 3]], other.box_deltas, other.anchors)
    expected = soft_target_loss(own.class_logits[..., [2, 0]], own.box_deltas, own.anchors, targets)
    for term, value in expected.items():
        torch.testing.assert_close(found[term], value)
    (gradient,) = torch.autograd.grad(found["class"], own.class_logits)
    assert (gradient[..., 1] == 0).all() and (gradient[..., 0] != 0).any()
