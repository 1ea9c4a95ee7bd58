"""Suppression must equal torchvision's for each image and class, to the last index."""

import math

import hypothesis.strategies as st
import pytest
import torch
import torchvision
from hypothesis import given, settings

from heads.detection import nms
from heads.detection.nms import greedy_nms, soft_nms


def clusters(batch: int, count: int, classes: int, seed: int, *, places: int = 6):
    """Candidates around a few places, sorted by score, so that long chains of suppression arise."""
    generator = torch.Generator().manual_seed(seed)
    centre = (
        torch.rand(places, 2, generator=generator)[torch.randint(places, (batch, count), generator=generator)] * 900
    )
    centre = centre + torch.randn(batch, count, 2, generator=generator) * 12
    half = torch.rand(batch, count, 2, generator=generator) * 30 + 20
    scores = torch.rand(batch, count, generator=generator).sort(dim=1, descending=True).values
    labels = torch.randint(classes, (batch, count), generator=generator)
    return torch.cat([centre - half, centre + half], -1), scores, labels


def one_by_one(boxes, scores, labels, iou):
    """An image's kept positions, by torchvision for each class separately."""
    kept = []
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        kept += own[torchvision.ops.nms(boxes[own], scores[own], iou)].tolist()
    return sorted(kept)


@given(
    st.integers(1, 3),
    st.sampled_from([0, 1, 2, 50, 400]),
    st.sampled_from([1, 3, 90]),
    st.integers(0, 10**6),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_equals_nms_of_each_image_and_class(batch, count, classes, seed, small_rounds, far):
    boxes, scores, labels = clusters(batch, count, classes, seed)
    before = nms._ROUND, dict(nms.PAIRS_AT_ONCE)
    if small_rounds:
        nms._ROUND, nms.PAIRS_AT_ONCE["cpu"] = 7, 100
    if far and count:  # one box without bounds, which no class has room for
        boxes[:, -1] = torch.tensor([-2e9, -2e9, 2e9, 2e9])
    try:
        valid = torch.rand(batch, count, generator=torch.Generator().manual_seed(seed)) < 0.9
        index, real = greedy_nms(boxes, labels, valid, iou=0.5, limit=1000)
    finally:
        nms._ROUND, nms.PAIRS_AT_ONCE["cpu"] = before[0], before[1]["cpu"]
    for image in range(batch):
        some = valid[image].nonzero()[:, 0]
        expected = one_by_one(boxes[image, some], scores[image, some], labels[image, some], 0.5)
        assert index[image, real[image]].tolist() == some[expected].tolist()


def test_class_agnostic_and_limit():
    boxes, scores, _ = clusters(2, 300, 1, 0)
    index, real = greedy_nms(boxes, None, torch.ones(2, 300, dtype=torch.bool), iou=0.5, limit=4)
    assert index.shape == (2, 4)
    for image in range(2):
        expected = torchvision.ops.nms(boxes[image], scores[image], 0.5)[:4]
        assert index[image, real[image]].tolist() == expected.tolist()


def test_single_as_batched_with_nothing_in_one_image():
    boxes, _, labels = clusters(3, 200, 5, 1)
    valid = torch.ones(3, 200, dtype=torch.bool)
    valid[1] = False
    index, real = greedy_nms(boxes, labels, valid, iou=0.5, limit=50)
    assert not real[1].any()
    for image in (0, 2):
        alone, alone_real = greedy_nms(boxes[image, None], labels[image, None], valid[image, None], iou=0.5, limit=50)
        assert index[image, real[image]].tolist() == alone[alone_real].tolist()


def test_float32_is_not_rounded_by_offsets():
    """Two boxes a hair below and above IoU 0.5, in the last image and class, where shifted float32 boxes lose 1/16 px."""
    boxes = torch.tensor([[[0.0, 0, 30, 10], [10.01, 0, 40.01, 10], [9.99, 20, 39.99, 30], [0, 20, 30, 30]]])
    boxes = boxes.expand(8, 4, 4) + 1000
    labels = torch.full((8, 4), 89)
    index, real = greedy_nms(boxes, labels, torch.ones(8, 4, dtype=torch.bool), iou=0.5, limit=10)
    assert [index[p, real[p]].tolist() for p in range(8)] == [[0, 1, 2]] * 8
    alone, _ = greedy_nms(boxes[:1], labels[:1], torch.ones(1, 4, dtype=torch.bool), iou=0.5, limit=10)
    assert alone.tolist() == [[0, 1, 2]]


def soft_rule(boxes, scores, labels, sigma, minimum):
    """Bodla's algorithm, pick by pick."""
    left, scores, picked = list(range(len(scores))), scores.tolist(), []
    while left:
        best = max(left, key=lambda i: scores[i])
        if scores[best] <= minimum:
            break
        picked.append((best, scores[best]))
        left.remove(best)
        iou = torchvision.ops.box_iou(boxes[best, None], boxes)[0].tolist()
        for i in left:
            if labels[i] == labels[best]:
                scores[i] *= math.exp(-(iou[i] ** 2) / sigma)
    return picked


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_soft_nms_as_the_algorithm(seed):
    boxes, scores, labels = clusters(2, 60, 2, seed)
    index, faded = soft_nms(boxes, scores, labels, sigma=0.5, minimum=0.01, limit=100)
    for image in range(2):
        expected = soft_rule(boxes[image], scores[image], labels[image], 0.5, 0.01)
        real = faded[image] > 0
        assert index[image, real].tolist() == [i for i, _ in expected]
        torch.testing.assert_close(faded[image, real], torch.tensor([s for _, s in expected]), rtol=1e-4, atol=1e-6)
    first, first_faded = soft_nms(boxes, scores, labels, sigma=0.5, minimum=0.01, limit=5)
    assert torch.equal(first, index[:, :5])
    assert torch.equal(first_faded, faded[:, :5])


def test_soft_nms_of_nothing():
    index, faded = soft_nms(torch.zeros(2, 0, 4), torch.zeros(2, 0), None, sigma=0.5, minimum=0.1, limit=5)
    assert index.shape == faded.shape == (2, 0)
