"""Gradient accumulation in a run: each optimiser step has the gradient of one batch, an epoch's last one too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from effdet.model import VisionModel, build, spec_for
from effdet.model.balance import BalanceSpec
from effdet.training import fit
from effdet.training.loader import ResumableLoader, counted_step
from effdet.training.settings import EmaSettings, OptimizerSettings
from heads.protocol import Context
from heads.ranks import over_ranks
from heads.structures import Batch, Targets
from tests.training.fakes import FakeLoader, FakeModel, evaluate_fake, settings


class Counting(FakeModel):
    """A mean over the labelled images: every third has no label, so micro-batches differ in how many they have."""

    def __init__(self, *, predictions: bool) -> None:
        super().__init__()
        self.backbone.drop = nn.Dropout(0.3) if predictions else nn.Identity()
        self.counts_predictions = predictions
        self.passes = 0

    def forward(self, images: Tensor, progress: float | Tensor = 1.0) -> dict[str, Tensor]:
        self.passes += 1
        return super().forward(images)

    def count(self, outputs: Mapping[str, Tensor], targets: Targets, context: Context) -> None:
        assert targets.category is not None and not self.counts_predictions
        over_ranks((targets.category > 0).sum())

    def loss(self, outputs: Mapping[str, Tensor], targets: Targets, context: Context) -> dict[str, Tensor]:
        logits = outputs["detection"].float()
        assert targets.category is not None
        each = nn.functional.cross_entropy(logits, targets.category, reduction="none")
        counted = targets.category > 0
        if self.counts_predictions:  # those on which the network is unsure
            counted = counted & (logits.detach().softmax(1).amax(1) < 0.5)
        total, parts = over_ranks(counted.sum())
        return {"detection/class": (each * counted).sum() * parts / total.clamp(min=1)}


class Gradients(Callback):
    """Of each optimiser step, with the batches that made it."""

    def __init__(self) -> None:
        self.found: list[list[Tensor]] = []
        self.batches: list[list[Batch]] = [[]]
        self.losses: list[float] = []
        self.statistics: list[Tensor] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Batch, batch_idx: int) -> None:
        self.batches[-1].append(batch)

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        self.found.append([value.grad.clone() for value in module.model.parameters() if value.grad is not None])
        self.losses.append(float(module.last_loss))
        self.batches.append([])


def run(directory: Path, model: Any, accumulate: int, **changes: Any) -> Gradients:
    seen = Gradients()
    fit(
        model,
        lambda **options: FakeLoader(24, **options),
        settings=settings(
            directory,
            batch_size=4,
            ema=EmaSettings(enabled=False),
            optimizer=OptimizerSettings(lr=1e-9, base_batch_size=None, weight_decay=0.0),
            trainer={
                "accumulate_grad_batches": accumulate,
                "max_epochs": 2,
                "gradient_clip_val": None,
                "enable_checkpointing": False,
                **changes.pop("trainer", {}),
            },
            **changes,
        ),
        draw_batch=None,
        callbacks=[seen],
    )
    return seen


def one_batch(model: Any, batches: list[Batch]) -> tuple[float, list[Tensor]]:
    """The loss and gradient of all images at once."""
    model.zero_grad()
    model.train()
    model.backbone.norm.eval()
    images = torch.cat([batch.images for batch in batches])
    category = torch.cat([batch.targets.category for batch in batches])  # type: ignore[misc]
    loss = sum(
        model.loss(model(model.preprocess.normalise(images)), Targets(category=category), Context.of(images)).values()
    )
    loss.backward()
    return float(loss.detach()), [value.grad.clone() for value in model.parameters() if value.grad is not None]


@pytest.mark.parametrize("predictions", [False, True])
@pytest.mark.parametrize(
    "accumulate, limit, sizes", [(2, 1.0, [2, 2, 2]), (4, 1.0, [4, 2]), (4, 5, [4, 1]), (9, 1.0, [6])]
)
def test_each_step_has_the_gradient_of_one_batch(
    predictions: bool, accumulate: int, limit: Any, sizes: list[int], tmp_path: Path
) -> None:
    model = Counting(predictions=predictions)
    model.backbone.drop.p = 0.0  # type: ignore[assignment]
    seen = run(tmp_path, model, accumulate, freeze=("bn",), trainer={"limit_train_batches": limit})
    assert [len(batches) for batches in seen.batches[:-1]] == sizes * 2
    # Only where predictions count do the other micro-batches of a step pass the network once more.
    assert model.passes == 2 * (sum(sizes) + (sum(sizes) - len(sizes) if predictions else 0))
    for found, loss, batches in zip(seen.found, seen.losses, seen.batches, strict=False):
        value, expected = one_batch(model, batches)
        assert loss == pytest.approx(value, rel=1e-5)
        for mine, other in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


MODELS: dict[str, dict[str, Any]] = {
    "detection": {"task": "detection"},
    "tal": {"task": "detection", "heads": {"detection": {"loss": {"matcher": "tal"}}}},
    "uncertainty": {"task": "driving", "balance": BalanceSpec("uncertainty")},
    "auxiliary": {"task": "segmentation", "heads": {"semantic": {"auxiliary": {"level": "C4"}, "loss": {"dice": 1.0}}}},
}


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_of_real_models(name: str) -> None:
    """BatchNorm is in evaluation mode: what is left of a batch are the losses, over 20, 2, 0 and 0 boxes an image."""
    torch.manual_seed(0)
    model = build(spec_for(phi=-4, num_classes=3, image_size=64, **MODELS[name])).train()
    for layer in model.modules():
        layer.training = isinstance(layer, VisionModel)  # auxiliary outputs, and nothing random
    generator = torch.Generator().manual_seed(1)
    images, boxes, labels = (
        torch.randn(4, 3, 64, 64, generator=generator),
        torch.zeros(4, 20, 4),
        torch.full((4, 20), -1),
    )
    for row, count in enumerate([20, 2, 0, 0]):
        corner = torch.rand(count, 2, generator=generator) * 40
        boxes[row, :count] = torch.cat([corner, corner + 8 + torch.rand(count, 2, generator=generator) * 16], 1)
        labels[row, :count] = torch.randint(0, 3, (count,), generator=generator)
    mask = torch.randint(0, 3, (4, 64, 64), generator=generator, dtype=torch.uint8)
    mask[0, 10:], mask[1:3] = 255, 255

    def targets(rows: slice) -> Targets:
        return Targets(boxes=boxes[rows], labels=labels[rows], semantic=mask[rows])

    def gradient(size: int) -> dict[str, Tensor]:
        model.zero_grad()
        parts = [slice(start, start + size) for start in range(0, 4, size)]
        outputs, context = model(images[parts[0]]), Context.of(images[parts[0]])
        window = counted_step(
            model,
            (outputs, context),
            [targets(part) for part in parts],
            lambda index: (model(images[parts[index]]), context),
        )
        assert window is not None
        for index, part in enumerate(parts):
            with window.training(index):
                terms = model.loss(outputs if index == 0 else model(images[part]), targets(part), context)
            (torch.stack(list(terms.values())).sum() / len(parts)).backward()
        return {key: value.grad.clone() for key, value in model.named_parameters() if value.grad is not None}

    model.zero_grad()
    torch.stack(list(model.loss(model(images), targets(slice(0, 4)), Context.of(images)).values())).sum().backward()
    expected = {key: value.grad.clone() for key, value in model.named_parameters() if value.grad is not None}
    largest = max(float(value.abs().max()) for value in expected.values())
    for size in (2, 1):
        for key, value in gradient(size).items():
            scale = max(float(expected[key].abs().max()), 1e-5 * largest)
            torch.testing.assert_close(value / scale, expected[key] / scale, rtol=0, atol=3e-3, msg=f"{size} {key}")


def test_counting_sees_the_random_choices_of_training_and_leaves_no_trace(tmp_path: Path) -> None:
    """Dropout decides which images count here: what is counted beforehand is what training then counts."""
    counted: list[tuple[str, int]] = []

    class Watching(Counting):
        def loss(self, outputs: Mapping[str, Tensor], targets: Targets, context: Context) -> dict[str, Tensor]:
            unsure = outputs["detection"].detach().softmax(1).amax(1)
            counted.append(("trained" if torch.is_grad_enabled() else "counted", hash(tuple(unsure.tolist()))))
            return super().loss(outputs, targets, context)

    model = Watching(predictions=True)
    plain = Counting(predictions=False)
    plain.backbone.drop = nn.Dropout(0.3)
    run(tmp_path / "a", model, 3)
    run(tmp_path / "b", plain, 3)
    kinds = [kind for kind, _ in counted]
    assert kinds == (["counted"] * 3 + ["trained"] * 3) * 4
    for step in range(4):
        before, after = counted[6 * step : 6 * step + 3], counted[6 * step + 3 : 6 * step + 6]
        assert [value for _, value in before] == [value for _, value in after]
    # Each batch went into the running statistics once, as in a run that does not look ahead.
    assert torch.equal(model.backbone.norm.running_mean, plain.backbone.norm.running_mean)
    assert torch.equal(model.backbone.norm.num_batches_tracked, plain.backbone.norm.num_batches_tracked)


def test_evaluations_wait_for_the_end_of_a_step(tmp_path: Path) -> None:
    """Half of a step's gradients is nothing that a checkpoint holds: none is written, and none is evaluated, within a step."""
    steps: list[int] = []

    class Recorder(Callback):
        def on_validation_start(self, trainer: Any, module: Any) -> None:
            steps.append(trainer.fit_loop.batch_idx + 1)

    fit(
        FakeModel(),
        lambda **options: FakeLoader(40, **options),
        settings=settings(
            tmp_path, batch_size=4, trainer={"accumulate_grad_batches": 4, "val_check_interval": 0.3, "max_epochs": 2}
        ),
        evaluate=evaluate_fake,
        draw_batch=None,
        callbacks=[Recorder()],
    )
    assert steps == [4, 8, 4, 8, 10]  # the last one is that of the run's end, after its partial last step


def test_windows_of_the_loader() -> None:
    def numbers(accumulate: int, start: int = 0, limit: int | None = None) -> tuple[list[list[int]], int]:
        loader = ResumableLoader(FakeLoader(28, batch_size=4), lambda: accumulate)
        loader.limit = limit
        loader.seek(0, start)
        windows, served = [], 0
        for number, batch in enumerate(loader, start=start):
            served += 1
            if (window := loader.window(number)) is not None:
                assert torch.equal(window[0].indices, batch.indices)
                windows.append([number + index for index in range(len(window))])
        return windows, served

    assert numbers(1) == ([], 7)
    assert numbers(3) == ([[0, 1, 2], [3, 4, 5], [6]], 7)
    assert numbers(3, start=3) == ([[3, 4, 5], [6]], 4)
    assert numbers(4, limit=6)[0][:2] == [[0, 1, 2, 3], [4, 5]]


def test_a_model_that_counts_nothing_is_averaged() -> None:
    assert counted_step(FakeModel(), {}, [Targets(), Targets()], lambda index: {}) is None
