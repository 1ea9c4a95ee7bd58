"""What changes epoch by epoch: heads first, dropout that grows; and learning rates by depth."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from backbones.scaling import phi_spec
from effdet.model import build, spec_for
from effdet.training.callbacks.course import DropoutCourse, HeadsFirst
from effdet.training.optimizers import build_optimizer, layer_depths, parameter_groups
from effdet.training.settings import OptimizerSettings
from heads.structures import UserError


@pytest.fixture(scope="module")
def model():
    return build(spec_for(task="classification", backbone=phi_spec(-4), num_classes=3))


def run(callback, model: nn.Module, epoch: int) -> None:
    callback.on_train_epoch_start(
        SimpleNamespace(current_epoch=epoch, world_size=1), SimpleNamespace(model=model.train())
    )


def test_heads_first_then_everything(model):
    model.backbone.stem.conv.weight.requires_grad_(False)  # frozen by the user: it stays so
    callback = HeadsFirst(2)
    statistics = model.backbone.stem.norm.running_mean.clone()
    optimizer = build_optimizer(model, OptimizerSettings(lr_per=None, lr=0.1), step_pictures=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for epoch in (0, 1):
        run(callback, model, epoch)
        optimizer.zero_grad()
        model(torch.randn(2, 3, 32, 32))["classification"].square().sum().backward()
        optimizer.step()
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed and all(name.startswith("heads.") for name in changed)
    assert torch.equal(model.backbone.stem.norm.running_mean, statistics)
    run(callback, model, 2)
    assert model.backbone.training
    assert [name for name, value in model.named_parameters() if not value.requires_grad] == [
        "backbone.stem.conv.weight"
    ]
    model.requires_grad_(True)


def test_a_resumed_run_begins_where_it_stopped(model):
    run(HeadsFirst(2), model, 5)
    assert all(value.requires_grad for value in model.parameters()) and model.backbone.training


def test_several_devices_are_refused():
    with pytest.raises(UserError, match="freeze"):
        HeadsFirst(1).setup(SimpleNamespace(world_size=2), None, "fit")


def test_dropout_follows_the_epoch(model):
    callback = DropoutCourse("classification", lambda epoch: 0.1 * epoch)
    for epoch in (3, 1):
        run(callback, model, epoch)
        assert model.heads["classification"].dropout.p == pytest.approx(0.1 * epoch)


def test_learning_rates_fall_with_depth(model):
    names = [name for name, _ in model.named_parameters() if name.startswith("backbone.")]
    depths = layer_depths(names)
    blocks = sum(len(stage) for stage in model.backbone.stages)
    assert depths["backbone.stem.conv.weight"] == blocks + 1
    assert depths[names[-1]] == 1
    groups = parameter_groups(model, OptimizerSettings(layer_decay=0.5, backbone_lr_scale=0.1), lr=1.0)
    rate = {id(value): group["lr"] for group in groups for value in group["params"]}
    parameters = dict(model.named_parameters())
    assert rate[id(parameters["backbone.stem.conv.weight"])] == pytest.approx(0.1 * 0.5 ** (blocks + 1))
    assert rate[id(parameters["heads.classification.classifier.weight"])] == 1.0
    assert len(rate) == len(parameters)
    assert len(parameter_groups(model, OptimizerSettings(), lr=1.0)) == 4
    with pytest.raises(UserError, match="layer_decay"):
        OptimizerSettings(layer_decay=0.0)
