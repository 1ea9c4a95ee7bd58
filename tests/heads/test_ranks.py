"""Losses of two processes against that of one that has all their pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from heads.classification import ClassificationHead
from heads.ranks import alone, over_ranks
from heads.semantic_losses import IGNORED, SemanticLoss, cross_entropy
from heads.structures import Targets
from tests.processes import on_ranks


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


def gradients(rows: slice) -> dict[str, Tensor]:
    """Of each loss in a matrix that makes logits of features; the pictures differ in how much of them is labelled."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 6, generator=generator)[rows]
    weight = torch.randn(6, 3, generator=generator)
    head = ClassificationHead(6, 3, head_channels=4)
    mask = torch.randint(0, 3, (4, 5, 5), generator=generator, dtype=torch.uint8)
    mask[0, 1:], mask[3] = IGNORED, IGNORED
    mixed = torch.tensor([[0.5, 0.5, 0], [0, 0, 0], [1, 0, 0], [0.2, 0.3, 0.5]])
    losses = {
        "class": lambda logits: head.loss(logits, Targets(category=torch.tensor([2, -1, -1, 0])[rows]))["class"],
        "mixed": lambda logits: head.loss(logits, Targets(category=mixed[rows]))["class"],
        "semantic": lambda logits: cross_entropy(
            logits[:, :, None, None].expand(-1, -1, 5, 5), mask[rows], SemanticLoss()
        ),
        "weighted": lambda logits: cross_entropy(
            logits[:, :, None, None].expand(-1, -1, 5, 5), mask[rows], SemanticLoss(class_weights=(0.1, 2.0, 0.9))
        ),
    }
    found = {}
    for name, loss in losses.items():
        leaf = weight.clone().requires_grad_()
        loss(features @ leaf).backward()
        found[name] = leaf.grad
    return found


def _rank(rank: int, world: int) -> dict[str, Tensor]:
    found = gradients(slice(2 * rank, 2 * rank + 2))
    for value in found.values():
        dist.all_reduce(value)
        value /= world
    return found


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    expected = gradients(slice(0, 4))
    for found in on_ranks(_rank, tmp_path):
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
            assert value.abs().max() > 1e-3
