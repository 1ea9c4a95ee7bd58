"""Fresh heads begin at their prior on features far larger than any network gives, with the loss worked out by hand."""

import math

import pytest
import torch

from heads.classification import ClassificationHead
from heads.detection.head import DetectionHead, DetectionOptions
from heads.embedding import EmbeddingHead, EmbeddingOptions
from heads.pooled import PooledOptions
from heads.prior import EVEN, PRIOR, SPREAD, initial_rows
from heads.protocol import Context
from heads.semantic import AuxiliaryHead, AuxiliaryOptions, SemanticHead, SemanticOptions
from heads.semantic_losses import SemanticLoss
from heads.structures import Targets

HERE = Context((64, 96))

LEVELS = {"P3": 16, "P4": 8, "P5": 4, "P6": 2, "P7": 1}


def features(channels, scale=1.0):
    """Heavy-tailed features: most cells small, some ten times as large."""
    torch.manual_seed(1)
    return {
        level: torch.randn(2, channels, side, side) * torch.randn(2, 1, side, side).exp() * scale
        for level, side in LEVELS.items()
    }


@pytest.mark.parametrize("prior", [PRIOR, EVEN])
def test_rows_by_hand(prior):
    torch.manual_seed(0)
    weight = initial_rows(torch.ones(500, 25, 1, 1, dtype=torch.float64), prior)
    assert weight.dtype == torch.float64 and weight.std().item() == pytest.approx(SPREAD / 5, rel=0.05)
    torch.testing.assert_close(initial_rows(torch.ones(7), prior).sigmoid(), torch.full((7,), prior))
    assert initial_rows(weight, prior, loaded=True).eq(0).all()


def test_prototypes_have_a_length():
    torch.manual_seed(0)
    assert initial_rows(torch.zeros(50, 64), None).norm(dim=1).min() > 4
    torch.manual_seed(0)
    head = EmbeddingHead(8, 20, EmbeddingOptions(head_channels=16, dim=4))
    assert head.prototypes.weight.norm(dim=1).min() > 0.1


@pytest.mark.parametrize("boxes", [0, 1, 150])
@pytest.mark.parametrize("options", [{}, {"separable": False}, {"repeats": 0}])
def test_detection_whatever_the_number_of_boxes(boxes, options):
    """N(0, 1 / fan_in) gives up to thousands of times the prior's loss here."""
    torch.manual_seed(0)
    head = DetectionHead(64, 20, DetectionOptions(**{"repeats": 1, **options}))
    output = head(features(64, scale=3.0), Context((128, 128)))
    torch.manual_seed(2)
    corner = torch.rand(2, boxes, 2) * 90
    targets = Targets(
        boxes=torch.cat([corner, corner + 8 + 30 * torch.rand(2, boxes, 2)], -1),
        labels=torch.randint(0, 20, (2, boxes)),
    )
    positives = int((head.match(output, targets.boxes, targets.labels, HERE).index >= 0).sum())
    entries = output.class_logits.numel()
    # Focal loss of the paper: alpha .25, gamma 1.5, at p = .01.
    by_hand = (entries - positives) * 0.75 * 0.01**1.5 * -math.log(0.99)
    by_hand += positives * 0.25 * 0.99**1.5 * -math.log(0.01)
    assert head.loss(output, targets, HERE)["class"].item() == pytest.approx(by_hand / max(positives, 1), rel=0.05)


def test_semantic_and_its_auxiliary():
    torch.manual_seed(0)
    options = SemanticOptions(("P3", "P4"), "sum", repeats=0, auxiliary=AuxiliaryOptions("P3", 1.0))
    side = AuxiliaryHead(64, 7, options)
    head = SemanticHead(64, 7, options, auxiliary=side)
    maps = features(64, scale=3.0)
    targets = Targets(semantic=torch.randint(0, 7, (2, 32, 32), dtype=torch.uint8))
    assert head.loss(head(maps, Context((32, 32))), targets, HERE)["cross_entropy"].item() == pytest.approx(
        math.log(7), rel=0.02
    )
    assert side.loss(side(maps), targets, SemanticLoss()).item() == pytest.approx(math.log(7), rel=0.02)


@pytest.mark.parametrize("classes", [1, 10, 1000])
def test_classification(classes):
    torch.manual_seed(0)
    head = ClassificationHead(64, classes, PooledOptions(head_channels=128, dropout=0.0))
    output = head({"C5": torch.randn(4, 64, 3, 3) * 20}, Context((96, 96)))
    loss = head.loss(output, Targets(category=torch.arange(4) % classes), HERE)["class"].item()
    assert loss == pytest.approx(math.log(classes), rel=0.02)


def test_the_first_step_reaches_the_layers_before_the_last():
    """With a last layer of zeros their gradient would be exactly zero."""
    torch.manual_seed(0)
    head = DetectionHead(16, 3)
    output = head(features(16), Context((128, 128)))
    boxes = torch.tensor([[[20.0, 20.0, 60.0, 60.0]]] * 2)
    sum(head.loss(output, Targets(boxes=boxes, labels=torch.zeros(2, 1, dtype=torch.int64)), HERE).values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in head.class_net.convs.parameters() if p.dim() > 1)
    assert len(output.class_logits.detach().unique()) > 0.5 * output.class_logits.numel()
