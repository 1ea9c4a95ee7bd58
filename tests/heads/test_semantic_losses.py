"""Losses of segmentation maps against hand values, torch's own cross-entropy and the Jaccard index."""

import math
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F

from heads.semantic_losses import (
    SemanticLoss,
    balanced_weights,
    cross_entropy,
    dice,
    lovasz_softmax,
    semantic_loss,
)
from heads.structures import UserError

CERTAIN = 200.0
"""A logit that makes a probability of 1."""


def random_case(classes=4, size=(6, 9), batch=2, ignored=True):
    torch.manual_seed(0)
    target = torch.randint(0, classes, (batch, *size), dtype=torch.uint8)
    if ignored:
        target[:, :2] = 255
    return torch.randn(batch, classes, *size), target


def certain(target, classes):
    """Logits that say `target` without doubt."""
    return F.one_hot(target.long().clamp(max=classes - 1), classes).movedim(-1, 1).float() * CERTAIN


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5, 0.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs_mean(weights, smoothing):
    scores, target = random_case()
    expected = F.cross_entropy(
        scores,
        target.long(),
        weight=None if weights is None else torch.tensor(weights),
        ignore_index=255,
        label_smoothing=smoothing,
    )
    found = cross_entropy(scores, target, SemanticLoss(class_weights=weights, label_smoothing=smoothing))
    assert torch.allclose(found, expected)


def test_ohem_leaves_out_what_is_learnt_but_keeps_a_share():
    # Probabilities of the true class: .9, .9, .6, .1
    true = torch.tensor([0.9, 0.9, 0.6, 0.1])
    scores = torch.stack([true.log(), (1 - true).log()])[None, :, None]  # (1, 2, 1, 4)
    target = torch.zeros(1, 1, 4, dtype=torch.uint8)
    below = cross_entropy(scores, target, SemanticLoss(ohem=0.7, ohem_share=0.25))
    assert below.item() == pytest.approx(-(math.log(0.6) + math.log(0.1)) / 2)
    share = cross_entropy(scores, target, SemanticLoss(ohem=0.05, ohem_share=0.25))
    assert share.item() == pytest.approx(-math.log(0.1))


def test_dice_by_hand():
    # One row of 4 pixels, two classes; probabilities of class 1: 1, 1, 0, 0; truth: 1, 0, 0, ignored
    scores = torch.tensor([[-CERTAIN, -CERTAIN, CERTAIN, CERTAIN]])[None]
    scores = torch.stack([scores, -scores], dim=1)  # (1, 2, 1, 4)
    target = torch.tensor([[[1, 0, 0, 255]]], dtype=torch.uint8)
    # class 0: 2 * 1 / (1 + 2), class 1: 2 * 1 / (2 + 1)
    assert dice(scores, target).item() == pytest.approx(1 - 2 / 3)


def test_lovasz_of_a_decided_map_is_the_jaccard_loss():
    """At the corners of the cube the extension is the set function itself: 1 - IoU, over the classes in the truth."""
    _, truth = random_case(classes=3)
    torch.manual_seed(1)
    said = torch.randint(0, 3, truth.shape, dtype=torch.uint8)
    counted = truth != 255
    losses = []
    for label in range(3):
        t, p = (truth == label) & counted, (said == label) & counted
        losses.append(1 - (t & p).sum() / (t | p).sum())
    found = lovasz_softmax(certain(said, 3), truth)
    assert torch.allclose(found, torch.stack(losses).mean(), atol=1e-5)


@pytest.mark.parametrize("term", ["dice", "lovasz"])
def test_a_class_that_is_not_there_counts_nothing(term):
    target = torch.zeros(1, 4, 4, dtype=torch.uint8)
    loss = semantic_loss(certain(target, 3), target, SemanticLoss(cross_entropy=0, **{term: 1.0}))
    assert list(loss) == [term] and loss[term].item() == pytest.approx(0, abs=1e-6)


ALL = SemanticLoss(dice=1.0, lovasz=0.5, ohem=0.7, label_smoothing=0.1, class_weights=(1.0, 2.0, 3.0, 4.0))


def test_nothing_labelled_is_zero_and_connected():
    scores, _ = random_case()
    scores.requires_grad_()
    target = torch.full((2, 12, 18), 255, dtype=torch.uint8)
    terms = semantic_loss(scores, target, ALL)
    assert set(terms) == {"cross_entropy", "dice", "lovasz"} and all(value.item() == 0 for value in terms.values())
    sum(terms.values()).backward()
    assert torch.equal(scores.grad, torch.zeros_like(scores))


def test_an_image_without_mask_changes_nothing():
    scores, target = random_case(batch=1)
    both = torch.cat([target, torch.full_like(target, 255)])
    twice = torch.cat([scores, torch.randn_like(scores)])
    plain = SemanticLoss(dice=1.0, lovasz=1.0, class_weights=(1.0, 2.0, 3.0, 4.0))
    one, two = semantic_loss(scores, target, plain), semantic_loss(twice, both, plain)
    assert all(torch.allclose(one[term], two[term], atol=1e-6) for term in one)


def test_logits_are_enlarged_to_the_target_in_float32():
    scores, _ = random_case(size=(4, 5), ignored=False)
    target = torch.randint(0, 4, (2, 16, 20), dtype=torch.uint8)
    larger = F.interpolate(scores.bfloat16().float(), size=(16, 20), mode="bilinear", align_corners=False)
    loss = semantic_loss(scores.bfloat16(), target, SemanticLoss())["cross_entropy"]
    assert loss.dtype == torch.float32
    assert torch.allclose(loss, F.cross_entropy(larger, target.long()))


def test_all_terms_have_finite_gradients():
    scores, target = random_case(size=(3, 4))
    scores.requires_grad_()
    sum(semantic_loss(scores, target, ALL).values()).backward()
    assert torch.isfinite(scores.grad).all() and scores.grad.abs().sum() > 0


def test_balanced_weights_by_hand():
    # shares .9, .09, .01 of 1000 pixels, and a class without any
    pixels = (900, 90, 10, 0)
    raw = (0.1, 1.0, 9.0)
    assert balanced_weights(pixels, "median") == pytest.approx((*(w * 3 / sum(raw) for w in raw), 1.0))
    raw = tuple(math.sqrt(w) for w in raw)
    assert balanced_weights(pixels, "sqrt") == pytest.approx((*(w * 3 / sum(raw) for w in raw), 1.0))
    raw = tuple(1 / math.log(1.02 + share) for share in (0.9, 0.09, 0.01))
    assert balanced_weights(pixels, "log") == pytest.approx((*(w * 3 / sum(raw) for w in raw), 1.0))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"cross_entropy": 0.0}, "one of them must be above 0"),
        ({"dice": -1.0}, "loss.dice=-1.0: must be float ≥ 0"),
        ({"ohem": 0.0}, "loss.ohem=0.0"),
        ({"ohem_share": 2.0}, "loss.ohem_share=2.0"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"class_weights": (0.0, 0.0)}, "not all 0"),
    ],
)
def test_settings_are_checked(wrong, text):
    with pytest.raises(UserError, match=text):
        SemanticLoss(**wrong)


def test_an_unknown_rule_is_named():
    with pytest.raises(UserError, match="'cube' is unknown"):
        balanced_weights((1, 2), "cube")
    with pytest.raises(UserError, match="no pixel at all"):
        balanced_weights((0, 0), "log")


def test_class_weights_are_copied_once_and_learn_after_an_evaluation():
    settings = SemanticLoss(class_weights=(1.0, 3.0))
    target = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    with torch.inference_mode():
        cross_entropy(torch.zeros(1, 2, 1, 2), target, settings)
    scores = torch.zeros(1, 2, 1, 2, requires_grad=True)
    with copies_forbidden():
        cross_entropy(scores, target, settings).backward()
    # Each pixel's slope at its true class is -1/2, by its class's share of the weights.
    assert scores.grad[0, 0, 0, 0].item() == pytest.approx(-0.125)
    assert scores.grad[0, 1, 0, 1].item() == pytest.approx(-0.375)


@contextmanager
def copies_forbidden():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "tensor", lambda *values, **options: pytest.fail("copies to the device in every step"))
        yield
