"""Targets from a teacher's outputs on images without labels, against hand-worked values."""

import math

import pytest
import torch

from heads.detection.soft_targets import pseudo_labels, soft_target_loss
from heads.protocol import Context, LearnsUnlabelled
from heads.pseudo_labels import confident_classes, soft_cross_entropy
from heads.semantic import DeepLogits
from tests.heads.test_distillation import detection, pooled, semantic


def test_confident_classes_by_hand():
    # Two images of two classes: softmax (.9, .1) and (.6, .4); at .8 only the first is a target.
    logits = torch.tensor([[math.log(9.0), 0.0], [math.log(1.5), 0.0]])
    found = confident_classes(logits, 0.8)
    torch.testing.assert_close(found.targets, torch.tensor([[0.9, 0.1], [0.0, 0.0]]))
    assert found.counts.tolist() == [1, 0]
    assert found.confidence.item() == pytest.approx(0.9) and found.number.item() == 1


def test_pixels_count_as_shares_of_an_image():
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 2, 0] = 10.0  # the upper half is surely of class 2
    found = confident_classes(logits, 0.5)
    assert found.counts.tolist() == [0, 0, 0.5] and found.number.item() == 0.5
    assert (found.targets[0, :, 1] == 0).all()


def test_soft_cross_entropy_by_hand():
    # Even predictions cost ln 2 for each target; the place without one adds nothing to the mean.
    targets = torch.tensor([[0.9, 0.1], [0.0, 0.0]])
    logits = torch.zeros(2, 2, requires_grad=True)
    found = soft_cross_entropy(logits, targets)
    assert found.item() == pytest.approx(math.log(2) / 2)
    (gradient,) = torch.autograd.grad(found, logits)
    torch.testing.assert_close(gradient, torch.tensor([[0.5 - 0.9, 0.5 - 0.1], [0.0, 0.0]]) / 2)


def test_nothing_confident_is_zero_and_connected():
    logits = torch.zeros(2, 3, 4, 4, requires_grad=True)
    found = soft_cross_entropy(logits, confident_classes(logits, 0.9).targets)
    assert found.item() == 0
    assert torch.autograd.grad(found, logits)[0].abs().sum() == 0


def test_anchors_outside_of_the_foreground_are_background():
    logits = torch.full((1, 250, 2), -4.0)
    logits[0, [5, 9, 11], [0, 1, 1]] = torch.tensor([0.0, 1.0, 2.0])
    anchors = torch.tensor([[0.0, 0, 8, 8]]).expand(250, 4)
    found = pseudo_labels(logits, torch.zeros(1, 250, 4), anchors)
    scores = torch.tensor([0.0, 1.0, 2.0]).sigmoid()
    torch.testing.assert_close(found.counts, torch.stack([scores[0], scores[1] + scores[2]]))
    torch.testing.assert_close(found.confidence, scores.sum())
    assert found.number.item() == 3
    targets = found.targets.logits.sigmoid()
    assert (targets.sum(2) > 0).nonzero()[:, 1].tolist() == [5, 9, 11]
    # A prediction of p = 1/2 everywhere: each of the 247 background anchors costs (1/2)^2 ln 2 for each class.
    loss = soft_target_loss(torch.zeros(1, 250, 2), torch.zeros(1, 250, 4), anchors, found.targets)["class"]
    soft = targets[0, [5, 9, 11]]
    rest = ((soft - 0.5) ** 2 * math.log(2)).sum()
    assert loss.item() == pytest.approx(((247 * 2 * 0.25 * math.log(2)) + rest.item()) / scores.sum().item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["detection", "semantic", "classification"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_heads_learn_what_they_name(kind, dtype):
    torch.manual_seed(0)
    head = {"detection": detection, "semantic": semantic, "classification": pooled}[kind](3)
    assert isinstance(head, LearnsUnlabelled)
    features = {"P3": torch.randn(2, 8, 8, 8), "P4": torch.randn(2, 8, 4, 4), "C5": torch.randn(2, 8, 4, 4)}
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        weak, strong = (head(features, Context((64, 64))) for _ in range(2))
        labels = head.pseudo_labels(weak, confidence=0.0)
        terms = head.pseudo_loss(strong, labels)
    assert tuple(terms) == tuple(head.pseudo_terms)
    assert labels.counts.shape == (3,) and labels.number > 0
    for term in terms.values():
        assert term.dtype == torch.float32 and torch.isfinite(term) and term.requires_grad


def test_the_auxiliary_output_is_left_out():
    head, logits = semantic(3), torch.randn(1, 3, 4, 4)
    labels = head.pseudo_labels(logits, confidence=0.0)
    plain, deep = head.pseudo_loss(logits, labels), head.pseudo_loss(DeepLogits(logits, logits), labels)
    torch.testing.assert_close(plain["pixels"], deep["pixels"])


def test_classes_without_a_name_are_never_said():
    head = detection(3)
    head.named_classes[1] = False
    output = head({"P3": torch.randn(1, 8, 8, 8), "P4": torch.randn(1, 8, 4, 4)}, Context((64, 64)))
    output.class_logits[..., 1] += 20
    labels = head.pseudo_labels(output, confidence=0.0)
    assert labels.counts[1] == 0
    assert (labels.targets.logits[..., 1] == -torch.inf).all()
