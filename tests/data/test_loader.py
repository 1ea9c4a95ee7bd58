"""Batches are the same with any number of workers, and after an interruption."""

from __future__ import annotations

import hashlib
import time

import pytest
import torch

from effdet.data import AugmentSpec, DataError, DataSpec, TrainLoader, TrainSet, open_dataset
from effdet.data.loader import own_text
from effdet.preprocess import Preprocess
from heads.structures import Batch

AUGMENT = AugmentSpec(
    hflip=0.5, scale=(0.5, 1.5), colour=0.8, brightness=0.3, hue=0.1, saturation=0.2, blur=0.3, noise=0.3, erase=0.3,
    mosaic=0.4, mosaic_off_epochs=1,
)  # fmt: skip


@pytest.fixture
def train_set(coco_set) -> TrainSet:
    source = open_dataset(DataSpec("coco", root=coco_set(11)))
    return TrainSet(source, Preprocess((64, 64)), augment=AUGMENT, seed=4, epochs=3)


def trace(batches) -> list[str]:
    def digest(batch: Batch) -> str:
        targets = batch.targets
        tensors = (batch.images, targets.boxes, targets.labels, batch.indices)
        return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)).hexdigest()

    return [digest(batch) for batch in batches]


def epochs_of(loader: TrainLoader, count: int) -> list[list[str]]:
    traces = []
    for epoch in range(count):
        loader.set_epoch(epoch)
        traces.append(trace(loader))
    return traces


def test_bit_equal_for_any_number_of_workers_and_after_resume(train_set):
    expected = epochs_of(TrainLoader(train_set, 3), 3)
    assert [len(epoch) for epoch in expected] == [3, 3, 3]
    assert len({digest for epoch in expected for digest in epoch}) == 9
    for workers in (1, 2):
        loader = TrainLoader(train_set, 3, workers=workers)
        assert epochs_of(loader, 2) == expected[:2]
        loader.set_epoch(2)
        for _ in loader:  # interrupted with batches loaded ahead …
            break
        loader.set_epoch(1, 1)  # … and resumed from the batches consumed
        assert len(loader) == 2
        assert trace(loader) == expected[1][1:]


def test_iterating_leaves_the_global_generator_alone(train_set):
    state = torch.get_rng_state()
    list(TrainLoader(train_set, 3))
    assert torch.equal(torch.get_rng_state(), state)


def test_sizes(train_set):
    loader = TrainLoader(train_set, 64)
    assert (loader.batch_size, len(loader), loader.steps_per_epoch) == (11, 1, 1)
    assert len(next(iter(loader))) == 11
    loader = TrainLoader(train_set, 1)
    assert len(loader) == 11
    assert next(iter(loader)).images.shape == (1, 3, 64, 64)


def test_an_error_in_a_worker_is_one_line(train_set):
    path = train_set.source.records[0].image
    path.write_bytes(b"broken")
    for workers in (0, 1):
        with pytest.raises(DataError) as caught:
            list(TrainLoader(train_set, 3, workers=workers))
        assert str(caught.value) == f"{path}: not an image that can be read"


def test_own_overrides_of_a_plain_error():
    assert own_text(DataError("x: DataError: y")) == "x: DataError: y"


def test_closing_ends_the_workers_at_once_and_iterating_starts_new_ones(train_set):
    loader = TrainLoader(train_set, 3, workers=1)
    before = trace(loader)
    (worker,) = loader._loader._iterator._workers
    start = time.monotonic()
    loader.close()
    assert not worker.is_alive() and time.monotonic() - start < 4  # the garbage collector's takes five seconds
    loader.set_epoch(0)
    assert trace(loader) == before
    loader.close()
    loader.close()
