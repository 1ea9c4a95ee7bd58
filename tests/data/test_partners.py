"""Mixup of boxes, and partners of mosaics and mixups: from the set, or from the sample's own batch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from effdet.data import (
    AugmentSpec,
    DataError,
    Dataset,
    DataSpec,
    Sample,
    TrainLoader,
    TrainSet,
    generator,
    open_dataset,
)
from effdet.preprocess import Preprocess

PREPROCESS = Preprocess((64, 64))
MOSAICS = AugmentSpec(
    mosaic=0.5, mosaic_scale=(0.5, 1.2), hflip=0.5, scale=(0.5, 1.5), mixup=8.0, mix=0.5, partners="batch"
)


@pytest.fixture
def source(coco_set) -> Dataset:
    return open_dataset(DataSpec("coco", root=coco_set(8)))


def same(first: Sample, second: Sample) -> bool:
    return (
        np.array_equal(first.image, second.image)
        and np.array_equal(first.boxes, second.boxes)
        and np.array_equal(first.labels, second.labels)
    )


def counted(source: Dataset, monkeypatch) -> Counter[int]:
    """Counts how often each image of `source` is read from now on."""
    reads: Counter[int] = Counter()
    read = source.read_image

    def count(record, **options):
        reads[record.image_id] += 1
        return read(record, **options)

    monkeypatch.setattr(source, "read_image", count)
    return reads


def test_mixup_averages_two_images_and_keeps_the_boxes_of_both(source):
    """Without any other change the parts are samples of a plain set: the mixture is worked out from them."""
    mixing = TrainSet(source, PREPROCESS, augment=AugmentSpec(mixup=8.0, min_visibility=0.0), seed=1)
    plain = TrainSet(source, PREPROCESS)
    for index in range(len(source)):
        rng = generator(1, "augment", 2, index, 0)
        rng.random()  # hflip
        rng.random()  # mix
        share, partner = rng.beta(8.0, 8.0), int(rng.integers(0, len(source), 1)[0])
        found, own, other = mixing[2, index], plain[2, index], plain[2, partner]
        expected = own.image * share + other.image * (1 - share)
        np.testing.assert_allclose(found.image, expected, atol=0.51)
        assert np.array_equal(found.boxes, np.concatenate([own.boxes, other.boxes]))
        assert found.labels.tolist() == [*own.labels.tolist(), *other.labels.tolist()]
        assert found.image.dtype == np.uint8 and found.boxes.dtype == np.float32


def test_boxes_of_an_image_that_hardly_shows_are_left_out(source):
    """A Beta distribution with a small alpha gives nearly all of the pixels to one image."""
    mixing = TrainSet(source, PREPROCESS, augment=AugmentSpec(mixup=0.05, min_visibility=0.3))
    plain = TrainSet(source, PREPROCESS)
    counts = Counter()
    for epoch in range(20):
        found, own = mixing[epoch, 0], plain[epoch, 0]
        weight = np.abs(found.image.astype(float) - own.image).mean()
        counts[len(found.boxes)] += 1
        if len(found.boxes) == 1 and weight < 0.5:
            assert np.array_equal(found.boxes, own.boxes)
    assert counts[1] > 10


def test_mixup_is_by_chance_and_over_mosaics_too(source):
    plain = TrainSet(source, PREPROCESS)
    never = TrainSet(source, PREPROCESS, augment=AugmentSpec(mixup=8.0, mix=0.0))
    assert all(same(never[0, index], plain[0, index]) for index in range(8))
    half = TrainSet(source, PREPROCESS, augment=AugmentSpec(mixup=8.0, mix=0.5, min_visibility=0.0))
    counts = Counter(len(half[epoch, index].boxes) for epoch in range(8) for index in range(8))
    assert set(counts) == {1, 2} and 20 < counts[2] < 44
    both = TrainSet(source, PREPROCESS, augment=AugmentSpec(mixup=8.0, mosaic=1.0, mosaic_scale=(0.3, 0.5)))
    assert max(len(both[0, index].boxes) for index in range(8)) == 5


def test_mixup_of_boxes_is_over_when_the_mosaics_are(source):
    train = TrainSet(source, PREPROCESS, augment=AugmentSpec(mixup=8.0, mosaic_off_epochs=1), epochs=3)
    plain = TrainSet(source, PREPROCESS)
    assert [same(train[epoch, 0], plain[epoch, 0]) for epoch in range(3)] == [False, False, True]


def test_a_mixed_image_that_cannot_be_read(source):
    """The partner is left out; without the sample's own image there is nothing to train on."""
    mixing = TrainSet(source, PREPROCESS, augment=AugmentSpec(mixup=8.0), on_error="warn")
    plain = TrainSet(source, PREPROCESS)
    rest = [plain[0, index] for index in range(8)]
    source.records[3].image.write_bytes(b"no image")
    with pytest.warns(UserWarning, match="003.png.*left blank"):
        samples = [mixing[epoch, index] for epoch in range(6) for index in range(8)]
    assert not samples[3].has_boxes and len(samples[3].boxes) == 0
    assert all(sample.has_boxes for sample in samples if sample.index != 3)
    alone = [sample for sample in samples if len(sample.boxes) == 1]
    assert alone and all(same(sample, rest[sample.index]) for sample in alone)


class Masked(Dataset):
    def read_mask(self, record):
        return (self.read_image(record)[..., 0] > 127).astype(np.uint8)


def test_mixup_of_segmentation_maps_is_refused(source):
    masked = Masked(source.records, source.classes, name="m", split="train", labelled=["boxes", "semantic"])
    with pytest.raises(DataError, match=r"augment.mixup=8: a pixel of two mixed images has two classes.*set it to 0"):
        TrainSet(masked, PREPROCESS, augment=AugmentSpec(mixup=8.0))


def test_partners_come_from_the_batch(source):
    """Each image has a grey of its own, by which it is known in a mosaic."""
    train = TrainSet(source, PREPROCESS, augment=AugmentSpec(mosaic=1.0, mosaic_scale=(0.4, 0.5), partners="batch"))
    plans = [train._plan((0, index, 0), np.array([5, 2, 7, 4])) for index in (5, 2, 7, 4)]
    assert all({part.index for part in plan.parts} == {5, 2, 7, 4} for plan in plans)
    plan = train._plan((0, 5, 0), np.array([5, 2]))
    assert Counter(part.index for part in plan.parts) == {5: 1, 2: 3}
    plan = train._plan((0, 5, 0), np.array([5]))
    assert {part.index for part in plan.parts} == {5}


def test_each_image_of_a_batch_is_read_once(source, monkeypatch):
    reads = counted(source, monkeypatch)
    train = TrainSet(source, PREPROCESS, augment=MOSAICS)
    train.__getitems__([(0, index) for index in (6, 1, 3, 0)])
    assert reads == {record.image_id: 1 for record in (source.records[index] for index in (6, 1, 3, 0))}
    reads.clear()
    anywhere = TrainSet(source, PREPROCESS, augment=AugmentSpec(mosaic=1.0))
    anywhere.__getitems__([(0, index) for index in (6, 1, 3, 0)])
    assert reads.total() == 16


def test_a_batch_is_the_same_whatever_was_read_before(coco_set):
    """JPEGs may be decoded smaller: by what a batch needs at most, not by what happens to be at hand."""
    source = open_dataset(DataSpec("coco", root=coco_set(8, size=(480, 640), suffix="jpg")))
    train = TrainSet(source, PREPROCESS, augment=MOSAICS, seed=3)
    keys = [(1, index) for index in (6, 1, 3, 0)]
    first = train.__getitems__(keys)
    train.__getitems__([(1, index) for index in (3, 2)])
    assert all(map(same, train.__getitems__(keys), first))
    assert all(map(same, train.__getitems__(keys[::-1]), first[::-1]))
    other = train.__getitems__([(1, index) for index in (6, 1, 3, 2)])
    assert not all(map(same, other, first))


def test_where_no_partner_is_drawn_both_rules_agree(source):
    """Single images are the same to the bit, and mates that are never used don't matter."""
    augment = AugmentSpec(hflip=0.5, scale=(0.5, 1.5))
    of_set = TrainSet(source, PREPROCESS, augment=augment)
    of_batch = TrainSet(source, PREPROCESS, augment=AugmentSpec(hflip=0.5, scale=(0.5, 1.5), partners="batch"))
    keys = [(0, index) for index in range(8)]
    assert all(map(same, of_set.__getitems__(keys), of_batch.__getitems__(keys)))


def test_batches_do_not_depend_on_the_workers_nor_on_an_interruption(source):
    def batches(workers: int, start: int = 0):
        loader = TrainLoader(TrainSet(source, PREPROCESS, augment=MOSAICS, seed=5), 3, workers=workers)
        loader.set_epoch(1, start)
        try:
            return [(batch.images.clone(), batch.targets.boxes.clone()) for batch in loader]
        finally:
            loader.close()

    expected = batches(0)
    for workers in (1, 2):
        found = batches(workers)
        assert all(a.equal(c) and b.equal(d) for (a, b), (c, d) in zip(found, expected, strict=True))
    assert batches(2, 1)[0][0].equal(expected[1][0])


def test_boxes_lie_on_their_pixels(source):
    """Of mosaics without mixup, each box of a batch surrounds the bright pixels of its own image."""
    augment = AugmentSpec(mosaic=1.0, mosaic_scale=(0.6, 0.8), hflip=0.5, min_visibility=0.99, partners="batch")
    train, found = TrainSet(source, PREPROCESS, augment=augment), 0
    for epoch in range(8):
        for sample in train.__getitems__([(epoch, index) for index in range(8)]):
            for x1, y1, x2, y2 in sample.boxes.round().astype(int).tolist():
                inside = sample.image[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1]
                assert inside.size == 0 or inside.min() > 100
                found += 1
    assert found > 100
