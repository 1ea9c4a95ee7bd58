"""What changes epoch by epoch: heads first, dropout that grows; and learning rates by depth."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

import effdet.training
from backbones.scaling import phi_spec
from effdet.model import build, spec_for
from effdet.training import fit, newest_valid
from effdet.training.callbacks.evaluation import LastEvaluation
from effdet.training.callbacks.schedules import AtEpoch, DropoutSchedule, FreezeAllButHeads
from effdet.training.optimizers import layer_depths, parameter_groups
from effdet.training.settings import CheckpointSettings, OptimizerSettings
from heads.structures import UserError
from tests.training.fakes import FakeModel, evaluate_fake, factory, settings
from tests.training.test_resume import Stop, StopAt, assert_same


@pytest.fixture(scope="module")
def model():
    return build(spec_for(task="classification", backbone=phi_spec(-4), num_classes=3))


class Modes(Callback):
    """What of the model trains, at each batch: (epoch, batch) -> (gradients, modes of the norms, dropout's, its rate)."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, int], tuple[bool, bool, bool, float]] = {}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        backbone = module.model.backbone
        self.seen[trainer.current_epoch, batch_idx] = (
            backbone.stem.weight.requires_grad,
            backbone.norm.training,
            backbone.drop.training,
            module.model.heads["detection"].drop.p,
        )


def run(directory: Path, epochs: int, *, validated: bool = True, model: Any = None, extra: Any = (), **changes: Any):
    """Trains with the heads first and dropout that follows the epoch; gives the model and what `Modes` saw."""
    model = model or FakeModel()
    model.heads["detection"].drop = nn.Dropout2d(0.5)
    modes, resume = Modes(), changes.pop("resume", None)
    fit(
        model,
        factory(),
        settings=settings(directory, checkpoint=CheckpointSettings(every_steps=1, max_share=1.0), **changes),
        evaluate=evaluate_fake if validated else None,
        resume=resume,
        draw_batch=None,
        callbacks=[
            FreezeAllButHeads(epochs),
            DropoutSchedule("detection", lambda epoch: 0.1 * (epoch + 1)),
            modes,
            *extra,
        ],
    )
    return model, modes.seen


@pytest.mark.parametrize("trainer", [{}, {"val_check_interval": 0.5}, None])
def test_heads_first_then_everything(trainer: dict[str, Any] | None, tmp_path: Path) -> None:
    # Validation switches modes and back again: with one an epoch, with two, and with none.
    _, seen = run(tmp_path, 2, validated=trainer is not None, trainer=trainer or {})
    assert len(seen) == 18
    for (epoch, batch), values in seen.items():
        learns = epoch >= 2
        assert values == (learns, learns, learns, pytest.approx(0.1 * (epoch + 1))), (epoch, batch)


def test_what_the_user_froze_stays_so_after_the_first_epochs(tmp_path: Path) -> None:
    before = FakeModel()
    model, seen = run(tmp_path, 1, freeze=("bn",))
    assert seen[0, 5][:3] == (False, False, False) and seen[1, 0][:3] == (True, False, True)
    assert torch.equal(model.backbone.norm.running_mean, before.backbone.norm.running_mean)
    assert torch.equal(model.backbone.norm.weight, before.backbone.norm.weight)
    assert not torch.equal(model.backbone.stem.weight, before.backbone.stem.weight)


@pytest.mark.parametrize("batches", [3, 9])
def test_a_run_resumed_in_mid_epoch_is_what_it_was(batches: int, tmp_path: Path) -> None:
    _, straight = run(tmp_path / "whole", 2)
    with pytest.raises(Stop):
        run(tmp_path / "corrupt", 2, extra=(StopAt("on_train_batch_end", batches),))
    _, resumed = run(tmp_path / "corrupt", 2, resume=newest_valid(tmp_path / "corrupt"))
    # Callbacks run before the one that saves: the last batch before the stop comes again.
    assert resumed == {place: values for place, values in straight.items() if 6 * place[0] + place[1] >= batches - 1}
    assert_same(tmp_path / "corrupt", tmp_path / "whole")


def test_whatever_acts_at_an_epochs_start_also_acts_on_a_resume() -> None:
    for found in pkgutil.walk_packages(effdet.training.__path__, "effdet.training."):
        importlib.import_module(found.name)
    # The module's own hook tells the loader where the epoch starts; a resume does that where the loader is made.
    late = [
        kind.__qualname__
        for kind in subclasses(Callback)
        if kind.__module__.startswith("effdet.") and "on_train_epoch_start" in vars(kind) and kind is not AtEpoch
    ]
    assert late == []
    assert {DropoutSchedule, FreezeAllButHeads, LastEvaluation} <= set(subclasses(AtEpoch))


def subclasses(kind: type) -> list[type]:
    return [inner for sub in kind.__subclasses__() for inner in (sub, *subclasses(sub))]


def test_several_devices_are_refused():
    with pytest.raises(UserError, match="freeze"):
        FreezeAllButHeads(1).setup(SimpleNamespace(world_size=2), None, "fit")


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
