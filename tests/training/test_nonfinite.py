"""A step that is not finite is skipped, and moves nothing; what fp16's scaler tries out is no such step."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn

import effdet.training.callbacks.nonfinite as nonfinite
from effdet.training import fit, read_checkpoint
from effdet.training.callbacks.nonfinite import FiniteGuard
from effdet.training.ema import Ema
from effdet.training.optimizers import build_optimizer
from effdet.training.settings import EmaSettings, NonFiniteSettings, OptimizerSettings
from heads.protocol import Context
from heads.structures import Targets, UserError
from tests.training.fakes import FakeModel, equal, evaluate_fake, factory, settings


def go(directory: Path, *, model: Any = None, callbacks: Any = (), **changes: Any) -> Any:
    chosen = settings(directory, **changes)
    return fit(
        model or FakeModel(), factory(), settings=chosen, evaluate=evaluate_fake, draw_batch=None, callbacks=callbacks
    )


class Poison(FakeModel):
    """Gives a loss that is not finite for the batches of some steps."""

    def __init__(self, bad: range) -> None:
        super().__init__()
        self.bad, self.calls = bad, 0

    def loss(self, outputs: Any, targets: Targets, context: Context) -> dict[str, torch.Tensor]:
        terms = super().loss(outputs, targets, context)
        self.calls += 1
        return {name: term * float("nan") for name, term in terms.items()} if self.calls in self.bad else terms


def test_a_step_that_is_not_finite_is_skipped_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states: list[Any] = []

    class Weights(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
            parameters = dict(module.model.named_parameters())
            states.append({name: parameter.detach().clone() for name, parameter in parameters.items()})

    result = go(tmp_path, model=Poison(range(3, 5)), callbacks=[Weights()])
    assert result.skipped == 2
    assert equal(states[1], states[2]) and equal(states[1], states[3]) and not equal(states[3], states[4])
    kept = read_checkpoint(tmp_path / "nonfinite" / "step_00000003.pt")
    assert kept["batches"][0]["images"].shape == (4, 3, 8, 8) and kept["step"] == 3
    assert equal(kept["batches"][0]["targets"]["category"].shape, (4,))
    assert {name: kept["raw_state_dict"][name] for name in states[1]}.keys() == states[1].keys()
    assert "step 3: loss or gradient is not finite, the step is skipped; its batch is in" in capsys.readouterr().out


def test_too_many_such_steps_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"4 steps in a row were not finite, the last was step 8; lower optimizer\.lr"):
        go(tmp_path, model=Poison(range(5, 99)), nonfinite=NonFiniteSettings(patience=4))
    assert len(list((tmp_path / "nonfinite").iterdir())) == 3


class Everything(Callback):
    """All that a step can move, after each step; before the first too."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if not self.seen:
            self._look(trainer)

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        self._look(trainer)

    def _look(self, trainer: Any) -> None:
        ema = next(callback for callback in trainer.callbacks if isinstance(callback, Ema))
        states = trainer.optimizers[0].state_dict()["state"]
        found = {
            "weights": trainer.lightning_module.model.state_dict(),  # BatchNorm's statistics and counters too
            "average": ema.model.state_dict(),
            "optimiser": states,
            "updates": ema.updates,
            "rate": trainer.optimizers[0].param_groups[0]["lr"],
        }
        self.seen.append(torch.utils._pytree.tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, found))


@pytest.mark.parametrize("name", ["sgd", "adamw", "rmsprop"])
@pytest.mark.parametrize("bad", [range(1, 2), range(4, 6)])
def test_a_skipped_step_moves_nothing_but_the_schedule(name: str, bad: range, tmp_path: Path) -> None:
    everything = Everything()
    chosen = OptimizerSettings(name, lr=0.01, base_batch_size=None, warmup_steps=0)
    go(tmp_path, model=Poison(bad), callbacks=[everything], optimizer=chosen, trainer={"max_epochs": 1})
    assert len(everything.seen) == 7
    for step, (before, after) in enumerate(zip(everything.seen, everything.seen[1:], strict=False), start=1):
        skipped = step in bad
        for part in ("weights", "average"):
            assert equal(before[part], after[part]) == skipped, (step, part)
        assert after["updates"] == before["updates"] + (not skipped)
        assert after["rate"] < before["rate"], "the schedule is a function of the step's number"
        if skipped and step > 1:
            assert equal(before["optimiser"], after["optimiser"])
    # A first step that was skipped leaves no trace: the second is what it is in a run of its own from there.
    assert all(torch.isfinite(value).all() for value in everything.seen[-1]["weights"].values())


class OnCuda(torch.Tensor):
    """A tensor of the CPU that says it lies on CUDA: the guard's own decisions are tested, not the device."""

    @property
    def device(self) -> torch.device:
        return torch.device("cuda:0")


class Event:
    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["sgd", "adamw", "rmsprop"])
def test_every_optimiser_skips_the_step_on_cuda(
    name: str, fused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.empty
    monkeypatch.setattr(nonfinite.torch, "empty", lambda *args, pin_memory=False, **options: real(*args, **options))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    model = nn.Linear(3, 3)
    model.backbone = nn.Identity()
    optimizer = build_optimizer(model, OptimizerSettings(name=name, lr=0.01), step_images=64, fused=fused)
    reported: list[str] = []
    guard = FiniteGuard(NonFiniteSettings(keep=0), tmp_path, warn=reported.append)
    guard.on_train_start(SimpleNamespace(global_step=0), model)  # type: ignore[arg-type]
    guard._trainer = SimpleNamespace(global_step=0)  # type: ignore[assignment]
    for factor in (1.0, math.nan, 1.0):
        before = [value.detach().clone() for value in model.parameters()]
        optimizer.zero_grad()
        (model(torch.randn(2, 3)).sum() * factor).backward()
        norm = torch.nn.utils.get_total_norm([value.grad for value in model.parameters()])  # type: ignore[misc]
        taken = guard.inspect(torch.Tensor._make_subclass(OnCuda, norm), norm.detach(), optimizer)
        optimizer.step()  # as the trainer does whatever we say
        assert bool(taken) == (factor == 1.0)
        assert all(map(torch.equal, before, model.parameters())) == (factor != 1.0)
        optimizer.found_inf = None  # type: ignore[attr-defined]
    assert guard.state_dict() == {"in_a_row": 0, "skipped": 1}
    assert len(reported) == 1 and "step 1: loss or gradient is not finite, the step is skipped" in reported[0]


def test_what_only_the_device_knows_gives_the_same_average() -> None:
    flags = [True, False, False, True, True, True, False, True]
    averages = []
    for on_device in (False, True):
        model, ema = FakeModel(), Ema(EmaSettings(decay=0.3))
        module: Any = SimpleNamespace(model=model, device=torch.device("cpu"))
        ema.setup(None, module, "fit")  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(0)
        for flag in flags:
            for value in model.parameters():
                if flag:
                    value.data.add_(torch.randn(value.shape, generator=generator))
            before = [value.clone() for value in ema.model.state_dict().values()]
            ema.update(module, torch.tensor(flag) if on_device else flag)
            assert all(map(torch.equal, before, ema.model.state_dict().values())) == (not flag)
        assert ema.updates == 5 and ema.state_dict()["updates"] == 5
        averages.append(ema.model.state_dict())
    for name, value in averages[0].items():
        torch.testing.assert_close(averages[1][name], value)


class Half(FakeModel):
    """Its gradient passes through float16, as in mixed precision: above 65,504 it is infinite."""

    def loss(self, outputs: Any, targets: Targets, context: Context) -> dict[str, Tensor]:
        outputs["detection"].register_hook(lambda gradient: (gradient * 200).half().float() / 200)
        return super().loss(outputs, targets, context)


class PoisonedHalf(Half, Poison):
    pass


def scaled(**options: Any) -> dict[str, Any]:
    """Mixed precision with PyTorch's own scaler, on the CPU."""
    plugin = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", **options))  # type: ignore[arg-type]
    plugin.autocast_context_manager = lambda: torch.autocast("cpu", enabled=False)  # type: ignore[method-assign,assignment]
    return {"plugins": [plugin]}


def test_what_the_scaler_of_fp16_tries_out_is_no_bad_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everything = Everything()
    result = go(
        tmp_path,
        model=Half(),
        callbacks=[everything],
        nonfinite=NonFiniteSettings(patience=2),
        trainer=scaled(init_scale=2.0**16),
    )
    moved = [not equal(a["weights"], b["weights"]) for a, b in zip(everything.seen, everything.seen[1:], strict=False)]
    tried = moved.index(True)
    assert tried > 2, "the scale starts where the gradient overflows"
    assert result.skipped == 0 and moved == [False] * tried + [True] * (18 - tried)
    assert [state["updates"] for state in everything.seen] == [0] * tried + list(range(19 - tried))
    assert not (tmp_path / "nonfinite").exists() and "not finite" not in capsys.readouterr().out


def test_with_fp16_a_loss_that_is_not_finite_counts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 steps in a row were not finite, the last was step 10"):
        go(
            tmp_path,
            model=PoisonedHalf(range(8, 99)),
            nonfinite=NonFiniteSettings(patience=3),
            trainer=scaled(init_scale=2.0**6),
        )
    assert len(list((tmp_path / "nonfinite").iterdir())) == 3


def test_with_fp16_a_gradient_that_overflows_at_any_scale_counts(tmp_path: Path) -> None:
    class Steep(FakeModel):
        def loss(self, outputs: Any, targets: Targets, context: Context) -> dict[str, Tensor]:
            outputs["detection"].register_hook(lambda gradient: gradient * math.inf)
            return super().loss(outputs, targets, context)

    with pytest.raises(UserError, match="2 steps in a row were not finite, the last was step 6"):
        go(tmp_path, model=Steep(), nonfinite=NonFiniteSettings(patience=2), trainer=scaled(init_scale=2.0**4))


def test_the_average_of_fp16_stays_without_the_guard_too(tmp_path: Path) -> None:
    everything = Everything()
    go(
        tmp_path,
        model=Half(),
        callbacks=[everything],
        nonfinite=NonFiniteSettings(skip=False),
        trainer={**scaled(init_scale=2.0**16), "max_epochs": 1},
    )
    first, later = everything.seen[0], everything.seen[2]
    floating = [name for name, value in first["average"].items() if value.is_floating_point()]
    assert all(torch.equal(first["average"][name], later["average"][name]) for name in floating)
    assert (first["updates"], later["updates"]) == (0, 0)
