"""What is frozen is the same function in every step: no random depth, no dropout, no statistics of the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.scaling import phi_spec
from effdet.model import build, spec_for
from effdet.training.freezing import Freezing
from effdet.training.module import VisionModule
from tests.training.fakes import FakeModel, factory, settings


@pytest.mark.parametrize("part", ["backbone", "neck", "heads", "semantic", "backbone.stages.5"])
def test_a_frozen_part_gives_in_training_what_it_gives_in_evaluation(part: str, tmp_path: Path) -> None:
    spec = spec_for(
        task="segmentation",
        backbone=phi_spec(-4),
        num_classes=3,
        image_size=64,
        heads={"semantic": {"dropout": 0.5}},
        backbone_options={"drop_path": 0.5},
    )
    model = build(spec)
    path = {"semantic": "heads.semantic", "heads": "heads.semantic"}.get(part, part)
    watched = model.get_submodule(path)
    watched = watched[-1] if path == "backbone.stages.5" else watched  # type: ignore[index]
    seen: list[Any] = []
    watched.register_forward_hook(lambda module, inputs, output: seen.append((inputs, output)))
    module = VisionModule(model, settings(tmp_path, freeze=(part,)), train_batches=factory())
    module.train()
    with torch.no_grad():
        model(torch.randn(4, 3, 64, 64))
        inputs, trained = seen[0]
        evaluated = watched.eval()(*inputs)
    assert equal(trained, evaluated)


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return all(equal(a[key], b[key]) for key in a)
    return all(map(torch.equal, a, b)) if isinstance(a, list) else torch.equal(a, b)


def test_what_is_frozen_for_a_while_comes_back_and_the_rest_stays() -> None:
    model = FakeModel()
    freezing = Freezing(model, ["backbone.stem"])
    freezing.during(["backbone", "detection"])
    assert freezing.parts == ("backbone.stem", "backbone", "detection")
    assert not any(parameter.requires_grad for parameter in model.parameters())
    freezing.during([])
    assert freezing.parts == ("backbone.stem",)
    assert [name for name, value in model.named_parameters() if not value.requires_grad] == ["backbone.stem.weight"]
