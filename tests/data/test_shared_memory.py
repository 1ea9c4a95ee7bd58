"""Batches that workers write into shared memory: the same as those made in this process, however slowly they are fetched."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time

import pytest
import torch

from effdet.data import AugmentSpec, DataSpec, TrainLoader, TrainSet, open_dataset, shared_memory
from effdet.data.shared_memory import LARGE, SharedBatch, SharedBuffers
from effdet.preprocess import Preprocess
from heads.structures import Batch, Targets

forked = pytest.mark.skipif(not SharedBuffers.possible(), reason="workers are not forked here")


@pytest.fixture
def train_set(coco_set) -> TrainSet:
    source = open_dataset(DataSpec("coco", root=coco_set(9)))
    return TrainSet(source, Preprocess((160, 160)), augment=AugmentSpec(hflip=0.5, scale=(0.5, 1.5)), seed=1)


def example(count: int = 2, side: int = 160, *, last: bool = True, masks: bool = True) -> Batch:
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)
    return Batch(
        images.contiguous(memory_format=torch.channels_last) if last else images,
        Targets(
            boxes=torch.rand(count, 5, 4),
            labels=torch.zeros(count, 0, dtype=torch.int64),
            semantic=torch.randint(0, 19, (count, side, side), dtype=torch.uint8) if masks else None,
            has_boxes=torch.tensor([True] * count),
        ),
        torch.arange(count),
    )


def assert_equal(one: Batch, other: Batch) -> None:
    for mine, theirs in ((one.images, other.images), (one.indices, other.indices)):
        assert torch.equal(mine, theirs) and mine.stride() == theirs.stride() and mine.dtype == theirs.dtype
    for name in ("boxes", "labels", "semantic", "category", "has_boxes"):
        mine, theirs = getattr(one.targets, name), getattr(other.targets, name)
        assert (mine is None and theirs is None) or (torch.equal(mine, theirs) and mine.dtype == theirs.dtype), name


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("masks", [True, False])
def test_there_and_back(last, masks):
    buffers, batch = SharedBuffers(2, 2, 1 << 19), example(last=last, masks=masks)
    shared = buffers.pack(batch, 1)
    assert isinstance(shared, SharedBatch)
    message = pickle.dumps(shared)
    assert len(message) < LARGE
    again = pickle.loads(message).open()
    assert_equal(again, batch)
    again.images.zero_(), again.targets.boxes.zero_()  # its own memory
    assert_equal(shared.open(), batch)


def test_each_worker_and_turn_has_a_place_of_its_own():
    buffers = SharedBuffers(2, 2, 1 << 19)
    sent = [(example(), worker) for worker in (0, 1, 0, 1, 0, 1)]
    turns = {0: 0, 1: 0}
    waiting = []
    for batch, worker in sent:
        buffers._turn = turns[worker]  # each worker counts for itself, in its own process
        waiting.append((buffers.pack(batch, worker), batch))
        turns[worker] += 1
    for shared, batch in waiting:
        assert_equal(shared.open(), batch)


def test_what_does_not_fit_travels_by_itself():
    batch = example(side=320)
    assert SharedBuffers(1, 1, batch.images.nbytes).pack(batch, 0) is batch
    small = example(1, 32)
    assert isinstance(SharedBuffers(1, 1, 1024).pack(small, 0), SharedBatch)  # nothing large in it


@forked
@pytest.mark.parametrize("prefetch", [1, 2, 3])
def test_no_place_is_written_to_before_it_is_fetched(train_set, prefetch, monkeypatch):
    """Fetching takes long, so that the workers always stand ready to write."""
    plain = TrainLoader(train_set, 1)
    loader = TrainLoader(train_set, 1, workers=2, prefetch=prefetch)
    seen, fetch = [], SharedBatch.open

    def slowly(self: SharedBatch, **options: bool) -> Batch:
        time.sleep(0.03)
        seen.append(self.place)
        return fetch(self, **options)

    monkeypatch.setattr(shared_memory.SharedBatch, "open", slowly)
    for epoch in range(2):
        plain.set_epoch(epoch), loader.set_epoch(epoch)
        kept = list(loader)  # batches stay as they are while others come
        for mine, theirs in zip(kept, plain, strict=True):
            assert_equal(mine, theirs)
        loader.set_epoch(epoch)
        next(iter(loader))  # given up in the middle
    assert set(seen) == set(range(prefetch + 1))
    loader.close()


@forked
def test_no_file_is_opened_for_a_batch(train_set):
    loader = TrainLoader(train_set, 1, workers=1)
    loader.set_epoch(0)
    batches = iter(loader)
    next(batches)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    kept = list(batches)
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert len(kept) == 8 and after <= before
    loader.close()


def test_where_workers_are_not_forked(train_set, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "spawn")
    assert TrainLoader(train_set, 1, workers=1)._buffers is None
    assert TrainLoader(train_set, 1)._buffers is None
