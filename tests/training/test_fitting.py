"""One training run from end to end, on a tiny model."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback

from effdet.training import fit, read_checkpoint
from effdet.training.autobatch import CPU_LIMIT, largest_batch
from effdet.training.callbacks.metrics import LossMeter, ProgressDisplay, clock
from effdet.training.settings import EarlyStoppingSettings, EmaSettings, OptimizerSettings
from heads.protocol import Context
from heads.structures import Batch, Targets, UserError
from tests.training.fakes import FakeLoader, FakeModel, equal, evaluate_fake, factory, settings


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def go(
    directory: Path,
    *,
    model: Any = None,
    loader: Any = None,
    evaluate: Any = evaluate_fake,
    callbacks: Any = (),
    **changes: Any,
):
    model = model or FakeModel()
    return fit(
        model,
        loader or factory(),
        settings=settings(directory, **changes),
        evaluate=evaluate,
        draw_batch=None,
        callbacks=callbacks,
    )


def test_what_a_run_leaves(tmp_path: Path) -> None:
    result = fit(
        FakeModel(),
        factory(),
        settings=settings(tmp_path),
        evaluate=evaluate_fake,
        draw_batch=None,
        record={"config": "task: detection\n", "weights": {"sha256": "0"}},
    )
    assert (result.reason, result.steps, result.epochs, result.skipped) == ("finished", 18, 3, 0)
    assert result.metrics["AP50"] == 0.5
    training = [row for row in rows(tmp_path) if row["loss"]]
    assert [int(row["step"]) for row in training] == [1, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    for row in training:
        terms = float(row["detection/class"]) + float(row["detection/box"])
        assert float(row["loss"]) == pytest.approx(terms, rel=1e-4)
        assert all(float(row[name]) > 0 for name in ("lr", "grad_norm", "images_per_second", "memory_gib"))
    assert [int(row["step"]) for row in rows(tmp_path) if row["val/AP"]] == [6, 12, 18]
    saved = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert json.loads(saved["spec"])["name"] == "fake"
    assert saved["config"] == "task: detection\n" and saved["weights"] == {"sha256": "0"}
    assert (
        saved["versions"]["torch"] and saved["seed"] == 0 and saved["classes"]["detection"]["names"] == ["a", "b", "c"]
    )
    assert list(saved["state_dict"]) == list(FakeModel().state_dict())
    assert saved["metrics"]["AP"] == pytest.approx(result.best_score)


def test_it_learns(tmp_path: Path) -> None:
    class Bright(FakeLoader):
        def _batches(self) -> Any:
            for batch in super()._batches():
                classes = batch.images.float().mean((1, 2, 3)) * 0 + torch.arange(len(batch)) % 3
                images = (classes.view(-1, 1, 1, 1) * 100).expand_as(batch.images).to(torch.uint8)
                yield Batch(images, Targets(category=classes.long()), batch.indices)

    go(tmp_path, loader=lambda **options: Bright(24, **options), trainer={"max_epochs": 15})
    losses = [float(row["loss"]) for row in rows(tmp_path) if row["loss"]]
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("precision", ["bf16-mixed", "32"])
def test_other_precisions(precision: str, tmp_path: Path) -> None:
    assert go(tmp_path, trainer={"precision": precision, "max_epochs": 1}).steps == 6
    assert all(
        torch.isfinite(value).all()
        for value in read_checkpoint(tmp_path / "checkpoints/last.ckpt")["state_dict"].values()
    )


def test_a_batch_of_one_and_frozen_norms(tmp_path: Path) -> None:
    model = FakeModel()
    before = model.state_dict()["backbone.norm.running_mean"].clone()
    go(tmp_path, model=model, batch_size=1, freeze=("bn",), trainer={"max_epochs": 1})
    assert torch.equal(model.state_dict()["backbone.norm.running_mean"], before)
    assert not torch.equal(model.backbone.stem.weight, FakeModel().backbone.stem.weight)


def test_early_stopping_and_best(tmp_path: Path) -> None:
    scores = iter([0.1, 0.3, 0.2, 0.25, 0.29, 0.9])
    result = go(
        tmp_path,
        evaluate=lambda model: {"AP": next(scores)},
        early_stopping=EarlyStoppingSettings(patience=2),
        trainer={"max_epochs": 9},
    )
    assert (result.reason, result.epochs, result.best_score) == ("early stopping", 4, 0.3)
    assert read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["global_step"] == 12


@pytest.mark.parametrize("score", [-1.0, math.nan])
def test_a_set_without_truth_decides_nothing(score: float, tmp_path: Path) -> None:
    """COCO's -1, or NaN, for every epoch: ``best.ckpt`` would stay at epoch 1, and patience would end the run."""
    early = EarlyStoppingSettings(patience=1)
    result = go(tmp_path, evaluate=lambda model: {"AP": score}, early_stopping=early, trainer={"max_epochs": 3})
    assert (result.reason, result.epochs, result.best_score) == ("finished", 3, None)
    assert read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["global_step"] == result.steps


def test_the_first_measured_score_beats_those_that_measured_nothing(tmp_path: Path) -> None:
    scores = iter([math.nan, -1.0, 0.0, -1.0])
    result = go(tmp_path, evaluate=lambda model: {"AP": next(scores)}, trainer={"max_epochs": 4})
    assert result.best_score == 0.0
    assert read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["global_step"] == result.steps * 3 // 4


def test_a_metric_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="monitor=mAP is not among the metrics of the evaluation: AP, AP50"):
        go(tmp_path, monitor="mAP")


def test_the_last_epoch_is_evaluated_whatever_the_interval(tmp_path: Path) -> None:
    go(tmp_path, trainer={"check_val_every_n_epoch": 2})
    assert [int(row["step"]) for row in rows(tmp_path) if row["val/AP"]] == [12, 18]


def test_a_time_budget_ends_the_run_with_an_evaluation(tmp_path: Path) -> None:
    result = go(tmp_path, trainer={"max_time": {"seconds": 1}, "max_epochs": 10**6})
    assert result.reason == "time" and result.metrics
    assert 0.9 < result.seconds < 20
    assert int([row for row in rows(tmp_path) if row["val/AP"]][-1]["step"]) == result.steps


def test_nothing_is_saved_where_nothing_is_to_be_saved(tmp_path: Path) -> None:
    result = go(tmp_path, trainer={"enable_checkpointing": False, "logger": False, "max_epochs": 1})
    assert result.last_path is None
    assert not list(tmp_path.iterdir())


def test_dropout_is_seeded_by_step_and_evaluation_does_not_matter(tmp_path: Path) -> None:
    models = [FakeModel(), FakeModel(), FakeModel()]
    go(tmp_path / "a", model=models[0])
    torch.rand(5)
    go(tmp_path / "b", model=models[1], evaluate=None)
    go(tmp_path / "c", model=models[2], seed=1)
    states = [dict(model.state_dict()) for model in models]
    assert equal(states[0], states[1]) and not equal(states[0], states[2])


def test_accumulation_is_one_larger_batch(tmp_path: Path) -> None:
    # Dropout and BatchNorm see batches, so both are held.
    def model() -> FakeModel:
        made = FakeModel()
        made.backbone.drop.p = 0.0
        return made

    a, b = model(), model()
    plain = {"ema": EmaSettings(enabled=False), "freeze": ("bn",), "evaluate": None}
    go(tmp_path / "a", model=a, batch_size=8, **plain)
    go(tmp_path / "b", model=b, batch_size=4, trainer={"accumulate_grad_batches": 2}, **plain)
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6)


def test_out_of_memory_names_the_fix(tmp_path: Path) -> None:
    class Hungry(FakeModel):
        def forward(self, images: torch.Tensor, progress: Any = 1.0) -> Any:
            return torch.empty(2**55)

    with pytest.raises(
        UserError, match=r"out of memory.*batch_size \(now 4.*grad_checkpointing=true.*image_size \(now \[8, 8\]\)"
    ):
        go(tmp_path, model=Hungry())


class Small(FakeLoader):
    """Makes smaller batches than it is asked for, as the real loader does where the set is smaller."""

    def __init__(self, images: int, *, batch_size: int, **options: Any) -> None:
        super().__init__(images, batch_size=min(batch_size, images), **options)


@pytest.mark.parametrize(
    "asked, images, accumulate, step",
    [(128, 16, 1, 16), (8, 16, 1, 8), (8, 16, 8, 16), (8, 24, 2, 16), (128, 16, 4, 16), ("auto", 4, 1, 4)],
)
def test_the_rate_is_that_of_the_step_that_is_really_made(
    asked: Any, images: int, accumulate: int, step: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A set smaller than a batch, and an epoch shorter than an accumulation, make smaller steps: 0.08 is for 64 images."""
    rates: list[float] = []

    class Rates(Callback):
        def on_train_start(self, trainer: Any, module: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["initial_lr"])

    go(
        tmp_path,
        loader=lambda **options: Small(images, **options),
        batch_size=asked,
        callbacks=[Rates()],
        optimizer=OptimizerSettings(lr=0.08, base_batch_size=64),
        trainer={"accumulate_grad_batches": accumulate, "max_epochs": 1},
        evaluate=None,
    )
    assert rates == [pytest.approx(0.08 * step / 64)]
    said = "batch_size=128: the train split is smaller than that, a batch has 16 images" in capsys.readouterr().out
    assert said == (asked == 128)


def test_batch_size_auto(tmp_path: Path) -> None:
    model = FakeModel()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert largest_batch(model, factory(), device=torch.device("cpu")) == CPU_LIMIT
    assert equal(before, dict(model.state_dict())) and model.training
    result = go(tmp_path, batch_size="auto", loader=factory(64), trainer={"max_epochs": 1})
    assert result.steps == 64 // CPU_LIMIT
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["facts"]["batch_size"] == CPU_LIMIT


def test_batch_size_auto_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    from effdet.training import autobatch

    # One image: autograd keeps a few kilobytes. Sizes are powers of two below 8 and multiples of 8 above.
    sizes = []
    for free in (1e3, 6e4, 1e5, 4e5, 1e6):
        monkeypatch.setattr(autobatch, "_free_memory", lambda free=free: int(free))
        try:
            sizes.append(largest_batch(FakeModel(), factory(), device=torch.device("cpu")))
        except UserError as error:
            assert "not even one image fits" in str(error)
            sizes.append(0)
    assert sizes == sorted(sizes) and sizes[0] == 0 and sizes[-1] == CPU_LIMIT
    assert all(size in (0, 1, 2, 4) or size % 8 == 0 for size in sizes)


def test_images(tmp_path: Path) -> None:
    drawn: list[Any] = []

    def batch(batch: Batch, model: Any, path: Path) -> None:
        drawn.append((batch.images.dtype, path.name, path.parent == tmp_path))
        path.write_text("x")

    def broken(model: Any, path: Path) -> None:
        raise ValueError("no ink")

    with pytest.warns(UserWarning, match=r"predictions\.jpg could not be drawn \(ValueError: no ink\)"):
        fit(
            FakeModel(),
            factory(),
            settings=settings(tmp_path),
            evaluate=evaluate_fake,
            draw_batch=batch,
            draw_predictions=broken,
        )
    assert drawn == [(torch.uint8, "train_batch.jpg", True)]


def test_plain_progress_has_no_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    go(tmp_path, progress=True)
    text = capsys.readouterr().out
    assert "epoch 1  step 2/18  loss " in text and "images/s" in text and " left" in text
    assert "evaluation  AP 0." in text
    assert all(letter.isprintable() or letter == "\n" for letter in text)


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    go(tmp_path, callbacks=[ProgressDisplay(screen)], trainer={"max_epochs": 1})
    assert "training" in screen.getvalue() and "/6" in screen.getvalue()


@pytest.mark.parametrize("seconds, text", [(0, "0s"), (59.9, "59s"), (185, "3m05s"), (7620, "2h07m"), (-3, "0s")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_meter_gives_means_and_starts_anew() -> None:
    meter = LossMeter()
    for value in (1.0, 3.0):
        terms = {"a": torch.tensor(value), "b": torch.tensor(2 * value)}
        meter.add(terms, torch.tensor(3 * value))
    assert meter.read() == {"loss": 6.0, "a": 2.0, "b": 4.0}
    assert meter.read() == {}


def test_no_warning_reaches_the_user(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        go(tmp_path, optimizer=OptimizerSettings(lr=0.1))
        go(tmp_path / "b", evaluate=None, trainer={"limit_train_batches": 2})
    assert [str(warning.message) for warning in caught] == []


def test_the_trainer_file_is_accepted(tmp_path: Path) -> None:
    values = yaml.safe_load((Path(__file__).parents[2] / "conf" / "trainer" / "default.yaml").read_text())
    assert go(tmp_path, trainer={**values, "max_epochs": 1, "accelerator": "cpu"}).steps == 6


def test_a_rehearsal_saves_nothing(tmp_path: Path) -> None:
    assert go(tmp_path, trainer={"fast_dev_run": 2}).steps == 2
    assert not (tmp_path / "checkpoints").exists()


def test_limits_shorten_the_schedule(tmp_path: Path) -> None:
    result = go(tmp_path, trainer={"limit_train_batches": 0.5})
    assert result.steps == 9
    saved = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert saved["lr_schedulers"][0]["_last_lr"][0] == pytest.approx(0.0, abs=1e-9)


def test_losses_see_the_images_and_how_far_the_run_is(tmp_path: Path) -> None:
    seen: list[tuple[float, float, tuple[int, ...]]] = []

    class Watching(FakeModel):
        def forward(self, images: torch.Tensor, progress: Any = 1.0) -> Any:
            self.progress = progress
            return super().forward(images)

        def loss(self, outputs: Any, targets: Targets, context: Context) -> dict[str, torch.Tensor]:
            assert context.images is not None and isinstance(
                self.progress, torch.Tensor
            )  # in a graph that is compiled once
            assert isinstance(context.progress, float), (
                "schedules of losses branch on it without waiting for the device"
            )
            seen.append((float(self.progress), context.progress, tuple(context.images.shape)))
            return super().loss(outputs, targets, context)

    steps = go(tmp_path, model=Watching(), trainer={"max_epochs": 2, "accumulate_grad_batches": 2}).steps
    assert steps == 6 and {shape for *_, shape in seen} == {(4, 3, 8, 8)}
    expected = [step / steps for step in range(steps) for _ in range(2)]
    assert [of_forward for of_forward, *_ in seen] == pytest.approx(expected)
    assert [of_loss for _, of_loss, _ in seen] == pytest.approx(expected)
