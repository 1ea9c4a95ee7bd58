"""Losses that compare a model's maps and logits with a teacher's, against hand-worked values and torch's own divergence."""

import math

import pytest
import torch
import torch.nn.functional as F

from heads.classification import ClassificationHead
from heads.detection.anchors import AnchorSpec
from heads.detection.head import DetectionHead, DetectionOptions
from heads.distillation import channel_wise, class_wise, rows
from heads.pooled import PooledOptions
from heads.protocol import Distils, SharedClasses
from heads.semantic import SemanticHead, SemanticOptions


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_channel_wise_by_hand():
    # One channel of two positions. The teacher's softmax is (3/4, 1/4), the student's even: KL = ln 2 - H(1/4).
    teacher = torch.tensor([[[[math.log(3.0), 0.0]]]])
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert channel_wise(torch.zeros(1, 1, 1, 2), teacher, 1.0).item() == pytest.approx(expected)
    # At temperature 2 the maps are halved and the result is multiplied by 4.
    assert channel_wise(torch.zeros(1, 1, 1, 2), 2 * teacher, 2.0).item() == pytest.approx(4 * expected)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_both_are_torchs_divergence(temperature):
    own, other = random(2, 5, 3, 4, seed=1), random(2, 5, 3, 4, seed=2)
    kl = lambda a, b, dim: F.kl_div(
        (a / temperature).log_softmax(dim), (b / temperature).softmax(dim), reduction="none"
    ).sum(dim)
    expected = temperature**2 * kl(own.flatten(2), other.flatten(2), 2).mean()
    torch.testing.assert_close(channel_wise(own, other, temperature), expected)
    torch.testing.assert_close(class_wise(own, other, temperature), temperature**2 * kl(own, other, 1).mean())
    torch.testing.assert_close(
        class_wise(own[..., 0, 0], other[..., 0, 0], temperature),
        temperature**2 * kl(own[..., 0, 0], other[..., 0, 0], 1).mean(),
    )


def test_channel_wise_is_blind_to_offsets_and_zero_only_where_equal():
    own = random(2, 3, 4, 4)
    assert channel_wise(own, own + 7, 4.0).item() == pytest.approx(0, abs=1e-5)
    assert channel_wise(own, own.flip(3), 4.0) > 0.01


def test_a_batch_is_the_mean_of_its_images():
    own, other = random(4, 3, 4, 4, seed=1), random(4, 3, 4, 4, seed=2)
    parts = torch.stack([channel_wise(own[i : i + 2], other[i : i + 2], 4.0) for i in (0, 2)])
    torch.testing.assert_close(channel_wise(own, other, 4.0), parts.mean())


def test_reduced_precision_is_computed_in_float32():
    own, other = random(2, 3, 4, 4, seed=1), random(2, 3, 4, 4, seed=2)
    found = channel_wise(own.bfloat16(), other.bfloat16(), 4.0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, channel_wise(own, other, 4.0), rtol=0.05, atol=1e-3)


def test_rows_by_their_order():
    logits = random(2, 3, 4)
    assert rows(logits, (0, 1, 2, 3), 2) is logits
    assert torch.equal(rows(logits, (2, 0), 2), logits[..., [2, 0]])


def detection(classes=3, **options):
    return DetectionHead(8, classes, DetectionOptions(levels=("P3", "P4"), repeats=1, **options))


def pooled(classes):
    return ClassificationHead(8, classes, PooledOptions(head_channels=8))


def semantic(classes):
    return SemanticHead(8, classes, SemanticOptions(levels=("P3",), repeats=1))


ALL = SharedClasses((0, 1, 2), (0, 1, 2))


@pytest.mark.parametrize(
    ("head", "teacher", "shared", "reason"),
    [
        (detection(), detection(), ALL, None),
        (detection(), detection(), SharedClasses((), ()), "no class has the same name"),
        (detection(), semantic(3), ALL, "it is a SemanticHead"),
        (detection(), detection(anchors=AnchorSpec(scale=3.0)), ALL, "its anchors differ (head.detection.anchors)"),
        (semantic(3), semantic(3), ALL, None),
        (semantic(3), detection(), ALL, "it is a DetectionHead"),
        (
            semantic(3),
            semantic(3),
            SharedClasses((1,), (0,)),
            "a single class has the same name, and a softmax compares",
        ),
        (pooled(3), pooled(3), ALL, None),
        (pooled(3), semantic(3), ALL, "it is a SemanticHead"),
    ],
)
def test_what_a_head_cannot_learn_from(head, teacher, shared, reason):
    assert isinstance(head, Distils)
    found = head.cannot_learn_from(teacher, shared)
    assert found is None if reason is None else reason in str(found)


def test_a_classifier_compares_the_classes_that_both_know():
    own, other = random(2, 3, seed=1).requires_grad_(), random(2, 4, seed=2)
    shared = SharedClasses((0, 2), (3, 1))
    found = pooled(3).distil(own, other, shared, temperature=2.0)
    torch.testing.assert_close(found["class"], class_wise(own[:, [0, 2]], other[:, [3, 1]], 2.0))
    (gradient,) = torch.autograd.grad(found["class"], own)
    assert (gradient[:, 1] == 0).all() and (gradient[:, 0] != 0).all()


def test_a_map_of_another_size_is_resized_to_the_own():
    own, other = random(1, 3, 4, 6, seed=1), random(1, 3, 8, 12, seed=2)
    found = semantic(3).distil(own, other, ALL, temperature=1.0)["pixels"]
    smaller = F.interpolate(other, size=(4, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, class_wise(own, smaller, 1.0))
