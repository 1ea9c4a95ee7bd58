"""Focal, Huber and IoU losses against plain formulas, and the edges: nothing to learn, unlabelled sets, reduced precision."""

import math

import pytest
import torch
import torch.nn.functional as F

from heads.detection import DetectionHead, DetectionOptions, focal
from heads.detection.anchors import AnchorSpec, anchors
from heads.detection.boxes import encode
from heads.detection.focal import focal_loss, quality_focal_loss, varifocal_loss
from heads.detection.losses import BOX_LOSSES, DetectionLoss, FocalLoss, HuberLoss, box_loss, normalizer
from heads.structures import UserError


def plain_focal(logits, labels, alpha=0.25, gamma=1.5, smoothing=0.0):
    """The definition, entry by entry, with a one-hot target."""
    target = torch.zeros_like(logits)
    for image, anchor in (labels >= 0).nonzero().tolist():
        target[image, anchor, labels[image, anchor]] = 1
    p = logits.sigmoid()
    p_t, a_t = torch.where(target == 1, p, 1 - p), torch.where(target == 1, alpha, 1 - alpha)
    smooth = target * (1 - smoothing) + smoothing / 2
    return a_t * (1 - p_t) ** gamma * F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")


def example(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 11, 4, generator=generator, dtype=torch.float64).mul_(3).sub_(2).to(dtype)
    labels = torch.randint(-1, 4, (3, 11), generator=generator)
    return logits.requires_grad_(), labels


def test_focal_by_hand():
    # One anchor, two classes, class 0 is right; both logits 0, so p = 1/2: .25 * .5^1.5 * ln 2 + .75 * .5^1.5 * ln 2.
    loss = focal_loss(torch.zeros(1, 1, 2), torch.tensor([[0]]))
    assert loss.item() == pytest.approx(0.5**1.5 * math.log(2))
    assert focal_loss(torch.zeros(1, 1, 2), torch.tensor([[-1]])).item() == pytest.approx(1.5 * 0.5**1.5 * math.log(2))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("piece", [1, 7, 1 << 17])
def test_focal_as_defined(smoothing, piece, monkeypatch):
    monkeypatch.setitem(focal.PIECE, "cpu", piece)
    logits, labels = example()
    weight = torch.tensor([1.0, 0.0, 2.0])
    loss = focal_loss(logits, labels, label_smoothing=smoothing, weight=weight)
    expected = (plain_focal(logits, labels, smoothing=smoothing).sum((1, 2)) * weight).sum()
    torch.testing.assert_close(loss, expected, check_dtype=False)
    gradient, expected_gradient = torch.autograd.grad(3 * loss, logits)[0], torch.autograd.grad(3 * expected, logits)[0]
    torch.testing.assert_close(gradient, expected_gradient)
    assert (gradient[1] == 0).all()


@pytest.mark.parametrize(("gamma", "smoothing"), [(1.5, 0.0), (2.0, 0.2), (0.0, 0.0)])
def test_focal_gradcheck(gamma, smoothing):
    logits, labels = example()
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, labels, gamma=gamma, label_smoothing=smoothing), (logits,))


SOFT = {"quality": quality_focal_loss, "varifocal": varifocal_loss}


@pytest.mark.parametrize("name", list(SOFT))
@pytest.mark.parametrize("piece", [1, 7, 1 << 17])
def test_soft_losses_as_defined(name, piece, monkeypatch):
    monkeypatch.setitem(focal.PIECE, "cpu", piece)
    logits, labels = example()
    score = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight = torch.tensor([1.0, 0.0, 2.0])
    fires = torch.arange(logits.shape[2]) == labels[..., None]
    target, p = torch.where(fires, score[..., None], 0.0), logits.sigmoid()
    entropy = F.binary_cross_entropy(p, target, reduction="none")
    factor = (p - target).abs() ** 2 if name == "quality" else torch.where(fires, target, 0.75 * p**2)
    expected = ((factor * entropy).sum((1, 2)) * weight).sum()
    loss = SOFT[name](logits, labels, score, weight=weight)
    torch.testing.assert_close(loss, expected, check_dtype=False)
    torch.testing.assert_close(
        torch.autograd.grad(3 * loss, logits, retain_graph=True)[0],
        torch.autograd.grad(3 * expected, logits)[0]
        if name == "quality"
        else _varifocal_slope(logits, score, fires, weight),
    )


def _varifocal_slope(logits, score, fires, weight):
    """The derivative of three times the loss, written out; its factor ``alpha p**gamma`` has a slope, ``y`` has none."""
    p = logits.detach().sigmoid()
    background = 0.75 * (2 * p**2 * (1 - p) * -torch.log(1 - p) + p**3)
    return 3 * weight[:, None, None] * torch.where(fires, score[..., None] * (p - score[..., None]), background)


@pytest.mark.parametrize("name", list(SOFT))
def test_soft_losses_gradcheck_and_stay_finite(name):
    logits, labels = example()
    score = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.9
    assert torch.autograd.gradcheck(lambda x: SOFT[name](x, labels, score), (logits,))
    assert torch.autograd.gradgradcheck(lambda x: SOFT[name](x, labels, score), (logits,))
    far = torch.tensor([[[-1e4, 1e4, -100.0, 100.0]]], requires_grad=True)
    for label in range(-1, 4):
        loss = SOFT[name](far, torch.tensor([[label]]), torch.tensor([[0.5]]))
        assert loss.isfinite() and torch.autograd.grad(loss, far)[0].isfinite().all()


def test_a_quality_target_that_is_met_costs_nothing():
    logit = torch.logit(torch.tensor(0.7)).reshape(1, 1, 1).requires_grad_()
    loss = quality_focal_loss(logit, torch.tensor([[0]]), torch.tensor([[0.7]]))
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert torch.autograd.grad(loss, logit)[0].item() == pytest.approx(0, abs=1e-6)


def test_focal_stays_finite_at_extreme_logits():
    logits = torch.tensor([[[-1e4, 1e4, -100.0, 100.0]]], requires_grad=True)
    for label in range(-1, 4):
        loss = focal_loss(logits, torch.tensor([[label]]))
        assert loss.isfinite()
        assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_focal_computes_bf16_in_float32():
    logits, labels = example(torch.bfloat16)
    loss = focal_loss(logits, labels)
    wide = logits.detach().float().requires_grad_()
    expected = focal_loss(wide, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)
    gradient = torch.autograd.grad(loss, logits)[0]
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(gradient.float(), torch.autograd.grad(expected, wide)[0], rtol=1e-2, atol=1e-4)


def test_focal_stores_nothing_of_the_logits_size():
    logits, labels = example(torch.float32)
    stored = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: stored.append(x) or x, lambda x: x):
        focal_loss(logits, labels)
    assert [x.data_ptr() for x in stored if x.numel() >= logits.numel()] == [logits.data_ptr()]


ANCHORS = anchors([(2, 3)], (16, 24), AnchorSpec())


def box_example():
    generator = torch.Generator().manual_seed(0)
    positive = torch.rand(2, len(ANCHORS), generator=generator) < 0.2
    corner = torch.rand(2, len(ANCHORS), 2, generator=generator) * 20
    boxes = torch.cat([corner, corner + torch.rand(2, len(ANCHORS), 2, generator=generator) * 20 + 1], -1)
    return (torch.randn(2, len(ANCHORS), 4, generator=generator) * 0.2).requires_grad_(), boxes, positive


def test_huber_as_defined():
    deltas, boxes, positive = box_example()
    total = 0.0
    for image, anchor in positive.nonzero().tolist():
        error = (deltas[image, anchor] - encode(ANCHORS[anchor], boxes[image, anchor])).abs().tolist()
        total += sum(0.5 * e * e if e <= 0.1 else 0.1 * (e - 0.05) for e in error) / 4
    loss = box_loss(deltas, ANCHORS, boxes, positive, HuberLoss())
    assert loss.item() == pytest.approx(total, rel=1e-5)
    gradient = torch.autograd.grad(loss, deltas)[0]
    assert (gradient[~positive] == 0).all()
    assert (gradient[positive] != 0).all()


@pytest.mark.parametrize("kind", ["giou", "ciou"])
def test_iou_losses(kind):
    deltas, boxes, positive = box_example()
    exact = encode(ANCHORS, boxes).requires_grad_()
    settings = DetectionLoss(box=kind)
    assert box_loss(exact, ANCHORS, boxes, positive, BOX_LOSSES[settings.box](settings)).item() == pytest.approx(
        0, abs=1e-3
    )
    loss = box_loss(
        deltas + 100, ANCHORS, boxes, positive, BOX_LOSSES[settings.box](settings)
    )  # exp(100) has no float32
    assert loss.isfinite()
    assert torch.autograd.grad(loss, deltas)[0].isfinite().all()


def test_rows_that_are_not_positive_are_not_read():
    deltas, boxes, positive = box_example()
    clean = box_loss(deltas, ANCHORS, boxes, positive, HuberLoss())
    dirty = torch.where(positive[..., None], boxes, float("nan"))
    assert box_loss(deltas, ANCHORS, dirty, positive, HuberLoss()) == clean


@pytest.mark.parametrize("box", ["huber", "giou", "ciou"])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 3e38])
def test_deltas_of_background_that_are_not_finite_leave_the_gradient_alone(box, value):
    """Half precision overflows first where nothing is learnt: an anchor that no box wants."""
    deltas, boxes, positive = box_example()
    assert not positive.all()
    wild = torch.where(positive[..., None], deltas.detach(), value).requires_grad_()
    settings = DetectionLoss(box=box)
    loss = box_loss(wild, ANCHORS, boxes, positive, BOX_LOSSES[settings.box](settings))
    (gradient,) = torch.autograd.grad(loss, wild)
    (expected,) = torch.autograd.grad(
        box_loss(deltas, ANCHORS, boxes, positive, BOX_LOSSES[settings.box](settings)), deltas
    )
    assert torch.equal(gradient, expected) and (gradient[positive] != 0).any()


def test_normalizer():
    assert normalizer(torch.tensor(0)) == 1
    assert normalizer(torch.tensor(7)) == 7
    assert normalizer(torch.tensor(7), "paper") == 8
    assert normalizer(torch.tensor(7)).dtype == torch.float32


def test_normalizer_is_the_mean_over_ranks(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(5))  # the other rank has 5
    assert normalizer(torch.tensor(7)) == 6
    assert normalizer(torch.tensor(7), "paper") == 6.5
    assert normalizer(torch.tensor(-5)) == 0.5  # no box on either: the floor of 1 is that of all ranks together


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"classes": "quality", "gamma": 2.0},
            "loss.classes=quality: alpha, gamma and label_smoothing are of the focal loss",
        ),
        ({"classes": "varifocal", "label_smoothing": 0.1}, "leave them out, or take loss.classes=focal"),
        ({"matcher": "sim"}, "loss.matcher=sim: must be iou \\| atss \\| tal"),
        ({"box": "l1"}, "loss.box=l1: must be huber \\| giou \\| ciou"),
        ({"label_smoothing": 1.5}, "loss.label_smoothing=1.5: must be float 0…1"),
        ({"delta": 0.0}, "loss.delta=0.0: must be float 0.001…10"),
    ],
)
def test_bad_settings(values, text):
    with pytest.raises(UserError, match=text):
        DetectionLoss(**values)


def test_box_weight_follows_the_loss():
    assert (DetectionLoss().box_factor, DetectionLoss(box="ciou").box_factor) == (50, 2)
    assert DetectionLoss(box_weight=0.0).box_factor == 0


WEIGHED = {"focal": lambda x, labels, score, **options: focal_loss(x, labels, **options), **SOFT}


@pytest.mark.parametrize("name", list(WEIGHED))
def test_class_weights_are_factors_of_the_positive_entries(name):
    """The difference to the loss without them is that of the entries that should fire, each times its weight less one."""
    logits, labels = example()
    score = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights, image = torch.tensor([0.5, 1.0, 3.0, 0.0], dtype=torch.float64), torch.tensor([1.0, 0.0, 2.0])

    def loss(x, labels, weights=None):
        return WEIGHED[name](x, labels, score, weight=image, class_weight=weights)

    def of_class(k):  # what the positive anchors of a class cost, with and without them as background
        other = torch.where(labels == k, -1, labels)
        entries = torch.where((labels == k)[..., None], logits, -1e3)[..., k : k + 1].contiguous()
        as_background = loss(entries, torch.full_like(labels, -1))
        return loss(logits, labels) - loss(logits, other) + as_background

    expected = loss(logits, labels) + sum((weights[k] - 1) * of_class(k) for k in range(4))
    found = loss(logits, labels, weights)
    torch.testing.assert_close(found, expected, check_dtype=False, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss(logits, labels, torch.ones(4)), loss(logits, labels))
    differentiable = logits[:, :5].detach().requires_grad_()
    few, score = labels[:, :5], score[:, :5] * 0.9
    assert torch.autograd.gradcheck(lambda x: loss(x, few, weights), (differentiable,))
    assert torch.autograd.gradgradcheck(lambda x: loss(x, few, weights), (differentiable,))


def test_class_weights_that_fit_nothing_are_refused():
    for weights in ((-1.0, 1.0), (0.0, 0.0), ()):
        with pytest.raises(UserError, match="loss.class_weights=.*must be 0 or more, and not all 0"):
            DetectionLoss(class_weights=weights)
    with pytest.raises(UserError, match="loss.class_weights has 2 numbers for 3 classes"):
        DetectionHead(8, 3, DetectionOptions(loss=DetectionLoss(class_weights=(1.0, 2.0))))
    own = DetectionOptions(loss=DetectionLoss(class_weights=(1.0, 2.0)), class_loss=FocalLoss())
    with pytest.raises(UserError, match="loss.class_weights is for the losses of loss.classes"):
        DetectionHead(8, 2, own)
