"""Class-balanced crops: they land on rare classes, follow their keys, and say where they cannot be."""

import numpy as np
import pytest

from effdet.data import AugmentSpec, DataError, DataSpec, TrainSet, open_dataset
from effdet.preprocess import Preprocess
from heads.structures import UserError


@pytest.fixture
def rare(tmp_path, image, mask_file):
    """One image of 64×64 with 4 pixels of class 1 in a corner, on class 0."""
    values = np.zeros((64, 64), np.uint8)
    values[60:62, 58:60] = 1
    image("images/train/a.png", size=(64, 64), box=(58, 60, 60, 62))
    mask_file("masks/train/a.png", values)
    return open_dataset(DataSpec("masks", root=tmp_path, classes=("ground", "pole")))


def share_with_rare(source, class_crop: float) -> float:
    """How many of 100 crops of a quarter of the image hold class 1."""
    augment = AugmentSpec(scale=(2.0, 2.0), class_crop=class_crop)
    train = TrainSet(source, Preprocess((64, 64)), augment=augment, seed=3)
    samples = [train[epoch, 0] for epoch in range(100)]
    for sample in samples:
        assert np.array_equal(sample.semantic == 1, sample.image[:, :, 0] > 128)
    return float(np.mean([(sample.semantic == 1).any() for sample in samples]))


def test_rare_classes_are_seen_more_often(rare):
    # 1 / √share makes the weights 32 : 1, so that nearly all crops are laid around the pole.
    assert share_with_rare(rare, 0.0) < 0.25
    assert share_with_rare(rare, 0.5) == pytest.approx(0.5 * 0.97 + 0.5 * share_with_rare(rare, 0.0), abs=0.15)
    assert share_with_rare(rare, 1.0) > 0.9


@pytest.mark.parametrize("crop", [{"scale": (1.5, 2.5)}, {"area": (0.2, 0.5)}])
def test_a_crop_follows_its_keys(rare, crop):
    augment = AugmentSpec(class_crop=0.7, hflip=0.5, **crop)
    first, second = (TrainSet(rare, Preprocess((32, 48)), augment=augment, seed=5) for _ in range(2))
    backwards = {key: second[key] for key in reversed([(epoch, 0) for epoch in range(6)])}
    for key, sample in backwards.items():
        assert np.array_equal(first[key].semantic, sample.semantic)
        assert np.array_equal(first[key].image, sample.image)
    other = TrainSet(rare, Preprocess((32, 48)), augment=augment, seed=6)
    assert any(not np.array_equal(other[epoch, 0].semantic, backwards[epoch, 0].semantic) for epoch in range(6))


def test_without_it_nothing_changes(rare):
    """A run from before the option: the same samples."""
    plain = TrainSet(rare, Preprocess((32, 32)), augment=AugmentSpec(scale=(1.0, 2.0)), seed=1)
    rng_used = [plain[epoch, 0].semantic.sum() for epoch in range(4)]
    again = TrainSet(rare, Preprocess((32, 32)), augment=AugmentSpec(scale=(1.0, 2.0), class_crop=0.0), seed=1)
    assert [again[epoch, 0].semantic.sum() for epoch in range(4)] == rng_used


def test_it_needs_a_crop_and_masks(coco_set):
    with pytest.raises(DataError, match="would do nothing"):
        AugmentSpec(class_crop=0.5)
    source = open_dataset(DataSpec("coco", root=coco_set()))
    with pytest.raises(UserError, match="has no masks"):
        TrainSet(source, Preprocess((32, 32)), augment=AugmentSpec(scale=(1, 2), class_crop=0.5))
