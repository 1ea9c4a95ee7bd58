"""The loss of images without labels: its ramp, which images a step has, who labels them, and what it notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from effdet.model import VisionModel
from effdet.training.extra_losses import Run
from effdet.training.settings import PseudoLabelSettings
from effdet.training.unlabelled import UnlabelledLoss
from heads.protocol import Context
from heads.structures import Batch, Targets, UserError
from tests.processes import on_ranks
from tests.training.test_distillation import batch, model


class Views:
    """Pairs of views, each filled with its number in the set: 4 batches an epoch."""

    def __init__(self, images: int) -> None:
        self.images, self.epoch, self.start = images, 0, 0
        self.given: list[tuple[int, int]] = []
        self.closed = False

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        self.epoch, self.start = epoch, start_batch

    def __len__(self) -> int:
        return 4 - self.start

    def __iter__(self) -> Iterator[Batch]:
        for number in range(self.start, 4):
            self.given.append((self.epoch, number))
            generator = torch.Generator().manual_seed(10 * self.epoch + number)
            shape = (2 * self.images, 3, 64, 64)
            pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
            yield Batch(pixels, Targets(), torch.arange(2 * self.images))

    def close(self) -> None:
        self.closed = True


class Step:
    """A model in training with the loss, and the number of the micro-batch."""

    def __init__(self, student: VisionModel | None = None, *, ratio: float = 1.0, **settings: Any) -> None:
        self.model = student or model()
        self.made: list[Views] = []

        def build(*, batch_size: int, rank: int, world: int) -> Any:
            self.made.append(Views(batch_size))
            return self.made[-1]

        self.loss = UnlabelledLoss(
            self.model,
            build,
            PseudoLabelSettings(**settings),
            ratio=ratio,
            images=9,
            name="pool",
            fingerprint="abc",
        )
        self.number = 0
        self.average = model(seed=1).eval()
        self.loss.attach(Run(self.average, lambda: self.number))

    def __call__(self, progress: float, number: int = 0) -> dict[str, Tensor]:
        self.number = number
        given = batch()
        images = self.model.preprocess.normalise(given.images)
        return self.loss(self.model, given, {}, Context.of(images, progress))


@pytest.mark.parametrize(
    ("progress", "weight"), [(0.0, 0.0), (0.19, 0.0), (0.2, 0.0), (0.3, 1.5), (0.4, 3.0), (0.9, 3.0), (1.0, 3.0)]
)
def test_the_weight_starts_late_and_rises(progress, weight):
    assert Step(weight=3.0, start=0.2, ramp=0.2).loss.weight(progress) == pytest.approx(weight)


def test_without_a_ramp_it_starts_whole():
    step = Step(weight=3.0, start=0.5, ramp=0.0)
    assert (step.loss.weight(0.49), step.loss.weight(0.5)) == (0.0, 3.0)


def test_before_its_start_nothing_is_read_and_the_terms_are_there():
    step = Step()
    terms = step(0.1)
    assert terms == {"unlabelled/detection_class": 0.0, "unlabelled/detection_box": 0.0}
    assert not step.made and step.loss.epoch_values() == {}
    assert set(step(0.5)) == set(terms)


def test_the_terms_are_the_heads_own_between_two_views():
    step = Step(weight=2.0)
    student, average = step.model.eval(), step.average
    found = step(0.9, number=6)
    views = next(iter(_at(1, 2)))
    weak, strong = views.images.chunk(2)
    with torch.no_grad():
        labels = student.heads["detection"].pseudo_labels(  # type: ignore[operator]
            average(average.preprocess.normalise(weak))["detection"], confidence=0.8
        )
    expected = student.heads["detection"].pseudo_loss(  # type: ignore[operator]
        student(student.preprocess.normalise(strong))["detection"], labels
    )
    for term, value in expected.items():
        torch.testing.assert_close(found[f"unlabelled/detection_{term}"], 2 * value)


def _at(epoch: int, start: int) -> Views:
    views = Views(2)
    views.set_epoch(epoch, start)
    return views


def test_gradients_reach_the_model_and_not_the_average():
    step = Step()
    torch.stack(list(step(0.9).values())).sum().backward()
    assert all(parameter.grad is not None for parameter in step.model.parameters())
    assert all(parameter.grad is None for parameter in step.average.parameters())
    assert not list(step.loss.parameters())


def test_images_follow_from_the_number_of_the_micro_batch():
    step = Step()
    for number in range(2, 7):
        step(0.9, number)
    assert len(step.made) == 1
    assert step.made[0].given == [(0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]
    resumed = Step()
    resumed(0.9, 5)
    resumed(0.9, 6)
    assert resumed.made[0].given == [(1, 1), (1, 2)]
    step.loss.close()
    assert step.made[0].closed


@pytest.mark.parametrize(("ratio", "images"), [(1.0, 2), (2.0, 4), (0.5, 1), (0.1, 1)])
def test_the_ratio_decides_how_many(ratio, images):
    step = Step(ratio=ratio)
    step(0.9)
    assert step.made[0].images == images


def test_what_the_labels_were_is_noted_once_an_epoch():
    step = Step()
    step(0.9, 0)
    once = {name: value.clone() for name, value in step.loss.state_dict().items()}
    found = step.loss.epoch_values()
    assert list(found) == ["pseudo/detection/car", "pseudo/detection/person", "pseudo/detection/dog",
                           "pseudo/detection_confidence"]  # fmt: skip
    counts, (total, number) = once["detection_counts"], once["detection_confidence"].tolist()
    assert [found[name] for name in list(found)[:3]] == counts.tolist()
    assert sum(list(found.values())[:3]) == pytest.approx(total, rel=1e-5)
    assert found["pseudo/detection_confidence"] == pytest.approx(total / number)
    assert step.loss.epoch_values() == {}
    other = Step()
    other.loss.load_state_dict(once)
    assert other.loss.epoch_values() == found


def test_a_trial_is_a_whole_step_without_a_run():
    step = Step(ratio=1.5)
    step.loss._run = ()
    given = batch()
    images = step.model.preprocess.normalise(given.images)
    found = step.loss.trial(step.model, given, {}, Context.of(images))
    assert set(found) == {"unlabelled/detection_class", "unlabelled/detection_box"}
    assert all(value.requires_grad for value in found.values()) and not step.made


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_other_tasks(task):
    step = Step(model(task), confidence=0.0)
    step.average = model(task, seed=1).eval()
    step.loss.attach(Run(step.average, lambda: 0))
    (value,) = step(0.9).values()
    value.backward()
    assert value > 0 and all(parameter.grad is not None for parameter in step.model.backbone.parameters())


def test_a_head_that_cannot_learn_so_is_refused():
    embedding = model("embedding")
    with pytest.raises(UserError, match="data.unlabelled=pool: embedding can't learn from images without labels"):
        Step(embedding)


def test_what_is_learnt_is_said():
    assert str(Step(weight=2.0, start=0.2, ramp=0.3, ratio=1.5).loss) == (
        "unlabelled: pool, 9 images, 1.5 for each labelled one; the averaged model labels them\n"
        "  pseudo-labels of detection: after 20% of the steps, and from 50% on with weight 2"
    )


def _noted(rank: int, world: int, amounts: list[list[float]]) -> dict[str, float]:
    loss = Step().loss
    loss._note("detection", torch.tensor(amounts[rank]), torch.tensor([sum(amounts[rank]), 4.0]))
    return loss.epoch_values()


def test_every_process_notes_what_all_of_them_saw(tmp_path):
    first, second = on_ranks(_noted, tmp_path, [[1.0, 0.0, 0.5], [0.0, 2.0, 0.5]])
    assert first == second
    assert [first[f"pseudo/detection/{name}"] for name in ("car", "person", "dog")] == [1.0, 2.0, 1.0]
    assert first["pseudo/detection_confidence"] == pytest.approx(4.0 / 8.0)
