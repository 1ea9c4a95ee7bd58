"""Mixup, cutmix, policies, the random crop after padding, and the stages of a run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from effdet.data import (
    ArrayDataset,
    AugmentSpec,
    DataError,
    DataSpec,
    MixCollate,
    Progression,
    StagedTrainSet,
    TrainLoader,
    TrainSet,
    generator,
    open_dataset,
)
from effdet.data.collate import mixed, one_hot, rectangle
from effdet.data.crop import as_evaluated, random_shift
from effdet.preprocess import Preprocess
from effdet.training.autobatch import largest_batch
from heads.structures import ClassTable

SQUARE = Preprocess(size=(16, 16), resize="stretch")


def small_set(count: int = 6) -> ArrayDataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(count) % 3
    names = [f"{index}" for index in range(count)]
    return ArrayDataset(pixels, labels, ClassTable.of(["a", "b", "c"]), names=names, name="small", split="train")


def test_one_hot_leaves_out_what_has_no_class():
    assert one_hot(torch.tensor([2, -1]), 3).tolist() == [[0, 0, 1], [0, 0, 0]]


def test_mixup_by_the_formula():
    images = torch.randint(0, 256, (4, 3, 5, 7), dtype=torch.uint8)
    weights = one_hot(torch.tensor([0, 1, 2, 0]), 3)
    found, classes = mixed(images, weights, AugmentSpec(mixup=0.4), generator(1))
    share = float(classes[1, 1])
    expected = (share * images[1].double() + (1 - share) * images[0].double()).round()
    assert torch.allclose(found[1].double(), expected, atol=1)
    assert found.dtype == torch.uint8 and torch.allclose(classes.sum(1), torch.ones(4))
    assert 0 < share < 1


def test_cutmix_counts_its_pixels():
    images = torch.arange(3, dtype=torch.uint8)[:, None, None, None].repeat(1, 3, 10, 12)
    weights = one_hot(torch.arange(3), 3)
    found, classes = mixed(images, weights, AugmentSpec(cutmix=1.0), generator(3))
    for row in range(3):
        own = (found[row, 0] == row).double().mean().item()
        assert classes[row, row].item() == pytest.approx(own)
        assert classes[row, (row - 1) % 3].item() == pytest.approx(1 - own)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_an_image_without_class_is_not_mixed(kind):
    """Row 1 has no class: neither it nor row 2, which would take pixels of it, changes; all weights are whole or none."""
    images = torch.arange(4, dtype=torch.uint8)[:, None, None, None].mul(50).repeat(1, 3, 10, 12)
    weights = one_hot(torch.tensor([0, -1, 2, 1]), 3)
    found, classes = mixed(images, weights, AugmentSpec(**{kind: 1.0}), generator(3))
    assert classes.sum(1).tolist() == pytest.approx([1, 0, 1, 1])
    assert torch.equal(found[1:3], images[1:3]) and torch.equal(classes[1:3], weights[1:3])
    assert not torch.equal(found[0], images[0]) and not torch.equal(found[3], images[3])


def test_rectangles_stay_inside():
    rng = generator(0)
    for area in (0.0, 0.3, 1.0):
        for _ in range(50):
            top, left, bottom, right = rectangle(5, 9, area, rng)
            assert 0 <= top <= bottom <= 5 and 0 <= left <= right <= 9


def test_without_mixing_nothing_changes():
    images, weights = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.eye(2)
    for augment in (AugmentSpec(), AugmentSpec(mixup=0.4, mix=0.0)):
        same = mixed(images, weights, augment, generator(0))
        assert same[0] is images and same[1] is weights


@pytest.mark.parametrize("workers", [0, 1])
def test_mixed_batches_are_a_function_of_seed_epoch_and_position(workers):
    augment = AugmentSpec(hflip=0.5, mixup=0.4, cutmix=1.0, policy="randaugment", erase=0.5)

    def batches(workers: int, start: int = 0):
        train = TrainSet(small_set(), SQUARE, augment=augment, seed=5)
        loader = TrainLoader(train, 2, workers=workers, collate=MixCollate(lambda epoch: augment, classes=3, seed=5))
        loader.set_epoch(1, start)
        return list(loader)

    one, other = batches(0), batches(workers)
    assert [torch.equal(a.images, b.images) and torch.equal(a.targets.category, b.targets.category)
            for a, b in zip(one, other, strict=True)] == [True] * 3  # fmt: skip
    assert torch.equal(batches(workers, 2)[0].images, one[2].images)
    assert one[0].targets.category.shape == (2, 3) and one[0].images.dtype == torch.uint8


@pytest.mark.parametrize("policy", ["randaugment", "autoaugment", "autoaugment_cifar10", "trivialaugment"])
def test_policies_follow_the_samples_seed_and_leave_the_global_one(policy):
    train = TrainSet(small_set(), SQUARE, augment=AugmentSpec(policy=policy, policy_magnitude=30), seed=1)
    state = torch.get_rng_state()
    first = train[0, 3].image
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(train[0, 3].image, first)
    assert first.shape == (16, 16, 3) and first.dtype == np.uint8
    assert any(not np.array_equal(train[epoch, 3].image, first) for epoch in range(1, 6))


def test_what_boxes_cannot_follow_is_refused(coco_set):
    boxes = open_dataset(DataSpec("coco", root=coco_set()))
    for augment in (AugmentSpec(policy="randaugment"), AugmentSpec(shift=0.1), AugmentSpec(cutmix=1.0)):
        with pytest.raises(DataError, match="for classification"):
            TrainSet(boxes, SQUARE, augment=augment)
    with pytest.raises(DataError, match="no one class"):
        TrainSet(small_set(), SQUARE, augment=AugmentSpec(mosaic=0.5))


@pytest.mark.parametrize(
    "values",
    [{"shift": 0.6}, {"shift": 0.1, "area": (0.5, 1.0)}, {"policy": "best"}, {"mixup": -1}, {"policy_magnitude": 31}],
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(DataError, match="augment"):
        AugmentSpec(**values)


def test_a_shift_is_a_crop_after_padding():
    image = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    padded = np.zeros((24, 24, 3), np.uint8)
    padded[4:20, 4:20] = image
    crops = {padded[y : y + 16, x : x + 16].tobytes() for y in range(9) for x in range(9)}
    seen = set()
    for index in range(60):
        window = random_shift(generator(0, index), as_evaluated((16, 16), SQUARE), (16, 16), 0.25)
        canvas = np.zeros((16, 16, 3), np.uint8)
        x1, y1, x2, y2 = (round(value) for value in window.source)
        canvas[window.rows, window.columns] = image[y1:y2, x1:x2]
        assert canvas.tobytes() in crops
        seen.add(canvas.tobytes())
    assert len(seen) > 30


def test_stages_grow_to_what_the_run_is_set_to():
    final = AugmentSpec(policy="randaugment", policy_magnitude=15, mixup=0.4, cutmix=1.0)
    growth = Progression(stages=4, size=32, magnitude=5, mix=0.0, dropout=0.1)
    large = SQUARE.fitted(64)
    train = StagedTrainSet(small_set(), large, progression=growth, augment=final, epochs=8, seed=0)
    assert [growth.stage(epoch, 8) for epoch in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [train[epoch, 0].image.shape[0] for epoch in (0, 2, 4, 6)] == [32, 43, 53, 64]
    assert [train.augment_at(epoch).policy_magnitude for epoch in (0, 7)] == [5, 15]
    assert [train.augment_at(epoch).mixup for epoch in (0, 7)] == [0, 0.4]
    assert [growth.dropout_at(0.4, stage) for stage in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert train.augment_at(7) == final and growth.preprocess(large, 3) == large


def test_the_largest_epoch_is_the_one_to_measure(monkeypatch):
    """``batch_size=auto`` measures the canvas that takes most memory, which the run ends with."""
    growth, large = Progression(stages=4, size=32), SQUARE.fitted(64)
    train = StagedTrainSet(small_set(), large, progression=growth, augment=AugmentSpec(), epochs=8)
    assert (train.largest_epoch, TrainLoader(train, 2).largest_epoch, TrainSet(small_set(), large).largest_epoch) == (
        6,
        6,
        0,
    )
    plain = StagedTrainSet(small_set(), large, progression=Progression(), augment=AugmentSpec(), epochs=8)
    assert plain.largest_epoch == 0
    measured = []

    def measure(model, sample, states, limit):
        measured.append(tuple(sample.images.shape))
        return 99

    monkeypatch.setattr("effdet.training.autobatch._on_cpu", measure)
    size = largest_batch(
        torch.nn.Linear(1, 1),
        lambda *, batch_size, rank, world: TrainLoader(train, batch_size),
        device=torch.device("cpu"),
    )
    assert measured == [(1, 3, 64, 64)]
    assert size == 6, "no more than the set holds"


def test_one_stage_is_the_plain_set():
    augment = AugmentSpec(hflip=0.5, shift=0.1)
    staged = StagedTrainSet(small_set(), SQUARE, progression=Progression(), augment=augment, epochs=None, seed=2)
    plain = TrainSet(small_set(), SQUARE, augment=augment, seed=2)
    assert all(np.array_equal(staged[1, index].image, plain[1, index].image) for index in range(6))


def test_stages_need_an_end():
    with pytest.raises(DataError, match=r"trainer\.max_epochs"):
        StagedTrainSet(small_set(), SQUARE, progression=Progression(2), augment=AugmentSpec(), epochs=None)
    for values in ({"stages": 0}, {"size": 8.5, "stages": 0}, {"mix": 2.0}, {"dropout": 1.0}):
        with pytest.raises(DataError, match="progressive"):
            Progression(**values)
    with pytest.raises(DataError, match="is not a setting"):
        Progression.from_dict({"stage": 1})
