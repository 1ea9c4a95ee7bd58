"""Copy-paste of objects: to the pixel, with what it leaves of the boxes below, for every form of mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from effdet.data import AugmentSpec, DataError, Dataset, DataSpec, TrainLoader, TrainSet, generator, open_dataset
from effdet.data.copy_paste import Donor, Donors, uncovered
from effdet.data.object_masks import packed_runs
from effdet.preprocess import Preprocess

PREPROCESS = Preprocess((64, 64))
PASTE = AugmentSpec(copy_paste=1.0, min_visibility=0.2)
SHAPE = (48, 64)


def corner(x: int, y: int, width: int, height: int) -> np.ndarray:
    """An L: the left and the lower quarter of a box."""
    mask = np.zeros(SHAPE, bool)
    mask[y : y + height, x : x + width // 4] = True
    mask[y + height - height // 4 : y + height, x : x + width] = True
    return mask


def run_lengths(mask: np.ndarray) -> list[int]:
    """Zeros and ones by turns, down the columns."""
    counts, last = [0], False
    for value in mask.T.reshape(-1).tolist():
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return counts


def outlined(content) -> None:
    """Each object of the set is an L; by turns as run lengths and as a polygon."""
    for number, row in enumerate(content["annotations"]):
        x, y, width, height = row["bbox"]
        row["segmentation"] = {"size": list(SHAPE), "counts": run_lengths(corner(x, y, width, height))}
        if number % 2:
            x2, y2, right, low = x + width, y + height, x + width // 4, y + height - height // 4
            row["segmentation"] = [[x, y, right, y, right, low, x2, low, x2, y2, x, y2]]


@pytest.fixture
def source(coco_set) -> Dataset:
    return open_dataset(DataSpec("coco", root=coco_set(8, edit=outlined), objects=True))


def mask_of(source: Dataset, index: int) -> np.ndarray:
    return corner(*(int(value) for value in source.records.bbox[int(source.records.starts[index])].tolist()))


def drawn(train: TrainSet, rng: np.random.Generator) -> Donor:
    assert train._donors is not None
    return train._donors(rng)


def test_masks_are_read_as_they_were_written(source):
    assert source.masked_objects().all()
    for index in range(8):
        (found,) = source.read_objects(index, np.array([0]))
        assert np.array_equal(found, mask_of(source, index))
    half = source.subset([5, 2])
    assert np.array_equal(half.read_objects(1, np.array([0]))[0], mask_of(source, 2))
    assert open_dataset(DataSpec("coco", root=source.records.root.parent)).masked_objects() is None


def test_masks_change_no_fingerprint(source):
    assert source.fingerprint() == open_dataset(DataSpec("coco", root=source.records.root.parent)).fingerprint()


@pytest.mark.parametrize(
    "segmentation",
    [
        None, [], {}, [[1, 2, 3]], {"size": [48, 64], "counts": [3072]}, {"size": [48, 64], "counts": [5, 9999]},
        {"size": [64, 48], "counts": [0, 3072]}, {"size": [48, 64], "counts": "~~~"}, [[70, 70, 80, 70, 80, 80]],
    ],
)  # fmt: skip
def test_a_malformed_mask_is_none(segmentation):
    assert packed_runs(segmentation, SHAPE) is None


def test_pasted_to_the_pixel(source):
    """Worked out from plain samples and the masks as they were written."""
    plain, pasting = TrainSet(source, PREPROCESS), TrainSet(source, PREPROCESS, augment=PASTE, seed=3)
    seen = set()
    for epoch in range(3):
        for index in range(8):
            rng = generator(3, "augment", epoch, index, 0)
            rng.random(2)  # hflip, copy_paste
            donor = drawn(pasting, rng)
            own, other, found = plain[epoch, index], plain[epoch, donor.index], pasting[epoch, index]
            over = np.zeros((64, 64), bool)
            over[:48] = mask_of(source, donor.index)
            assert np.array_equal(found.image, np.where(over[..., None], other.image, own.image))
            left_over, visible = uncovered(own.boxes, over)
            expected = np.concatenate([left_over[visible >= 0.2], other.boxes])
            assert np.array_equal(found.boxes, expected)
            assert found.labels.tolist() == [*own.labels[visible >= 0.2].tolist(), *other.labels.tolist()]
            assert found.boxes.dtype == np.float32 and found.labels.dtype == np.int64
            seen.add(donor.index)
    assert len(seen) > 5


def test_what_is_left_of_a_box_by_hand():
    over = np.zeros((20, 20), bool)
    over[:, 2:5] = True  # columns 2, 3, 4 of a box of columns 2 to 9
    over[7:9, :] = True  # and its last row of six
    boxes = np.array([[2, 2, 10, 8], [12, 0, 18, 4], [2, 1, 5, 6], [2.5, 2, 10, 5.5]], np.float32)
    left_over, visible = uncovered(boxes, over)
    assert left_over.tolist() == [[5, 2, 10, 7], [12, 0, 18, 4], [2, 1, 5, 6], [5, 2, 10, 5.5]]
    assert visible.tolist() == pytest.approx([25 / 48, 1, 0, 20 / 32])
    hole = np.zeros((20, 20), bool)
    hole[3:6, 3:6] = True
    left_over, visible = uncovered(boxes[:1], hole)
    assert left_over.tolist() == [[2, 2, 10, 8]] and visible.tolist() == pytest.approx([39 / 48])
    assert uncovered(np.zeros((0, 4), np.float32), over)[0].shape == (0, 4)


def test_a_hidden_box_goes(source):
    """An L covers 44 % of its own box, and the one of the last image 14 % of the first's."""
    augment = AugmentSpec(copy_paste=1.0, min_visibility=0.7)
    counts = {len(TrainSet(source, PREPROCESS, augment=augment, seed=seed)[0, 0].boxes) for seed in range(30)}
    assert counts == {1, 2}


def test_pasted_boxes_lie_on_their_pixels_whatever_moved(source):
    augment = AugmentSpec(
        copy_paste=1.0, scale=(0.5, 1.6), aspect=(0.8, 1.25), hflip=0.5, min_visibility=0.6, min_box_size=4.0
    )
    train, found = TrainSet(source, PREPROCESS, augment=augment), 0
    single = TrainSet(source, PREPROCESS, augment=replace(augment, copy_paste=0.0))
    for epoch in range(12):
        for index in range(8):
            sample, below = train[epoch, index], single[epoch, index]
            changed = (sample.image != below.image).any(-1) & (sample.image[..., 0] > 150)
            if not changed.any() or len(sample.boxes) == 0:
                continue
            ys, xs = np.nonzero(changed)
            x1, y1, x2, y2 = sample.boxes[-1]
            assert (
                x1 - 1.5 <= xs.min() and xs.max() + 1 <= x2 + 1.5 and y1 - 1.5 <= ys.min() and ys.max() + 1 <= y2 + 1.5
            )
            found += 1
    assert found > 30


def test_classes_are_drawn_alike_and_may_be_chosen(coco_set):
    def rare(content):
        outlined(content)
        for row in content["annotations"]:
            row["category_id"] = 7 if row["id"] == 105 else 3

    source = open_dataset(DataSpec("coco", root=coco_set(8, edit=rare), objects=True))
    drawn = [Donors(source, None)(generator(seed)).index for seed in range(200)]
    assert 70 < drawn.count(5) < 130
    for classes in (("person",), "rare"):
        assert {Donors(source, classes)(generator(seed)).index for seed in range(20)} == {5}
    with pytest.raises(
        DataError, match=r"copy_paste_classes=\['cat'\]: cat is no class of data=coco, which has car, person"
    ):
        Donors(source, ("cat",))
    with pytest.raises(DataError, match="copy_paste_classes=rare: no class of data=coco is on fewer images"):
        Donors(source.subset([0, 1]), "rare")
    source.records.segments[:] = np.where(source.records.labels == 1, -1, source.records.segments)
    with pytest.raises(DataError, match="no object of these classes in train of data=coco has a mask"):
        Donors(source, ("person",))


def test_a_set_without_masks_is_refused(coco_set):
    with pytest.raises(DataError, match="data=coco: no annotation has a mask. Pasting takes COCO JSON with polygons"):
        TrainSet(open_dataset(DataSpec("coco", root=coco_set(3), objects=True)), PREPROCESS, augment=PASTE)
    with pytest.raises(DataError, match="data=coco: the set is read without masks of objects"):
        TrainSet(open_dataset(DataSpec("coco", root=coco_set(3, edit=outlined))), PREPROCESS, augment=PASTE)


def test_segmentation_maps_are_pasted_too(city_set):
    """Cityscapes' form: the objects are those of the instance map."""
    source = open_dataset(DataSpec("cityscapes", root=city_set(count=3)))
    preprocess = Preprocess((32, 40))
    plain, pasting = TrainSet(source, preprocess), TrainSet(source, preprocess, augment=PASTE, seed=1)
    found = 0
    for index in range(3):
        rng = generator(1, "augment", 0, index, 0)
        rng.random(2)
        donor = drawn(pasting, rng)
        own, other, sample = plain[0, index], plain[0, donor.index], pasting[0, index]
        over = np.zeros((32, 40), bool)
        for mask in source.read_objects(donor.index, donor.rows):
            over[:30] |= mask
        assert over.any()
        assert np.array_equal(sample.semantic, np.where(over, other.semantic, own.semantic))
        found += int((sample.semantic == 13).sum())
        pasted = source.records[donor.index].boxes[donor.rows]
        assert np.array_equal(sample.boxes[-len(pasted) :], pasted)
    assert found
    only_maps = open_dataset(DataSpec("cityscapes", root=source.records.root.parents[1], requested=("semantic",)))
    with pytest.raises(
        DataError, match="pasted with their boxes, and data=cityscapes is read for semantic: set it to 0"
    ):
        TrainSet(only_maps, preprocess, augment=PASTE)


def test_a_donor_that_cannot_be_read_pastes_nothing(source):
    plain = TrainSet(source, PREPROCESS)[0, 0]
    pasting = TrainSet(source, PREPROCESS, augment=PASTE, on_error="warn")
    for record in list(source.records)[1:]:
        record.image.write_bytes(b"no image")
    with pytest.warns(UserWarning, match="left blank"):
        samples = [pasting[epoch, 0] for epoch in range(8)]
    assert any(np.array_equal(sample.image, plain.image) and sample.has_boxes for sample in samples)


def test_it_ends_with_the_mosaics_and_needs_no_particular_worker(source):
    augment = AugmentSpec(
        copy_paste=0.5, mosaic=0.5, mixup=8.0, mix=0.5, partners="batch", scale=(0.5, 1.5), mosaic_off_epochs=1
    )
    plain = TrainSet(source, PREPROCESS, augment=AugmentSpec(scale=(0.5, 1.5)), seed=4)
    train = TrainSet(source, PREPROCESS, augment=augment, seed=4, epochs=2)
    assert all(np.array_equal(train[1, index].image, plain[1, index].image) for index in range(8))

    def batches(workers: int):
        loader = TrainLoader(train, 4, workers=workers)
        try:
            return [(batch.images.clone(), batch.targets.boxes.clone()) for batch in loader]
        finally:
            loader.close()

    assert all(a.equal(c) and b.equal(d) for (a, b), (c, d) in zip(batches(0), batches(2), strict=True))
