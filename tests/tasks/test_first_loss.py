"""Every formula against the loss itself, of a head whose logits are exactly its prior's."""

import math

import pytest
import torch

from effdet.model import build, spec_for
from effdet.tasks import kit_for
from heads.detection import AnchorSpec, DetectionHead, DetectionOptions
from heads.detection.anchors import anchors
from heads.detection.head import DetectionOutput
from heads.protocol import Context
from heads.structures import Targets

HERE = Context((64, 96), progress=0.0)


def exact(model, head):
    """Without the small first weights the logits are the prior's to the bit."""
    module = model.heads[head]
    torch.nn.init.zeros_((module.class_net.last if head == "detection" else module.classifier).weight)
    return model.eval()


def boxes(count, classes=3, labelled=None):
    torch.manual_seed(count)
    corner = torch.rand(2, count, 2) * 90
    return Targets(
        boxes=torch.cat([corner, corner + 8 + 30 * torch.rand(2, count, 2)], -1),
        labels=torch.randint(0, classes, (2, count)),
        has_boxes=labelled,
    )


@pytest.mark.parametrize("count", [0, 1, 120])
@pytest.mark.parametrize(
    "loss",
    [
        {},
        {"matcher": "atss", "box": "giou"},
        {"matcher": "tal"},
        {"label_smoothing": 0.1},
        {"class_weight": 3.0, "normalizer": "paper", "alpha": 0.5, "gamma": 2.0},
        {"matcher": "atss_tal", "classes": "quality", "box": "giou", "box_by_score": True, "normalizer": "score"},
        {"matcher": "tal", "classes": "varifocal", "normalizer": "score"},
        {"class_weights": (0.5, 1.0, 4.0)},
        {"matcher": "tal", "classes": "quality", "normalizer": "score", "class_weights": (0.5, 1.0, 4.0)},
    ],
)
def test_detection(count, loss):
    torch.manual_seed(0)
    options = {"detection": {"loss": loss}}
    model = exact(build(spec_for(task="detection", phi=-4, num_classes=3, image_size=128, heads=options)), "detection")
    head, targets = model.heads["detection"], boxes(count)
    output = model(torch.randn(2, 3, 128, 128))["detection"]
    first = kit_for("detection").first_loss(head, output, targets)
    assert first is not None
    assert first.value == pytest.approx(head.loss(output, targets, HERE)["class"].item(), rel=1e-5)
    partly = boxes(count, labelled=torch.tensor([False, True]))
    first = kit_for("detection").first_loss(head, output, partly)
    assert first is not None
    assert first.value == pytest.approx(head.loss(output, partly, HERE)["class"].item(), rel=1e-5)


def test_the_focal_prior_by_hand():
    """12 entries of 4 anchors and 3 classes, one of them positive, all with the probability 0.01."""
    one = AnchorSpec(scale=1, scales_per_octave=1, aspects=(1.0,))
    head = DetectionHead(8, 3, DetectionOptions(levels=("P3",), repeats=0, anchors=one))
    shapes = anchors([(2, 2)], (16, 16), head.anchor_spec)
    output = DetectionOutput(torch.zeros(1, 4, 3), torch.zeros(1, 4, 4), shapes, (16, 16), ((2, 2),))
    targets = Targets(boxes=shapes[1][None, None], labels=torch.tensor([[2]]))
    first = kit_for("detection").first_loss(head, output, targets)
    expected = 11 * 0.75 * 0.01**1.5 * -math.log(0.99) + 0.25 * 0.99**1.5 * -math.log(0.01)
    assert first is not None and first.value == pytest.approx(expected, rel=1e-5)


def test_nothing_is_expected_without_labels():
    model = build(spec_for(task="detection", phi=-4, num_classes=3, image_size=64))
    output = model(torch.randn(2, 3, 64, 64))["detection"]
    assert kit_for("detection").first_loss(model.heads["detection"], output, Targets()) is None
    unlabelled = boxes(2, labelled=torch.tensor([False, False]))
    assert kit_for("detection").first_loss(model.heads["detection"], output, unlabelled) is None


@pytest.mark.parametrize("count", [0, 1, 60])
@pytest.mark.parametrize("weights", [None, (9.0, 0.5, 7.0, 1.5)])
def test_new_rows_among_carried_ones(count, weights):
    """The carried classes may say anything; the new ones are at the prior, or 40 times above."""
    torch.manual_seed(0)
    options = {"detection": {"loss": {"class_weights": weights}}}
    model = exact(build(spec_for(task="detection", phi=-4, num_classes=4, image_size=128, heads=options)), "detection")
    head = model.heads["detection"]
    bias = head.class_net.last.bias.data.view(-1, 4)
    bias[:, 0] = 5.0
    targets = boxes(count, classes=4)
    images = torch.randn(2, 3, 128, 128)
    found, predicted = kit_for("detection").new_rows(head, model(images)["detection"], targets, [1, 3]) or (0, 1)
    assert found == pytest.approx(predicted, rel=1e-5)
    bias[:, 3] = 0.0
    found, predicted = kit_for("detection").new_rows(head, model(images)["detection"], targets, [1, 3]) or (0, 1)
    assert found > 1.2 * predicted
    assert kit_for("detection").new_rows(head, model(images)["detection"], Targets(), [1, 3]) is None


@pytest.mark.parametrize(
    "loss",
    [
        {},
        {"label_smoothing": 0.1},
        {"class_weights": [0.1, 0.2, 2.7], "label_smoothing": 0.2},
        {"cross_entropy": 2.0, "class_weights": [0.1, 0.2, 2.7]},
        {"ohem": 0.7, "label_smoothing": 0.2},
        {"ohem": 0.7, "class_weights": [0.1, 0.2, 2.7], "label_smoothing": 0.2},
    ],
)
@pytest.mark.parametrize("present", [(0,), (2, 255), (0, 1, 2, 255)])
def test_semantic(loss, present):
    """A batch of only frequent classes makes smoothed, weighted cross-entropy several times ln K."""
    torch.manual_seed(0)
    options = {"semantic": {"loss": loss}}
    model = exact(build(spec_for(task="segmentation", phi=-4, num_classes=3, image_size=64, heads=options)), "semantic")
    labels = torch.tensor(present, dtype=torch.uint8)[torch.randint(0, len(present), (2, 64, 64))]
    head, output = model.heads["semantic"], model(torch.randn(2, 3, 64, 64))["semantic"]
    first = kit_for("semantic").first_loss(head, output, Targets(semantic=labels))
    if {"ohem", "class_weights", "label_smoothing"} <= set(loss):
        assert first is None
        return
    assert first is not None
    assert first.value == pytest.approx(
        head.loss(output, Targets(semantic=labels), HERE)["cross_entropy"].item(), rel=1e-5
    )


def test_semantic_without_a_labelled_pixel():
    model = build(spec_for(task="segmentation", phi=-4, num_classes=3, image_size=64))
    output = model(torch.randn(2, 3, 64, 64))["semantic"]
    ignored = Targets(semantic=torch.full((2, 64, 64), 255, dtype=torch.uint8))
    assert kit_for("semantic").first_loss(model.heads["semantic"], output, ignored) is None


@pytest.mark.parametrize("category", [[0, 2], [-1, 2], [[0.3, 0.7, 0.0], [0.0, 0.0, 1.0]]])
def test_classification(category):
    torch.manual_seed(0)
    options = {"classification": {"label_smoothing": 0.1}}
    model = build(spec_for(task="classification", backbone="b0", num_classes=3, image_size=64, heads=options))
    exact(model, "classification")
    targets, output = Targets(category=torch.tensor(category)), model(torch.randn(2, 3, 64, 64))["classification"]
    first = kit_for("classification").first_loss(model.heads["classification"], output, targets)
    assert first is not None and first.value == pytest.approx(math.log(3))
    found = model.heads["classification"].loss(output, targets, HERE)["class"].item()
    assert first.value == pytest.approx(found, rel=1e-5)
