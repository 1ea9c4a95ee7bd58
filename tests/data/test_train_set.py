"""Samples: what they hold, and that nothing but (seed, epoch, index) decides it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from effdet.data import AugmentSpec, DataError, Dataset, DataSpec, EvalSet, TrainSet, collate, open_dataset
from effdet.data.sampling import epoch_order
from effdet.preprocess import Preprocess
from heads.structures import ClassTable, UserError

PREPROCESS = Preprocess((64, 64))
EVERYTHING = AugmentSpec(
    hflip=0.5, scale=(0.3, 2), aspect=(0.8, 1.25), colour=0.7, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1,
    grayscale=0.2, blur=0.3, noise=0.3, erase=0.5, mosaic=0.5,
)  # fmt: skip


@pytest.fixture
def source(coco_set) -> Dataset:
    return open_dataset(DataSpec("coco", root=coco_set(6)))


def equal(first, second) -> bool:
    return (
        np.array_equal(first.image, second.image)
        and np.array_equal(first.boxes, second.boxes)
        and np.array_equal(first.labels, second.labels)
    )


@pytest.mark.parametrize("resize", ["letterbox", "stretch", "center_crop"])
def test_no_augmentation_is_evaluation(source, resize):
    preprocess = Preprocess((64, 96), resize=resize)
    train, evaluation = TrainSet(source, preprocess), EvalSet(source, preprocess)
    for index in range(len(source)):
        sample, evaluated = train[5, index], evaluation[index]
        assert np.array_equal(sample.image.transpose(2, 0, 1), evaluated.image)
        expected = evaluated.geometry.to_canvas(evaluated.record.boxes)
        np.testing.assert_allclose(sample.boxes, np.clip(expected, 0, [96, 64, 96, 64]), atol=1e-3)
        assert sample.labels.tolist() == evaluated.record.labels.tolist()


def test_boxes_survive_being_laid_out_and_read_back(source):
    evaluated = EvalSet(source, PREPROCESS)[1]
    back = evaluated.geometry.to_original(evaluated.geometry.to_canvas(evaluated.record.boxes))
    np.testing.assert_allclose(back, evaluated.record.boxes, atol=1e-4)


def test_boxes_fit_the_pixels_whatever_moved(source):
    train = TrainSet(source, PREPROCESS, augment=AugmentSpec(hflip=0.5, scale=(0.5, 2), aspect=(0.8, 1.25)))
    found = 0
    for epoch in range(12):
        for index in range(len(source)):
            sample = train[epoch, index]
            ys, xs = np.nonzero(sample.image[..., 0] > 150)
            if len(sample.boxes) and len(xs):
                found += 1
                bright = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
                np.testing.assert_allclose(sample.boxes[0], bright, atol=1.5)
    assert found > 50


def test_samples_depend_on_seed_epoch_and_index_alone(source):
    first, second = (TrainSet(source, PREPROCESS, augment=EVERYTHING, seed=1) for _ in range(2))
    keys = [(epoch, index) for epoch in range(3) for index in range(6)]
    forward = {key: first[key] for key in keys}
    assert all(equal(second[key], forward[key]) for key in reversed(keys))
    other = TrainSet(source, PREPROCESS, augment=EVERYTHING, seed=2)
    assert not any(equal(other[key], forward[key]) for key in keys)
    assert not equal(first[0, 0], first[1, 0])
    assert not equal(first[0, 0], first[0, 0, 1])
    assert equal(first[0, 0], first[0, 0, 0])


def test_the_libraries_own_state_is_not_used(source):
    import random

    train = TrainSet(source, PREPROCESS, augment=EVERYTHING)
    expected = train[0, 0]
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    before = (random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state())
    assert equal(train[0, 0], expected)
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])


def test_mosaic_holds_four_images_and_ends(source):
    augment = AugmentSpec(mosaic=1, mosaic_off_epochs=2, mosaic_scale=(0.5, 0.6))
    train = TrainSet(source, PREPROCESS, augment=augment, epochs=5)
    plain = TrainSet(source, PREPROCESS)
    counts = [len(train[epoch, 0].boxes) for epoch in range(5)]
    assert max(counts[:3]) > 1
    assert all(equal(train[epoch, 0], plain[epoch, 0]) for epoch in (3, 4))
    for sample in (train[0, index] for index in range(6)):
        assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()
        assert sample.boxes.min(initial=0) >= 0
        assert sample.boxes.max(initial=0) <= 64


def test_crowds_are_not_trained_on(coco_set):
    root = coco_set(3, edit=lambda content: content["annotations"][0].update(iscrowd=1))
    train = TrainSet(open_dataset(DataSpec("coco", root=root)), PREPROCESS)
    assert [len(train[0, index].boxes) for index in range(3)] == [0, 1, 1]


def test_cropped_away_boxes_are_dropped(source):
    train = TrainSet(source, PREPROCESS, augment=AugmentSpec(scale=(3, 3), min_visibility=0.5))
    counts = {len(train[epoch, 0].boxes) for epoch in range(20)}
    assert counts == {0, 1}
    for sample in (train[epoch, 0] for epoch in range(20)):
        full = 20 * 3 * 16 * 3
        assert all((x2 - x1) * (y2 - y1) >= 0.45 * full for x1, y1, x2, y2 in sample.boxes.tolist())


def test_erasing_drops_what_it_hides(source):
    train = TrainSet(source, PREPROCESS, augment=AugmentSpec(erase=1, erase_area=(0.99, 1.0), min_visibility=0.9))
    assert any(len(train[epoch, 0].boxes) == 0 for epoch in range(10))


def test_padding_keeps_its_colour(source):
    augment = AugmentSpec(colour=1, brightness=0.5, contrast=0.5)
    sample = TrainSet(source, PREPROCESS, augment=augment)[0, 0]
    assert (sample.image[48:] == PREPROCESS.fill).all()


class Masked(Dataset):
    """Class 1 where the image is bright, 0 elsewhere."""

    def read_mask(self, record):
        return (self.read_image(record)[..., 0] > 127).astype(np.uint8)


def test_masks_move_with_the_pixels(source):
    masked = Masked(source.records, source.classes, name="m", split="train", labelled=["boxes", "semantic"])
    plain = TrainSet(masked, PREPROCESS)[0, 0]
    assert set(np.unique(plain.semantic)) == {0, 1, 255}
    assert ((plain.semantic == 255) == (plain.image == PREPROCESS.fill).all(axis=-1)).all()
    moving = AugmentSpec(hflip=0.5, scale=(0.5, 1.5), mosaic=0.3, erase=0.2)
    train = TrainSet(masked, PREPROCESS, augment=moving)
    samples = [train[epoch, index] for epoch in range(4) for index in range(6)]
    for sample in samples:
        assert sample.semantic.shape == (64, 64)
        assert set(np.unique(sample.semantic)) <= {0, 1, 255}
        agree = (sample.semantic == 1) == (sample.image[..., 0] > 150)
        assert agree[sample.semantic != 255].mean() > 0.9
    batch = collate(samples)
    assert batch.targets.semantic.shape == (24, 64, 64)
    assert batch.targets.semantic.dtype == torch.uint8


class Striped(Dataset):
    """One image of 300 × 300 with a bright box, in a file or not: no matter."""

    def read_image(self, record, **_):
        pixels = np.zeros((300, 300, 3), np.uint8)
        pixels[110:190, 105:195] = 255
        return pixels

    def read_mask(self, record):
        return (self.read_image(record)[..., 0] > 127).astype(np.uint8)


def test_magnified_five_times_box_and_mask_lie_on_the_pixels_to_less_than_a_source_pixel(source):
    """A crop begins between pixels, and is moved to one of them: up to 2.5 input pixels that box and mask must go along."""
    record = replace(source.records[0], width=300, height=300, boxes=np.array([[105, 110, 195, 190]], np.float32))
    striped = Striped([record], source.classes, name="s", split="train", labelled=["boxes", "semantic"])
    train = TrainSet(striped, Preprocess((600, 600)), augment=AugmentSpec(scale=(2.5, 2.5), hflip=0.5))
    found = 0
    for epoch in range(40):
        sample = train[epoch, 0]
        for bright in (sample.image[..., 0] > 127, sample.semantic == 1):
            ys, xs = np.nonzero(bright)
            if len(sample.boxes) and len(xs):
                edges = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
                np.testing.assert_allclose(sample.boxes[0], edges, atol=1.01)
                found += 1
    assert found > 40


def test_categories(source):
    labelled = list(source.records)
    object.__setattr__(labelled[0], "label", 1)
    classes = ClassTable.of(("a", "b"))
    categories = Dataset(labelled[:1], classes, name="c", split="train", labelled=["category"])
    train = TrainSet(categories, PREPROCESS, augment=AugmentSpec(area=(0.5, 1), aspect=(0.75, 1.33)))
    assert collate([train[0, 0], train[1, 0]]).targets.category.tolist() == [1, 1]


def test_collate(source):
    source = source.subset([0, 1, 2])
    source.records.starts[:] = [0, 0, 1, 3]  # none, one and two boxes
    batch = collate([TrainSet(source, PREPROCESS)[0, index] for index in (0, 1, 2)])
    assert batch.images.shape == (3, 3, 64, 64)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.targets.boxes.shape == (3, 2, 4)
    assert batch.targets.boxes.dtype == torch.float32
    assert batch.targets.labels.tolist() == [[-1, -1], [0, -1], [1, 0]]
    assert batch.targets.has_boxes.tolist() == [True] * 3
    assert batch.indices.tolist() == [0, 1, 2]
    assert batch.targets.semantic is None
    assert batch.targets.category is None


def test_a_batch_without_any_box(source):
    source = source.subset([0])
    source.records.starts[:] = 0
    batch = collate([TrainSet(source, PREPROCESS)[0, 0]])
    assert batch.targets.boxes.shape == (1, 0, 4)
    assert batch.targets.labels.shape == (1, 0)
    assert len(batch) == 1


def test_large_jpegs_are_decoded_small_and_boxes_still_fit(coco_set):
    root = coco_set(
        1, size=(800, 1000), suffix="jpg", edit=lambda content: content["annotations"][0].update(bbox=[4, 6, 20, 16])
    )
    image = root / "train2017/000.jpg"
    pixels = np.zeros((800, 1000, 3), np.uint8)
    pixels[200:600, 300:800] = 255
    Image.fromarray(pixels).save(image)
    source = open_dataset(DataSpec("coco", root=root))
    source.records.bbox[0] = [300, 200, 500, 400]
    shapes = []
    read = source.read_image
    source.read_image = lambda *a, **k: shapes.append(read(*a, **k).shape) or read(*a, **k)
    train = TrainSet(source, PREPROCESS, augment=AugmentSpec(scale=(1, 1)))
    sample = train[0, 0]
    assert shapes == [(100, 125, 3)]
    ys, xs = np.nonzero(sample.image[..., 0] > 190)
    np.testing.assert_allclose(sample.boxes[0], [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=1.01)


def test_undecodable_image(source):
    path = source.records[0].image
    path.write_bytes(b"broken")
    with pytest.raises(DataError, match="000.png: not an image"):
        TrainSet(source, PREPROCESS)[0, 0]
    with pytest.warns(UserWarning, match="000.png.*left blank"):
        sample = TrainSet(source, PREPROCESS, on_error="warn")[0, 0]
    assert not sample.has_boxes
    assert len(sample.boxes) == 0
    assert (sample.image == PREPROCESS.fill).all()


def test_wrong_use(source):
    with pytest.raises(UserError, match=r"asked for by \(epoch, index\), got 3"):
        TrainSet(source, PREPROCESS)[3]
    with pytest.raises(DataError, match="holds no images"):
        TrainSet(source.subset([]), PREPROCESS)


@pytest.mark.data
def test_real_images_keep_their_boxes(data_root):
    source = open_dataset(DataSpec("coco", root=data_root / "coco", max_images=20))
    train = TrainSet(source, Preprocess((128, 128)))
    boxes = sum(len(train[0, index].boxes) for index in epoch_order(20, seed=0, epoch=0)[:, 0])
    assert boxes == sum((~record.crowd).sum() for record in source.records)


def test_a_partner_that_cannot_be_read_leaves_its_quarter_blank_and_the_others_boxes(coco_set):
    root = coco_set(4)
    source = open_dataset(DataSpec("coco", root=root))
    (root / "train2017" / "001.png").write_bytes(b"no image")
    train = TrainSet(source, PREPROCESS, augment=AugmentSpec(mosaic=1.0), on_error="warn")
    with pytest.warns(UserWarning, match="001.png.*left blank"):
        samples = [train[epoch, 0] for epoch in range(12)]
    assert all(sample.has_boxes for sample in samples)
    for path in (root / "train2017").glob("*.png"):
        path.write_bytes(b"no image")
    with pytest.warns(UserWarning, match="left blank"):
        nothing = train[0, 0]
    assert not nothing.has_boxes and len(nothing.boxes) == 0


def test_the_last_epochs_take_the_narrower_sizes(source):
    """A box of 20 × 16 pixels, on a canvas of the images' own scale."""
    augment = AugmentSpec(scale=(0.5, 0.5), closing_scale=(1.5, 1.5), mosaic_off_epochs=2, min_visibility=0.999)
    train = TrainSet(source, PREPROCESS, augment=augment, epochs=6)
    for epochs, expected in ((range(4), [10, 8]), (range(4, 6), [30, 24])):
        samples = [train[epoch, index] for epoch in epochs for index in range(6)]
        sides = [box[2:] - box[:2] for sample in samples for box in sample.boxes]
        assert len(sides) > 1
        np.testing.assert_allclose(sides, np.tile(expected, (len(sides), 1)), atol=1e-3)
    plain = TrainSet(source, PREPROCESS, augment=AugmentSpec(scale=(0.5, 1.5)), epochs=6)
    same = AugmentSpec(scale=(0.5, 1.5), closing_scale=(0.5, 1.5), mosaic_off_epochs=2)
    assert all(
        equal(TrainSet(source, PREPROCESS, augment=same, epochs=6)[epoch, 0], plain[epoch, 0]) for epoch in range(6)
    )


@pytest.mark.parametrize(
    "missing", [{"scale": (0.5, 2.0)}, {"mosaic_off_epochs": 3}, {"area": (0.5, 1.0), "mosaic_off_epochs": 3}]
)
def test_closing_sizes_that_would_do_nothing_are_refused(missing):
    with pytest.raises(DataError, match=r"closing_scale=\[0.8, 1.2\] would do nothing.*set both"):
        AugmentSpec(closing_scale=(0.8, 1.2), **missing)
