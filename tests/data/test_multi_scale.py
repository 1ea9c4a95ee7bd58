"""Canvases that change from step to step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from effdet.data import AugmentSpec, DataError, DataSpec, Progression, StagedTrainSet, TrainLoader, open_dataset
from effdet.data.progressive import canvas_sizes
from effdet.preprocess import Preprocess
from effdet.training.autobatch import largest_batch
from effdet.training.loader import ResumableLoader
from heads.structures import UserError

SPAN = AugmentSpec(hflip=0.5, multi_scale=(0.5, 1.5))
SIZES = [(32, 32), (64, 64), (96, 96)]


@pytest.fixture
def train_set(coco_set) -> StagedTrainSet:
    source = open_dataset(DataSpec("coco", root=coco_set(12)))
    return StagedTrainSet(source, Preprocess((64, 64)), progression=Progression(), augment=SPAN, epochs=4, seed=2)


def shapes(batches) -> list[tuple[int, int]]:
    return [tuple(batch.images.shape[2:]) for batch in batches]


def test_sizes_by_hand():
    assert canvas_sizes((256, 256), (0.75, 1.25)) == [(side, side) for side in (192, 224, 256, 288, 320)]
    assert canvas_sizes((64, 96), (0.75, 1.25)) == [(64, 64), (64, 96), (64, 128)]
    assert canvas_sizes((512, 1024), (1.0, 1.5))[-1] == (768, 1536)
    with pytest.raises(
        DataError, match=r"augment.multi_scale=\[0.9, 1.1\] of image_size=\[64, 64\] is one size, \[64, 64\]"
    ):
        canvas_sizes((64, 64), (0.9, 1.1))


def test_a_step_has_one_size_by_seed_epoch_and_step(train_set):
    def epochs(workers: int, seed: int = 2):
        loader = TrainLoader(train_set, 3, workers=workers, seed=seed)
        found = []
        for epoch in range(4):
            loader.set_epoch(epoch)
            found.append([batch.images.clone() for batch in loader])
        loader.close()
        return found

    one, two = epochs(0), epochs(2)
    assert all(
        torch.equal(a, b) for left, right in zip(one, two, strict=True) for a, b in zip(left, right, strict=True)
    )
    sizes = [tuple(images.shape[2:]) for epoch in one for images in epoch]
    assert set(sizes) == set(SIZES) and sizes[:4] != sizes[4:8]
    assert [tuple(images.shape[2:]) for epoch in epochs(0, seed=3) for images in epoch] != sizes


def test_ranks_have_the_same_size_and_a_resume_goes_on_with_it(train_set):
    ranks = [TrainLoader(train_set, 2, rank=rank, world=2) for rank in (0, 1)]
    for epoch in range(3):
        for loader in ranks:
            loader.set_epoch(epoch)
        first, second = (shapes(loader) for loader in ranks)
        assert first == second and len(first) == 3
        ranks[0].set_epoch(epoch, 1)
        assert shapes(ranks[0]) == first[1:]


def test_batches_of_an_optimiser_step_have_one_size(train_set):
    loader = TrainLoader(train_set, 2, accumulate=3)
    loader.set_epoch(1)
    found = shapes(loader)
    assert len(found) == 6 and len(set(found[:3])) == len(set(found[3:])) == 1
    with pytest.raises(
        UserError, match="accumulate_grad_batches=3: the batches of an optimiser step have different canvases"
    ):
        list(ResumableLoader(TrainLoader(train_set, 2), lambda: 3))


def test_boxes_lie_on_their_pixels_on_every_canvas(train_set):
    for canvas, size in enumerate(SIZES):
        for sample in train_set.__getitems__([(0, index, 0, canvas) for index in range(6)]):
            assert sample.image.shape == (*size, 3)
            ys, xs = np.nonzero(sample.image[..., 0] > 150)
            np.testing.assert_allclose(sample.boxes[0], [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=1.5)
    assert train_set[0, 0].image.shape == (96, 96, 3), "without a number it is the largest"


def test_the_batch_to_measure_has_the_largest_size(train_set, monkeypatch):
    measured = []
    monkeypatch.setattr(
        "effdet.training.autobatch._on_cpu",
        lambda model, sample, states, limit: measured.append(sample.images.shape) or 2,
    )
    factory = lambda *, batch_size, rank, world: TrainLoader(train_set, batch_size)
    assert largest_batch(torch.nn.Linear(1, 1), factory, device=torch.device("cpu")) == 2
    assert measured == [(1, 3, 96, 96)]
    assert train_set.largest_size == (96, 96)


def test_it_goes_with_stages_of_one_size_only(train_set):
    source, preprocess = train_set.source, train_set.preprocess
    staged = StagedTrainSet(source, preprocess, progression=Progression(stages=2), augment=SPAN, epochs=4)
    assert (staged.sizes, staged.largest_size) == (3, (96, 96))
    with pytest.raises(
        DataError, match=r"progressive.size=32 augment.multi_scale=\[0.5, 1.5\]: both choose the canvas"
    ):
        StagedTrainSet(source, preprocess, progression=Progression(stages=2, size=32), augment=SPAN, epochs=4)
