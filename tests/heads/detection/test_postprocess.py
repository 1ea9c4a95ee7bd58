"""From logits to detections: the fast way equals the plain one."""

import sys
from dataclasses import replace

import pytest
import torch
import torchvision

from heads.detection.anchors import AnchorSpec, anchors
from heads.detection.boxes import decode, encode
from heads.detection.postprocess import PostProcess, postprocess
from heads.structures import UserError

IMAGE, SIZES = (64, 96), [(8, 12), (4, 6), (2, 3)]
ANCHORS = anchors(SIZES, IMAGE, AnchorSpec())


def example(batch=2, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, len(ANCHORS), classes, generator=generator) * 1.5 - 3
    return logits, torch.randn(batch, len(ANCHORS), 4, generator=generator) * 0.2


def plain(logits, deltas, settings):
    """One image: everything decoded, everything sorted, torchvision's NMS."""
    scores, place = logits.sigmoid().flatten().sort(descending=True, stable=True)
    keep = scores >= settings.score_threshold
    scores, place = scores[keep][: settings.pre_nms], place[keep][: settings.pre_nms]
    boxes, labels = decode(ANCHORS, deltas)[place // logits.shape[1]], place % logits.shape[1]
    kept = torchvision.ops.batched_nms(boxes, scores, labels, settings.nms_iou)[: settings.max_detections]
    return boxes[kept], scores[kept], labels[kept]


@pytest.mark.parametrize(
    "settings",
    [
        PostProcess(),
        PostProcess(score_threshold=0.2, nms_iou=0.3),
        PostProcess(pre_nms=40),
        PostProcess(max_detections=7),
        PostProcess(score_threshold=0.0),
        PostProcess(score_threshold=1.0),
        PostProcess(per_class_nms=True, max_detections=60, score_threshold=0.02),
    ],
)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("first", [3, 30, 90, 1536])  # enough at once, or not
def test_as_the_plain_way(settings, batch, first, monkeypatch):
    monkeypatch.setattr(sys.modules[PostProcess.__module__], "FIRST", first)
    logits, deltas = example(batch)
    found = postprocess(logits, deltas, ANCHORS, settings)
    for image in range(batch):
        boxes, scores, labels = plain(logits[image], deltas[image], settings)
        our_boxes, our_scores, our_labels = found.image(image)
        torch.testing.assert_close(our_boxes, boxes)
        torch.testing.assert_close(our_scores, scores)
        assert torch.equal(our_labels, labels)
        assert (found.scores[image, len(scores) :] == 0).all()
        assert (found.labels[image, len(scores) :] == -1).all()
        more = int((logits[image].sigmoid() >= settings.score_threshold).sum()) > settings.pre_nms
        unlimited = plain(logits[image], deltas[image], replace(settings, max_detections=10**6))[1]
        assert found.capped is not None
        assert bool(found.capped[image]) == (more or len(unlimited) > settings.max_detections)
    assert found.boxes.dtype == found.scores.dtype == torch.float32


def test_one_object_by_hand():
    # One anchor fires at logit 2 for class 3; its deltas say where the box is. Boxes may leave the canvas.
    target = torch.tensor([70.0, 30, 110, 50])
    logits, deltas = torch.full((1, len(ANCHORS), 4), -20.0), torch.zeros(1, len(ANCHORS), 4)
    logits[0, 100, 3], deltas[0, 100] = 2.0, encode(ANCHORS[100], target)
    found = postprocess(logits, deltas, ANCHORS, PostProcess())
    assert (found.counts.tolist(), found.labels.tolist()) == ([1], [[3]])
    torch.testing.assert_close(found.boxes[0, 0], target)
    assert found.scores.item() == pytest.approx(1 / (1 + 2.718281828**-2))
    assert found.capped is not None
    assert not found.capped.any()


def test_nothing_found():
    logits, deltas = torch.full((3, len(ANCHORS), 4), -20.0), torch.zeros(3, len(ANCHORS), 4)
    for settings in (PostProcess(), PostProcess(soft_nms=True), PostProcess(multi_label=False)):
        found = postprocess(logits, deltas, ANCHORS, settings)
        assert found.boxes.shape == (3, 0, 4)
        assert found.counts.tolist() == [0, 0, 0]


@pytest.mark.parametrize("soft", [False, True])
def test_caps_are_announced(soft):
    logits, deltas = torch.full((3, len(ANCHORS), 1), -20.0), torch.zeros(3, len(ANCHORS), 4)
    far_apart = [0, 9 * 6, 9 * 11]  # three cells of the first row whose smallest anchors don't meet
    logits[0, far_apart], logits[1, far_apart[:2]], logits[2, far_apart[:1]] = 1.0, 1.0, 1.0

    def capped(**values) -> list[bool]:
        found = postprocess(logits, deltas, ANCHORS, PostProcess(soft_nms=soft, **values))
        assert found.capped is not None
        return found.capped.tolist()

    assert capped(max_detections=2) == [True, False, False]
    assert capped(pre_nms=1) == [True, True, False]
    assert capped() == [False, False, False]
    found = postprocess(logits, deltas, ANCHORS, PostProcess(soft_nms=soft, max_detections=2))
    assert found.counts.tolist() == [2, 2, 1]


@pytest.mark.parametrize("options", [{}, {"multi_label": False}, {"soft_nms": True}, {"score_threshold": 0.0}])
def test_unnamed_logits_never_detect(options):
    logits, deltas = example(classes=4)
    logits[..., 2] += 50  # loud, and unnamed
    named = torch.tensor([True, True, False, True])
    found = postprocess(logits, deltas, ANCHORS, PostProcess(**options), named=named)
    silent = logits.clone()
    silent[..., 2] = float("-inf")
    expected = postprocess(silent, deltas, ANCHORS, PostProcess(**options))
    assert (found.labels != 2).all()
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.scores, expected.scores)


def test_single_label_takes_the_best_class_of_an_anchor():
    logits, deltas = example()
    best = torch.where(logits == logits.amax(2, keepdim=True), logits, float("-inf"))
    found = postprocess(logits, deltas, ANCHORS, PostProcess(multi_label=False))
    expected = postprocess(best, deltas, ANCHORS, PostProcess())
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.boxes, expected.boxes)


def test_class_agnostic_suppression():
    logits, deltas = example(batch=1)
    found = postprocess(logits, deltas, ANCHORS, PostProcess(per_class_nms=False))
    boxes, _, _ = found.image(0)
    assert (torchvision.ops.box_iou(boxes, boxes).triu(1) <= 0.5).all()


def test_sorted_and_single_as_batched():
    logits, deltas = example(batch=3, seed=5)
    for settings in (PostProcess(), PostProcess(soft_nms=True)):
        found = postprocess(logits, deltas, ANCHORS, settings)
        assert (found.scores.diff(dim=1) <= 0).all()
        for image in range(3):
            alone = postprocess(logits[image, None], deltas[image, None], ANCHORS, settings)
            for one, other in zip(alone.image(0), found.image(image), strict=True):
                torch.testing.assert_close(one, other)


def test_bf16_outputs():
    logits, deltas = example()
    logits, deltas = logits.bfloat16(), deltas.bfloat16()
    found = postprocess(logits, deltas, ANCHORS, PostProcess())
    expected = postprocess(logits.float(), deltas.float(), ANCHORS, PostProcess())
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    torch.testing.assert_close(found.scores, expected.scores)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"score_threshold": 1.2}, "score_threshold=1.2: must be float 0…1"),
        ({"nms_iou": -1}, "nms_iou=-1: must be float 0…1"),
        ({"max_detections": 0}, "max_detections=0: must be int ≥ 1"),
        ({"sigma": 0}, "sigma=0: must be float 0.01…10"),
    ],
)
def test_bad_settings(values, text):
    with pytest.raises(UserError, match=text):
        PostProcess(**values)
