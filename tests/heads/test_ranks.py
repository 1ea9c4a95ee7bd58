"""Losses of several processes, and of several micro-batches, against that of one batch with all images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from effdet.model.balance import BalanceSpec, LossBalance
from heads.classification import ClassificationHead
from heads.detection.anchors import AnchorSpec, anchors
from heads.detection.head import DetectionHead, DetectionOptions, DetectionOutput
from heads.detection.losses import DetectionLoss
from heads.embedding import EmbeddingHead, EmbeddingOptions
from heads.pooled import PooledOptions
from heads.protocol import Context
from heads.ranks import Window, alone, over_ranks
from heads.semantic import SemanticHead, SemanticOptions
from heads.semantic_losses import IGNORED, SemanticLoss, cross_entropy, dice, lovasz_softmax
from heads.structures import Targets
from tests.processes import on_ranks

HERE = Context((64, 96))

IMAGES, SIDE, CELLS = 4, 32, 4
ONE = AnchorSpec(scale=1.0, scales_per_octave=1, aspects=(1.0,))


def test_one_process_counts_for_itself() -> None:
    total, world = over_ranks(torch.tensor(7))
    assert (float(total), total.dtype, world) == (7.0, torch.float32, 1)


def test_alone_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.add_(5))
    assert over_ranks(torch.tensor(7))[0] == 12
    with alone():
        assert over_ranks(torch.tensor(7)) == (torch.tensor(7.0), 1)
    assert over_ranks(torch.tensor(7))[0] == 12


def data() -> tuple[Tensor, Tensor, Targets]:
    """Features (4, 6) and a matrix (6, 3 * 16); the images differ in how much of them is labelled, one in nothing."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(IMAGES, 6, generator=generator)
    weight = torch.randn(6, 3 * CELLS * CELLS, generator=generator)
    mask = torch.randint(0, 3, (IMAGES, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    mask[0, 9:], mask[1, :30], mask[3] = IGNORED, IGNORED, IGNORED
    boxes, labels = torch.zeros(IMAGES, 9, 4), torch.full((IMAGES, 9), -1)
    for row, count in enumerate([9, 2, 0, 1]):
        corner = torch.rand(count, 2, generator=generator) * 20
        boxes[row, :count] = torch.cat([corner, corner + 4 + torch.rand(count, 2, generator=generator) * 20], 1)
        labels[row, :count] = torch.randint(0, 3, (count,), generator=generator)
    has_boxes = torch.tensor([True, True, True, False])
    category = torch.tensor([2, -1, -1, 0])
    return features, weight, Targets(boxes=boxes, labels=labels, semantic=mask, category=category, has_boxes=has_boxes)


def part_of(targets: Targets, rows: slice, *, mixed: bool = False) -> Targets:
    weights = torch.tensor([[0.5, 0.5, 0], [0, 0, 0], [1, 0, 0], [0.2, 0.3, 0.5]])
    assert targets.boxes is not None and targets.labels is not None and targets.semantic is not None
    assert targets.category is not None and targets.has_boxes is not None
    return Targets(
        boxes=targets.boxes[rows],
        labels=targets.labels[rows],
        semantic=targets.semantic[rows],
        category=(weights if mixed else targets.category)[rows],
        has_boxes=targets.has_boxes[rows],
    )


SHAPES = anchors([(CELLS, CELLS)], (SIDE, SIDE), ONE)


def detector(**options: Any) -> DetectionHead:
    return DetectionHead(8, 3, DetectionOptions(levels=("P3",), repeats=0, anchors=ONE, loss=DetectionLoss(**options)))


def detection(head: DetectionHead, scores: Tensor, targets: Targets) -> Tensor:
    """Class logits are the cells' scores, box deltas are made of them too."""
    cells = scores.flatten(2).transpose(1, 2)  # (B, 16, 3)
    deltas = torch.cat([cells, cells[..., :1]], 2) * 0.1
    output = DetectionOutput(cells, deltas, SHAPES, (SIDE, SIDE), ((CELLS, CELLS),))
    return torch.stack(list(head.loss(output, targets, HERE).values())).sum()


def balanced(balance: LossBalance, scores: Tensor, targets: Targets) -> Tensor:
    """Two heads whose weights are learned; nothing but image 0 of the first half is labelled for the second."""
    plain = targets.category is not None and (targets.category >= 0).any()
    assert targets.semantic is not None
    labelled = {"a": bool(plain), "b": bool((targets.semantic != IGNORED).any())}
    head = ClassificationHead(6, 3, PooledOptions(head_channels=4))
    terms = {
        "a": head.loss(scores.mean((2, 3)), targets, HERE),
        "b": {"cross_entropy": semantic(SemanticLoss(), scores, targets)},
    }
    return torch.stack(list(balance(terms, labelled).values())).sum()


def semantic(settings: SemanticLoss, scores: Tensor, targets: Targets) -> Tensor:
    assert targets.semantic is not None
    large = F.interpolate(scores, size=(SIDE, SIDE), mode="bilinear")
    found = scores.sum() * 0.0
    if settings.cross_entropy:
        found = found + cross_entropy(large, targets.semantic, settings)
    if settings.dice:
        found = found + dice(large, targets.semantic)
    return found + lovasz_softmax(large, targets.semantic) if settings.lovasz else found


def losses() -> dict[str, Callable[[Tensor, Targets], Tensor]]:
    classifier, embedding = (
        ClassificationHead(6, 3, PooledOptions(head_channels=4)),
        EmbeddingHead(6, 3, EmbeddingOptions(head_channels=4, dim=3)),
    )
    torch.nn.init.eye_(embedding.prototypes.weight)
    balance = LossBalance(BalanceSpec("uncertainty"), ("a", "b"))
    found: dict[str, Callable[[Tensor, Targets], Tensor]] = {
        "class": lambda scores, targets: classifier.loss(scores.mean((2, 3)), targets, HERE)["class"],
        "mixed": lambda scores, targets: classifier.loss(scores.mean((2, 3)), targets, HERE)["class"],
        "embedding": lambda scores, targets: embedding.loss(scores.mean((2, 3)), targets, HERE)["class"],
        "uncertainty": lambda scores, targets: balanced(balance, scores, targets),
    }
    settings = {
        "semantic": SemanticLoss(),
        "weighted": SemanticLoss(class_weights=(0.1, 2.0, 0.9), label_smoothing=0.1),
        "hard pixels": SemanticLoss(ohem=0.3, ohem_share=0.1, class_weights=(0.1, 2.0, 0.9)),
        "dice": SemanticLoss(cross_entropy=0, dice=1),
        "lovasz": SemanticLoss(cross_entropy=0, lovasz=1),
    }
    for name, chosen in settings.items():
        found[name] = partial(semantic, chosen)
    options: dict[str, dict[str, Any]] = {
        "iou": {},
        "atss": {"matcher": "atss", "box": "giou"},
        "tal": {"matcher": "tal", "tal_topk": 3},
        "paper": {"normalizer": "paper"},
        "quality": {
            "matcher": "atss",
            "classes": "quality",
            "box": "giou",
            "box_by_score": True,
            "normalizer": "score",
        },
        "varifocal": {
            "matcher": "atss_tal",
            "tal_topk": 3,
            "classes": "varifocal",
            "box": "giou",
            "normalizer": "score",
        },
    }
    for name, values in options.items():
        found[name] = partial(detection, detector(**values))
    return found


LOSSES = losses()


def gradient(name: str, rows: list[slice]) -> tuple[float, Tensor]:
    """The mean loss over micro-batches of these rows, and its gradient in the matrix that makes scores of features."""
    features, weight, targets = data()
    leaf, loss, total = weight.clone().requires_grad_(), LOSSES[name], 0.0

    def of(part: slice) -> Tensor:
        scores = (features[part] @ leaf).view(-1, 3, CELLS, CELLS)
        return loss(scores, part_of(targets, part, mixed=name == "mixed"))

    if len(rows) == 1:
        value = of(rows[0])
        value.backward()
        return float(value.detach()), leaf.grad
    window = Window(len(rows))
    for index, part in enumerate(rows):
        with window.counting(index):
            of(part)
    for index, part in enumerate(rows):
        with window.training(index):
            value = of(part) / len(rows)
        value.backward()
        total += float(value.detach())
    return total, leaf.grad


def cut(size: int, first: int = 0, last: int = IMAGES) -> list[slice]:
    return [slice(start, min(start + size, last)) for start in range(first, last, size)]


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", LOSSES)
def test_micro_batches_have_the_gradient_of_one_batch(name: str, size: int) -> None:
    value, expected = gradient(name, cut(IMAGES))
    found_value, found = gradient(name, cut(size))
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert found_value == pytest.approx(value, rel=1e-5)


def test_a_task_without_label_in_the_whole_step_does_not_move_its_weight() -> None:
    balance = LossBalance(BalanceSpec("uncertainty"), ("a", "b"))
    terms = {"a": {"class": torch.tensor(2.0)}, "b": {"class": torch.tensor(0.0)}}
    window = Window(2)
    flags = [{"a": True, "b": False}, {"a": False, "b": False}]
    for index, labelled in enumerate(flags):
        with window.counting(index):
            balance(terms, labelled)
    for index, labelled in enumerate(flags):
        with window.training(index):
            found = balance(terms, labelled)
        assert float(found["a/log_variance"].detach()) == 0.0 and found["b/log_variance"].requires_grad
        (slope,) = torch.autograd.grad(found["a/log_variance"], balance.log_variance["a"])
        (none,) = torch.autograd.grad(found["b/log_variance"], balance.log_variance["b"])
        assert (float(slope), float(none)) == (0.5, 0.0), "one s / 2 for a step, whichever micro-batch has the label"


def test_what_is_counted_beforehand_is_what_the_loss_counts() -> None:
    """Only from the targets, for every head whose loss does not depend on predictions; the others say so."""
    features, weight, targets = data()
    scores = (features @ weight).view(-1, 3, CELLS, CELLS)
    cells = scores.flatten(2).transpose(1, 2)
    boxes = DetectionOutput(cells, torch.cat([cells, cells[..., :1]], 2), SHAPES, (SIDE, SIDE), ((CELLS, CELLS),))
    heads: list[tuple[Any, Any]] = [
        (ClassificationHead(6, 3, PooledOptions(head_channels=4)), scores.mean((2, 3))),
        (EmbeddingHead(6, 3, EmbeddingOptions(head_channels=4, dim=3)), scores.mean((2, 3))),
        (SemanticHead(4, 3, SemanticOptions(loss=SemanticLoss(class_weights=(1.0, 2.0, 0.5)))), scores),
        (detector(), boxes),
        (detector(matcher="atss"), boxes),
    ]
    for head, output in heads:
        assert not head.counts_predictions
        quick, whole = Window(1), Window(1)
        with quick.counting(0):
            head.count(output, targets, HERE)
        with whole.counting(0):
            head.loss(output, targets, HERE)
        assert [len(quick._sums[0]), float(quick._sums[0][0])] == [1, float(whole._sums[0][0])] and len(
            whole._sums[0]
        ) == 1
    for settings in (SemanticLoss(ohem=0.5), SemanticLoss(dice=1.0), SemanticLoss(lovasz=1.0)):
        assert SemanticHead(4, 3, SemanticOptions(loss=settings)).counts_predictions
    assert detector(matcher="tal").counts_predictions


def _rank(rank: int, world: int) -> dict[str, Tensor]:
    found = {}
    for name in LOSSES:
        for size in (2, 1):  # the second: two micro-batches on each process
            value = gradient(name, cut(size, 2 * rank, 2 * rank + 2))[1]
            dist.all_reduce(value)
            found[f"{name} {size}"] = value / world
    return found


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    expected = {name: gradient(name, cut(IMAGES))[1] for name in LOSSES}
    for found in on_ranks(_rank, tmp_path):
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name.rsplit(" ", 1)[0]], rtol=1e-4, atol=1e-6, msg=name)
