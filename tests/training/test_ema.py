"""The average of the weights, against the formula worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from effdet.training import fit, read_checkpoint
from effdet.training.ema import Ema
from effdet.training.settings import CheckpointSettings, EmaSettings
from tests.training.fakes import FakeModel, equal, evaluate_fake, factory, settings


class History(Callback):
    """The weights after each optimiser step."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        self._keep(module)

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        if len(self.states) <= trainer.global_step:
            self._keep(module)

    def _keep(self, module: Any) -> None:
        self.states.append({name: value.clone() for name, value in module.model.state_dict().items()})


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_follows_the_formula(accumulate: int, tmp_path: Path) -> None:
    history = History()
    model = FakeModel()
    fit(
        model,
        factory(),
        settings=settings(tmp_path, ema=EmaSettings(decay=0.3), trainer={"accumulate_grad_batches": accumulate}),
        draw_batch=None,
        callbacks=[history],
    )
    expected = {name: value.double() for name, value in history.states[0].items()}
    for n, state in enumerate(history.states[1:]):
        decay = min(0.3, (1 + n) / (10 + n))
        expected = {name: decay * expected[name] + (1 - decay) * state[name].double() for name in expected}
    average = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["state_dict"]
    for name, value in average.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, history.states[-1][name])
    assert equal(dict(model.state_dict()), average), "after training the model holds the average"


def test_validation_sees_the_average_and_training_does_not(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def evaluate(model: Any) -> dict[str, Any]:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"AP": float(len(seen))}

    history = History()
    fit(FakeModel(), factory(), settings=settings(tmp_path), evaluate=evaluate, draw_batch=None, callbacks=[history])
    saved = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")
    assert equal(saved["state_dict"], seen[-1])
    assert equal(saved["raw_state_dict"], history.states[-1])
    assert not equal(saved["state_dict"], saved["raw_state_dict"])


def test_nothing_is_saved_while_the_weights_are_swapped(tmp_path: Path) -> None:
    class Bad(Callback):
        def on_validation_batch_end(self, trainer: Any, *args: Any) -> None:
            trainer.save_checkpoint(tmp_path / "bad.ckpt")

    with pytest.raises(RuntimeError, match="averaged weights"):
        fit(
            FakeModel(),
            factory(),
            settings=settings(tmp_path),
            evaluate=evaluate_fake,
            draw_batch=None,
            callbacks=[Bad()],
        )
    assert not (tmp_path / "bad.ckpt").exists()


def test_without_ema_both_states_are_the_weights(tmp_path: Path) -> None:
    chosen = settings(tmp_path, ema=EmaSettings(enabled=False), checkpoint=CheckpointSettings(max_share=1.0))
    model = FakeModel()
    fit(model, factory(), settings=chosen, draw_batch=None)
    path = tmp_path / "checkpoints" / "last.ckpt"
    saved = read_checkpoint(path)
    assert equal(saved["state_dict"], saved["raw_state_dict"]) and equal(saved["state_dict"], dict(model.state_dict()))


@pytest.mark.parametrize("n, decay", [(0, 0.1), (1, 2 / 11), (10, 11 / 20), (10**6, 0.9998)])
def test_decay(n: int, decay: float) -> None:
    ema = Ema(EmaSettings())
    ema.updates = n
    assert ema.decay() == pytest.approx(decay)
