"""Albumentations transforms of a user's own: what they carry along, and that every draw follows from the sample's key."""

from __future__ import annotations

import random

import albumentations as A
import numpy as np
import pytest
import torch

from effdet.data import AugmentSpec, DataError, DataSpec, Example, Examples, TrainLoader, TrainSet, open_dataset
from effdet.data.transforms import Transforms, check_transforms, seeded
from effdet.preprocess import Preprocess
from heads.errors import UserError


class FromEveryGenerator(A.ImageOnlyTransform):
    """Adds numbers from NumPy's, Python's and PyTorch's global generators."""

    def apply(self, img, **params):
        added = np.random.randint(0, 9) + random.randrange(9) + int(torch.randint(0, 9, ()))
        return (img.astype(np.int64) + added + np.random.randint(0, 50, img.shape)).clip(0, 255).astype(np.uint8)


OWN = {"_target_": f"{__name__}.FromEveryGenerator", "p": 0.9}


def transforms(*configs):
    return Transforms(configs, min_visibility=0.1, min_box_size=1.0)


def test_boxes_and_mask_follow_a_flip():
    image = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
    mask = np.arange(48, dtype=np.uint8).reshape(8, 6)
    boxes = np.array([[1, 2, 4, 8], [0, 0, 2, 1]], np.float32)
    found = transforms({"_target_": "albumentations.HorizontalFlip", "p": 1})(
        image, boxes, mask, np.random.default_rng(0)
    )
    assert np.array_equal(found[0], image[:, ::-1]) and np.array_equal(found[3], mask[:, ::-1])
    np.testing.assert_allclose(found[1], [[2, 2, 5, 8], [4, 0, 6, 1]], atol=1e-5)
    assert found[2].tolist() == [0, 1]


def test_boxes_that_leave_are_dropped_and_what_moves_in_is_ignored():
    shift = {"_target_": "albumentations.Affine", "translate_px": {"x": [5, 5], "y": [0, 0]}, "p": 1}
    boxes = np.array([[0, 0, 3, 3], [6, 6, 9, 9]], np.float32)
    step = transforms({"_target_": "albumentations.Sequential", "transforms": [shift], "p": 1})
    found = step(np.ones((10, 10, 3), np.uint8), boxes, np.zeros((10, 10), np.uint8), np.random.default_rng(0))
    assert found[2].tolist() == [0]
    np.testing.assert_allclose(found[1], [[5, 0, 8, 3]], atol=0.5)
    assert found[3] is not None and (found[3][:, :5] == 255).all() and (found[3][:, 5:] == 0).all()


def test_image_transforms_leave_boxes_exact():
    boxes = np.array([[0.1, 0.2, 3.3, 3.7]], np.float32)
    found = transforms(OWN)(np.ones((10, 10, 3), np.uint8), boxes, None, np.random.default_rng(0))
    assert found[1] is boxes


def test_the_size_must_stay():
    crop = {"_target_": "albumentations.CenterCrop", "height": 4, "width": 4}
    with pytest.raises(DataError, match="size and type must stay"):
        transforms(crop)(np.ones((10, 10, 3), np.uint8), np.zeros((0, 4), np.float32), None, np.random.default_rng(0))


def test_what_is_no_transform_is_refused():
    with pytest.raises(DataError, match="datetime.date is not a transform of albumentations"):
        transforms({"_target_": "datetime.date", "_args_": [2020, 1, 1]})
    with pytest.raises(DataError, match="needs a _target_"):
        AugmentSpec(transforms=[{"p": 1}])
    with pytest.raises(UserError, match="albumentations has no RandomRian; did you mean RandomRain"):
        check_transforms([{"_target_": "albumentations.RandomRian"}])
    with pytest.raises(UserError, match="takes no argument slant_rang"):
        check_transforms([{"_target_": "albumentations.RandomRain", "slant_rang": [-1, 1]}])


def test_global_generators_are_as_before():
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    expected = (random.random(), np.random.rand(), torch.rand(()).item())
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    with seeded(np.random.default_rng(0)):
        random.random(), np.random.rand(), torch.rand(())
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected


def open_split(split):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(6)]
    return Examples([Example(image, [[4, 4, 30, 40]], ["thing"]) for image in images], ["thing"])


@pytest.fixture(scope="module")
def train_set():
    source = open_dataset(DataSpec("own", target={"_target_": f"{__name__}.open_split"}))
    spec = AugmentSpec(
        hflip=0.5, colour=0.5, brightness=0.2, transforms=[OWN, {"_target_": "albumentations.RandomRain", "p": 0.5}]
    )
    return TrainSet(source, Preprocess((64, 64)), augment=spec, seed=7)


def test_a_sample_is_a_function_of_its_key(train_set):
    first = train_set[3, 2].image
    np.random.rand(), random.random(), train_set[3, 4]
    assert np.array_equal(first, train_set[3, 2].image)
    assert not np.array_equal(first, train_set[4, 2].image)


def test_batches_are_equal_with_any_number_of_workers_and_after_a_resume(train_set):
    def images(workers, start=0):
        loader = TrainLoader(train_set, 2, workers=workers)
        loader.set_epoch(1, start)
        found = [batch.images for batch in loader]
        getattr(loader, "close", lambda: None)()
        return found

    alone = images(0)
    for other in (images(2), images(3)):
        assert all(torch.equal(a, b) for a, b in zip(alone, other, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(alone[1:], images(1, start=1), strict=True))
