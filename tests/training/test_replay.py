"""A step that was not finite: caught in a run, kept, and run again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from effdet.cli import app
from effdet.model import build, spec_for
from effdet.training import fit, read_checkpoint, write_checkpoint
from effdet.training.callbacks.schedules import DropoutSchedule
from effdet.training.replay import NonFiniteStep, Replay, described_model, read_nonfinite_step, replay
from effdet.training.settings import NonFiniteSettings
from effdet.weights.api import build_described
from heads.structures import Batch, Targets, UserError
from tests.training.fakes import settings

SIZE = 64


class Images:
    """Two batches an epoch of two images with a box each."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def close(self) -> None:
        pass

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        self.epoch, self.start = epoch, start_batch

    def __len__(self) -> int:
        return 2 - self.start

    def __iter__(self) -> Any:
        for number in range(self.start, 2):
            generator = torch.Generator().manual_seed(10 * self.epoch + number)
            images = torch.randint(0, 256, (self.batch_size, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
            boxes = torch.tensor([[[8.0, 8.0, 40.0, 40.0]]]).repeat(self.batch_size, 1, 1)
            labels = torch.ones(self.batch_size, 1, dtype=torch.int64)
            yield Batch(images, Targets(boxes=boxes, labels=labels), torch.arange(self.batch_size) + 2 * number)


class Spoil(Callback):
    """Spoils one weight before a step, and mends it after."""

    def __init__(self, name: str, value: float, step: int) -> None:
        self.name, self.value, self.step = name, value, step
        self.before: torch.Tensor | None = None

    def on_train_batch_start(self, trainer: Any, module: Any, *args: Any) -> None:
        if trainer.global_step == self.step and self.before is None:
            weight = module.model.get_parameter(self.name).data
            self.before = weight.clone()
            weight.view(-1)[0] = self.value

    def on_before_zero_grad(self, trainer: Any, module: Any, *args: Any) -> None:
        if trainer.global_step > self.step and self.before is not None:
            module.model.get_parameter(self.name).data.copy_(self.before)


def detector() -> Any:
    torch.manual_seed(0)
    return build(spec_for(task="detection", phi=-4, num_classes=3, image_size=SIZE))


def train(directory: Path, model: nn.Module, *callbacks: Callback, **changes: Any) -> Any:
    return fit(
        model,
        lambda batch_size, rank, world: Images(batch_size),
        settings=settings(directory, batch_size=2, **changes),
        draw_batch=None,
        callbacks=callbacks,
    )


WEIGHT = "backbone.stages.2.0.depthwise.conv.weight"


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose third step met an infinite weight."""
    directory = tmp_path_factory.mktemp("spoilt")
    result = train(directory, detector(), Spoil(WEIGHT, math.inf, 2))
    assert result.skipped >= 1
    return directory


def dumped_in(directory: Path) -> NonFiniteStep:
    return read_nonfinite_step(min((directory / "nonfinite").glob("*.pt")))


def again(dump: NonFiniteStep) -> Replay:
    return replay(dump, described_model(dump))


def test_the_first_bad_module_is_found(spoilt: Path) -> None:
    dump = dumped_in(spoilt)
    assert dump.step == 3 and not math.isfinite(dump.loss)
    found = again(dump)
    assert [bad.where for bad in found.weights] == [f"weights {WEIGHT}"]
    assert found.forward[0].where == "output of backbone.stages.2.0.depthwise.conv (Conv2d)"
    assert "went in: up to" in found.forward[0].before
    assert found.first == str(found.weights[0])
    assert not all(map(math.isfinite, found.terms.values()))


def test_one_overflow_leaves_weights_statistics_and_average_finite(tmp_path: Path) -> None:
    """As in half precision: one activation is infinite, once. BatchNorm has put it into its statistics by then."""
    model, calls = detector(), iter(range(99))
    model.backbone.stem.conv.register_forward_hook(
        lambda module, inputs, output: output * math.inf if model.training and next(calls) == 2 else None
    )
    assert train(tmp_path, model).skipped == 1
    saved = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    for part in ("state_dict", "raw_state_dict"):
        for name, value in saved[part].items():
            assert not value.is_floating_point() or bool(torch.isfinite(value).all()), (part, name)
    assert again(dumped_in(tmp_path)).first is None, "the cause lay outside of the model and its batch"


def test_a_finite_step_is_replayed_to_the_bit(tmp_path: Path) -> None:
    """Kept by a loss that lies: the same forward pass, drop-path too, must give the same loss and gradient norm."""

    class Suspicious(Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, *args: Any) -> None:
            inspect, seen = module.inspect, {}
            if trainer.global_step == 2:

                def doubtful(norm: torch.Tensor, loss: torch.Tensor, optimizer: Any) -> bool:
                    seen["true"] = (float(loss), float(norm))
                    self.seen = seen["true"]
                    module.inspect = inspect
                    return inspect(norm * math.nan, loss, optimizer)

                module.inspect = doubtful

    suspicious = Suspicious()
    train(tmp_path, detector(), suspicious)
    dump = dumped_in(tmp_path)
    found = again(dump)
    assert found.first is None
    assert sum(found.terms.values()) == pytest.approx(suspicious.seen[0], rel=1e-6)
    assert found.norm == pytest.approx(suspicious.seen[1], rel=1e-5)


def test_only_the_gradient_is_bad(spoilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sqrt'(0) is infinite and 0 · ∞ is NaN: the loss is fine, the way back is not."""

    class Edge(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 0 * (x - x.detach()).abs().sqrt().sum()

    dump = dumped_in(spoilt)
    values = {name: torch.nan_to_num(value, posinf=0.0) for name, value in dump.weights.items()}
    valid = replace(dump, weights=values)

    def edgy(*args: Any, **options: Any) -> Any:
        model = build_described(*args, **options)
        model.backbone.stem.act = nn.Sequential(model.backbone.stem.act, Edge())
        return model

    monkeypatch.setattr("effdet.training.replay.build_described", edgy)
    found = again(valid)
    assert not found.forward and all(map(math.isfinite, found.terms.values()))
    assert found.backward and found.first == str(found.backward[0])


def test_the_command(spoilt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = min((spoilt / "nonfinite").glob("*.pt"))
    assert app.main(["replay", str(path), f"out={tmp_path}/step.jpg"]) == 0
    text = capsys.readouterr().out
    assert "step 3: " in text and f"first: weights {WEIGHT}" in text
    assert text.strip().splitlines()[-1] == f"{tmp_path}/step.jpg" and (tmp_path / "step.jpg").stat().st_size > 1000


def test_finite_steps_and_other_files_are_reported(
    spoilt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = read_checkpoint(min((spoilt / "nonfinite").glob("*.pt")))
    values["raw_state_dict"] = {
        name: torch.nan_to_num(value, posinf=0.0) for name, value in values["raw_state_dict"].items()
    }
    path = write_checkpoint(tmp_path / "step.pt", values)
    assert app.main(["replay", str(path)]) == 1
    assert "the step is finite here" in capsys.readouterr().out
    assert app.main(["replay", str(spoilt / "checkpoints" / "last.ckpt")]) == 2
    assert "is not a kept step" in capsys.readouterr().err
    assert app.main(["replay"]) == 2
    assert "file=…: must be given" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"batches": [{"images": 3}]},
        {"batches": None},
        {"spec": "{"},
        {"spec": None},
        {"spec": "[]"},
        {"step": None},
        {"freeze": None},
        {"raw_state_dict": []},
        {"raw_state_dict": {"a": torch.zeros(2)}},
    ],
)
def test_damaged_files(change: dict[str, Any], spoilt: Path, tmp_path: Path) -> None:
    path = min((spoilt / "nonfinite").glob("*.pt"))
    damaged = write_checkpoint(tmp_path / "step.pt", {**read_checkpoint(path), **change})
    with pytest.raises(UserError):
        again(read_nonfinite_step(damaged))


def test_no_more_than_some_are_kept(tmp_path: Path) -> None:
    train(tmp_path, detector(), Spoil(WEIGHT, math.nan, 1), nonfinite=NonFiniteSettings(keep=0))
    assert not (tmp_path / "nonfinite").exists()


class Masks(Images):
    """The same images with masks."""

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            semantic = (batch.images[:, 0] > 128).to(torch.uint8)
            yield replace(batch, targets=Targets(semantic=semantic))


def test_dropout_is_that_of_the_step_where_a_schedule_has_moved_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"semantic": {"dropout": 0.5}}
    model = build(spec_for(task="segmentation", phi=-4, num_classes=2, image_size=SIZE, heads=options))
    fit(
        model,
        lambda batch_size, rank, world: Masks(batch_size),
        settings=settings(tmp_path, batch_size=2, trainer={"max_epochs": 2}),
        draw_batch=None,
        callbacks=[DropoutSchedule("semantic", lambda epoch: 0.1 * (epoch + 1)), Spoil(WEIGHT, math.inf, 2)],
    )
    dump = dumped_in(tmp_path)
    assert dump.dropout == {"heads.semantic.dropout": pytest.approx(0.2)}
    assert described_model(dump).heads["semantic"].dropout.p == pytest.approx(0.2)  # type: ignore[union-attr]
