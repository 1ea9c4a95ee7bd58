"""The shared model tester: what every head, ours or a user's own, has to pass.

A head's test file derives a class from :class:`HeadTests` and says how its model and its targets are made.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import effdet
from effdet.export.graph import ExportGraph
from effdet.model import ModelSpec, VisionModel, build, fold
from effdet.training.freezing import freeze
from heads.protocol import Context, Counts
from heads.ranks import Window
from heads.structures import Targets


def tensors(value: Any) -> list[Tensor]:
    """Every tensor inside of an output or a prediction, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in tensors(item)]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in tensors(item)]
    return [tensor for item in vars(value).values() for tensor in tensors(item)] if hasattr(value, "__dict__") else []


def close(found: Any, expected: Any, *, rtol: float = 1e-4, atol: float = 1e-4) -> None:
    """Every tensor of `found` is about that of `expected`."""
    for one, other in zip(tensors(found), tensors(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


class HeadTests:
    """Tests of a model with the head under test.

    Attributes:
        head: its name in the model.
        trainable_prefixes: beginnings of parameters' names that get no gradient; none should.
    """

    head: str

    def spec(self) -> ModelSpec:
        """Of a small model."""
        raise NotImplementedError

    def targets(self, batch: int, height: int, width: int) -> Targets:
        """Labels of a batch of that size, for every head of the model."""
        raise NotImplementedError

    def model(self) -> VisionModel:
        torch.manual_seed(0)
        return build(self.spec())

    def images(self, batch: int = 2, height: int = 64, width: int = 96) -> Tensor:
        return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))

    def step(self, model: VisionModel, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """The loss terms, with gradients."""
        progress = torch.tensor(0.5)
        terms = model.loss(model(images, progress), targets, Context.of(images, progress))
        torch.stack(list(terms.values())).sum().backward()
        return terms

    @pytest.mark.parametrize("size", [(64, 96), (97, 131)])
    def test_forward_and_backward_at_any_size(self, size: tuple[int, int]) -> None:
        model, images = self.model(), self.images(2, *size)
        terms = self.step(model, images, self.targets(2, *size))
        assert terms and all(term.dtype == torch.float32 and term.shape == () for term in terms.values())
        assert all(term.isfinite() and float(term.detach()) >= 0 for term in terms.values())
        unreached = [name for name, parameter in model.named_parameters() if parameter.grad is None]
        assert not unreached
        assert any(
            float(p.grad.abs().sum()) > 0 for n, p in model.named_parameters() if n.startswith(f"heads.{self.head}")
        )  # type: ignore[union-attr]

    def test_a_batch_is_its_images(self) -> None:
        model, images = self.model().eval(), self.images(3)
        with torch.no_grad():
            batch, single = model(images), model(images[1:2])
        for one, other in zip(tensors(batch[self.head]), tensors(single[self.head]), strict=True):
            torch.testing.assert_close(one[1:2] if len(one) == 3 else one, other, rtol=1e-4, atol=1e-4)
        found = model.predict(single, Context.of(images[1:2]))
        assert set(found) == set(model.heads)

    def test_a_batch_without_labels(self) -> None:
        model = self.model()
        terms = self.step(model, self.images(), Targets())
        assert all(term.isfinite() for term in terms.values())
        assert all(parameter.grad is not None for parameter in model.parameters())

    def test_bf16(self) -> None:
        model, images = self.model(), self.images()
        with torch.autocast("cpu", torch.bfloat16):
            terms = self.step(model, images, self.targets(2, 64, 96))
        assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())

    def test_save_and_load(self, tmp_path: Path) -> None:
        model, images = self.shaken(), self.images()
        effdet.save(model, tmp_path / "m.safetensors")
        loaded = effdet.load(tmp_path / "m.safetensors", trust=True)
        assert loaded.spec == model.spec
        with torch.no_grad():
            close(loaded(images), model(images), rtol=0, atol=0)

    def test_a_description_builds_the_same(self) -> None:
        spec = self.spec()
        again = ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
        assert again == spec and list(build(again).state_dict()) == list(build(spec).state_dict())

    def test_fold(self) -> None:
        model, images = self.shaken(), self.images()
        folded = fold(model)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
        with torch.no_grad():
            close(folded(images), model(images), rtol=1e-3, atol=1e-3)

    def test_export(self) -> None:
        graph = ExportGraph(fold(self.shaken()), normalise=False, suppression=None)
        images = self.images()
        with torch.no_grad():
            expected = graph(images)
            assert expected and all(isinstance(tensor, Tensor) for tensor in expected)
            close(torch.jit.trace(graph, images, check_trace=False)(images), expected)
            close(torch.export.export(graph, (images,)).module()(images), expected)

    def test_freeze(self) -> None:
        model = self.model()
        freeze(model, [self.head])
        own = [p.requires_grad for n, p in model.named_parameters() if n.startswith(f"heads.{self.head}.")]
        assert own and not any(own) and any(p.requires_grad for p in model.backbone.parameters())

    def test_a_state_goes_on(self) -> None:
        """Two steps are one step, a state that is put into a new model, and one step more."""
        images, targets = self.images(), self.targets(2, 64, 96)

        def train(model: VisionModel, optimizer: torch.optim.Optimizer) -> None:
            torch.manual_seed(2)
            optimizer.zero_grad()
            self.step(model, images, targets)
            optimizer.step()

        model = self.model()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        train(model, optimizer)
        state, moments = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
        train(model, optimizer)
        other = build(self.spec())
        other.load_state_dict(state)
        resumed = torch.optim.SGD(other.parameters(), lr=1e-3, momentum=0.9)
        resumed.load_state_dict(moments)
        train(other, resumed)
        for name, value in other.state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), name

    def test_counting_makes_the_calls_of_the_loss(self) -> None:
        """Gradient accumulation: what `count` counts is what `loss` divides by, call for call (:mod:`heads.ranks`)."""
        model, images, targets = self.model(), self.images(), self.targets(2, 64, 96)
        head = model.head(self.head)
        if not isinstance(head, Counts) or head.counts_predictions:
            pytest.skip("counts by its loss")
        outputs, context, window = model(images), Context.of(images), Window(1)
        with window.counting(0):
            model.count(outputs, targets, context)
        with window.training(0):
            counted = model.loss(outputs, targets, context)
        close(counted, model.loss(outputs, targets, context), rtol=1e-6, atol=0)

    def shaken(self) -> VisionModel:
        """In evaluation mode, with BatchNorm statistics of its own and visible outputs."""
        model = self.model()
        torch.manual_seed(3)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.normal_(std=0.1)
                assert module.running_var is not None
                module.running_var.uniform_(0.5, 1.5)
        return model.eval()
