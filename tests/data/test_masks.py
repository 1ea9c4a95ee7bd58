"""Pairs of folders: layouts, pairing, values, unequal sizes, and only nearest resampling."""

import numpy as np
import pytest
from PIL import Image

from effdet.data import AugmentSpec, DataError, DataSpec, EvalSet, TrainSet, open_dataset
from effdet.preprocess import Preprocess

CLASSES = ("ground", "pole")


def opened(root, split="train", **settings):
    return open_dataset(DataSpec("masks", root=root, split=split, **{"classes": CLASSES, **settings}))


@pytest.mark.parametrize(
    ("images", "masks"),
    [("images/{}", "masks/{}"), ("{}/images", "{}/labels"), ("imgs/{}", "annotations/{}"), ("pictures/{}", "masks/{}")],
)
def test_layouts(mask_set, images, masks):
    source = opened(mask_set(images=images, masks=masks))
    assert [record.size for record in source.records] == [(20, 30), (24, 27), (28, 24)]
    assert source.records.class_pixels[:, 1].tolist() == [3, 3, 3]
    assert source.semantic_classes.names == CLASSES
    assert not source.records[0].has_boxes
    assert source.labelled == {"semantic"}


def test_named_folders_suffixes_and_values(tmp_path, image, mask_file):
    image("x/a.b.png", size=(4, 6))
    mask_file("x/a.b_m.png", np.array([[7] * 3 + [8] * 3] * 4, np.uint8))
    source = open_dataset(
        DataSpec(
            "masks",
            train_images=tmp_path / "x",
            train_annotations=tmp_path / "x",
            classes=("void", "road", "road"),
            values=(0, 7, 8),
            ignored=(9,),
            mask_suffix="_m",
        )
    )
    assert len(source) == 1
    assert source.semantic_classes.to_dict() == {"names": ["void", "road"], "ids": [0, 7]}
    assert (source.read_mask(source.records[0]) == 1).all()
    assert source.void_id == 9


def test_class_names_from_a_file_or_an_error(mask_set):
    root = mask_set()
    with pytest.raises(DataError, match="no class names"):
        opened(root, classes=None)
    (root / "classes.txt").write_text("ground\npole\n")
    assert opened(root, classes=None).semantic_classes.names == CLASSES


def test_pairs_that_are_none(mask_set, image, mask_file):
    root = mask_set()
    (root / "masks/train/0.png").unlink()
    mask_file("masks/train/extra.png", np.zeros((3, 3), np.uint8))
    image("images/train/1.png", size=(24, 27))
    with pytest.raises(DataError) as caught:
        opened(root)
    text = str(caught.value)
    assert "missing-mask" in text
    assert "extra.png: no image of that name" in text
    assert "1.png: 1.jpg has the same name" in text or "1.jpg" in text


def test_a_value_has_one_meaning(mask_set):
    with pytest.raises(DataError, match="both name 1"):
        opened(mask_set(), ignored=(1,))


def test_val_out_of_train(mask_set):
    root = mask_set(count=12, images="images", masks="masks")
    parts = {split: opened(root, split, val_fraction=0.3) for split in ("train", "val")}
    assert {len(part) for part in parts.values()} != {0}
    assert sum(map(len, parts.values())) == 12


def test_the_frame_is_that_of_the_mask(tmp_path, image, mask_file):
    """An image with an EXIF turn and a mask that was drawn on it as stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image("images/train/a.jpg", size=(20, 30), exif=exif)
    mask_file("masks/train/a.png", np.zeros((20, 30), np.uint8))
    image("images/train/b.jpg", size=(20, 30), exif=exif)
    mask_file("masks/train/b.png", np.zeros((30, 20), np.uint8))
    source = opened(tmp_path)
    assert [record.size for record in source.records] == [(20, 30), (30, 20)]
    assert [source.read_image(record).shape[:2] for record in source.records] == [(20, 30), (30, 20)]


@pytest.mark.parametrize("scale", [None, (0.3, 3.0)])
def test_masks_are_resampled_with_nearest_alone(mask_set, scale):
    """Values 0 and 1 far apart from 255: any mean of them would show."""
    source = opened(mask_set())
    augment = AugmentSpec(hflip=0.5, scale=scale, aspect=(0.8, 1.25) if scale else (1, 1))
    train = TrainSet(source, Preprocess((48, 40)), augment=augment)
    seen = set()
    for index in range(3):
        for epoch in range(8):
            sample = train[epoch, index]
            assert sample.semantic.shape == (48, 40)
            assert not sample.has_boxes
            seen |= set(np.unique(sample.semantic).tolist())
    assert seen == {0, 1, 255}


def test_a_mirrored_mask_is_its_images(mask_set, mask_file, image):
    root = mask_set(count=0)
    values = np.zeros((16, 16), np.uint8)
    values[:, 4:6] = 1
    image("images/train/a.png", size=(16, 16), box=(4, 0, 6, 16))
    mask_file("masks/train/a.png", values)
    sample = TrainSet(opened(root), Preprocess((16, 16)), augment=AugmentSpec(hflip=1.0))[0, 0]
    assert np.array_equal(sample.semantic == 1, sample.image[:, :, 0] > 128)
    assert sample.semantic[0, 10:12].tolist() == [1, 1]


def test_grey_images_and_the_original_size_in_evaluation(mask_set, mask_file):
    root = mask_set(count=2)
    mask_file("images/train/grey.png", np.full((9, 31), 90, np.uint8))
    mask_file("masks/train/grey.png", np.ones((9, 31), np.uint8))
    dataset = EvalSet(opened(root), Preprocess((32, 32)))
    sample = dataset[2]
    assert sample.image.shape == (3, 32, 32)
    assert sample.mask.shape == (9, 31)
    assert (sample.mask == 1).all()
    assert sample.instances is None
