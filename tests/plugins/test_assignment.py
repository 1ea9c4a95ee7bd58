"""Matcher, class loss and box loss of a user's own, handed to the detection head or named in its options."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch

import effdet
from effdet.model import ModelSpec, build, spec_for
from heads.detection import DetectionHead, DetectionOptions
from heads.detection.boxes import aligned_iou, box_iou, decode, encode
from heads.protocol import Context
from heads.structures import Targets, UserError
from tests.model.test_heads import labels
from tests.model_tester import HeadTests
from tests.plugins.assignment import LogCoshLoss, QualityLoss, RisingMatcher

NAMES = {
    "matcher": {"_target_": "tests.plugins.assignment.RisingMatcher", "first": 0.2},
    "class_loss": {"_target_": "tests.plugins.assignment.QualityLoss"},
    "box_loss": {"_target_": "tests.plugins.assignment.LogCoshLoss"},
}


class TestDetectionWithOwnLosses(HeadTests):
    head = "detection"
    options: ClassVar[dict] = NAMES

    def spec(self) -> ModelSpec:
        heads, options = {"detection": self.options}, {"drop_path": 0.0}
        return spec_for(task="detection", phi=-4, num_classes=3, image_size=64, heads=heads, backbone_options=options)

    def targets(self, batch: int, height: int, width: int) -> Targets:
        return labels(batch, height, width)


def test_the_options_reach_the_head():
    head = build(TestDetectionWithOwnLosses().spec()).heads["detection"]
    assert isinstance(head, DetectionHead) and isinstance(head.matcher, RisingMatcher) and head.matcher.first == 0.2
    assert isinstance(head.class_loss, QualityLoss) and isinstance(head.box_loss, LogCoshLoss)
    assert head.counts_predictions  # it does not say, so it is taken to


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_the_losses_by_hand(progress):
    """Anchor by anchor: what the head sums up, with a threshold that follows the progress and soft targets."""
    torch.manual_seed(0)
    own = {"matcher": RisingMatcher(0.1, 0.3), "class_loss": QualityLoss(), "box_loss": LogCoshLoss()}
    head = DetectionHead(8, 2, DetectionOptions(levels=("P3",), repeats=0, **own))
    output = head({"P3": torch.randn(1, 8, 4, 6)}, Context((32, 48)))
    goal = Targets(boxes=torch.tensor([[[2.0, 3.0, 30.0, 25.0]]]), labels=torch.tensor([[1]]))
    assert goal.boxes is not None
    terms = head.loss(output, goal, Context((32, 48), progress=progress))
    ious = box_iou(goal.boxes[0], output.anchors)[0]
    predicted = decode(output.anchors, output.box_deltas)[0]
    classes = boxes = positives = 0.0
    for anchor, iou in enumerate(ious.tolist()):
        positive = iou >= 0.1 + 0.2 * progress - 1e-9
        score = aligned_iou(predicted[anchor], goal.boxes[0, 0]).clamp(0, 1).item()
        for label in range(2):
            p = output.class_logits[0, anchor, label].sigmoid().item()
            y = score if positive and label == 1 else 0.0
            classes -= abs(p - y) ** 2 * (y * math.log(p) + (1 - y) * math.log(1 - p))
        if positive:
            positives += 1
            error = output.box_deltas[0, anchor] - encode(output.anchors[anchor], goal.boxes[0, 0])
            boxes += sum(math.log(math.cosh(value)) for value in error.tolist()) / 4
    assert positives >= 1 and terms["class"].item() == pytest.approx(classes / positives, rel=1e-4)
    assert terms["box"].item() == pytest.approx(boxes / positives, rel=1e-3)  # of weight 1


def test_a_file_that_names_a_loss_is_not_trusted(tmp_path):
    effdet.save(build(TestDetectionWithOwnLosses().spec()), tmp_path / "m.safetensors")
    with pytest.raises(UserError, match=r"imports tests.plugins.assignment.RisingMatcher, .*trust=true"):
        effdet.load(tmp_path / "m.safetensors")


def test_a_misspelt_argument_is_one_line():
    heads = {"detection": {"matcher": {"_target_": "tests.plugins.assignment.RisingMatcher", "frist": 0.2}}}
    with pytest.raises(UserError, match="takes no argument frist; did you mean first"):
        build(spec_for(task="detection", phi=-4, num_classes=3, image_size=64, heads=heads))
