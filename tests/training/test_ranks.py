"""The real detector on two processes (gloo, CPU): the gradient of one process that has all the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from effdet.model import VisionModel, build, spec_for
from effdet.training.callbacks.nonfinite import _everywhere
from effdet.training.freezing import freeze
from heads.protocol import Context
from heads.structures import Targets
from tests.processes import on_ranks

SIZE, IMAGES = 64, 4


def detector() -> VisionModel:
    torch.manual_seed(0)
    model = build(
        spec_for(task="detection", phi=-4, num_classes=3, image_size=SIZE, backbone_options={"drop_path": 0.0})
    )
    model.train()
    for layer in freeze(model, ["bn"]):
        layer.eval()
    return model


def data(boxes: int) -> tuple[torch.Tensor, Targets]:
    """Four images, of which the first has `boxes` boxes and the others none."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (IMAGES, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    corners = torch.tensor([[4.0, 4, 36, 40], [20, 10, 60, 62], [0, 0, 16, 16]])
    rows = torch.zeros(IMAGES, 3, 4)
    labels = torch.full((IMAGES, 3), -1)
    rows[0, :boxes], labels[0, :boxes] = corners[:boxes], torch.arange(boxes)
    return images, Targets(boxes=rows, labels=labels)


def gradients(images: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
    model = detector()
    images = model.preprocess.normalise(images)
    outputs = model(images)
    torch.stack(list(model.loss(outputs, targets, Context.of(images)).values())).sum().backward()
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def _rank(rank: int, world: int, boxes: int) -> dict[str, Any]:
    images, targets = data(boxes)
    own = slice(rank * IMAGES // world, (rank + 1) * IMAGES // world)
    found = gradients(images[own], Targets(boxes=targets.boxes[own], labels=targets.labels[own]))
    for value in found.values():
        dist.all_reduce(value)
        value /= world
    agreed = [bool(_everywhere(torch.tensor(flag))) for flag in (True, rank == 0)]
    return {"gradients": found, "agreed": agreed}


@pytest.mark.slow
@pytest.mark.parametrize("boxes", [3, 1, 0])
def test_two_ranks_have_the_gradient_of_one(boxes: int, tmp_path: Path) -> None:
    """The second process has no box at all; with 1 and 0 boxes the normalizer's floor counts."""
    found = on_ranks(_rank, tmp_path, boxes)
    expected = gradients(*data(boxes))
    assert [item["agreed"] for item in found] == [[True, False]] * 2, "a step that is bad on one is bad on both"
    for name, value in expected.items():
        # Sums that cancel: single weights are known to some 1e-3 of the largest; a wrong normalizer is off by a factor.
        scale = float(value.abs().max()) or 1.0
        for item in found:
            torch.testing.assert_close(item["gradients"][name] / scale, value / scale, rtol=0, atol=3e-3)
