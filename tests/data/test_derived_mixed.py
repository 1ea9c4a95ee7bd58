"""Two sets as one: each image keeps its own labels, and adds only their losses."""

import numpy as np
import pytest

from effdet.data import AugmentSpec, DataError, DataSpec, EvalSet, TrainSet, collate, open_dataset
from effdet.data.rng import generator
from effdet.preprocess import Preprocess


@pytest.fixture
def mixed(coco_set, mask_set):
    root = coco_set(4)
    mask_set(count=2)
    spec = DataSpec(
        "mixed",
        boxes={"name": "coco", "root": root, "val_fraction": None},
        masks={"name": "masks", "root": root, "classes": ["ground", "pole"]},
    )
    return open_dataset(spec)


def test_images_alternate_in_proportion(mixed):
    assert [record.has_boxes for record in mixed.records] == [True, False, True, True, False, True]
    assert [record.image_id for record in mixed.records] == [1, 2, 3, 4, 5, 6]
    assert mixed.classes.names == ("car", "person")
    assert mixed.semantic_classes.names == ("ground", "pole")
    assert mixed.labelled == {"boxes", "semantic"}
    assert len(mixed.fingerprint()) == 64


def test_each_image_adds_what_it_labels(mixed):
    samples = [TrainSet(mixed, Preprocess((32, 32)))[0, index] for index in range(2)]
    batch = collate(samples)
    assert batch.targets.has_boxes.tolist() == [True, False]
    assert (batch.targets.semantic[0] == 255).all()
    assert set(batch.targets.semantic[1].unique().tolist()) == {0, 1, 255}
    assert (batch.targets.labels[1] == -1).all()


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_a_mosaic_takes_partners_that_label_the_same(mixed, probability):
    """One image without boxes would take those of all four away; so boxes meet boxes, and masks meet masks."""
    train = TrainSet(mixed, Preprocess((32, 32)), augment=AugmentSpec(mosaic=probability, scale=(0.8, 1.2)))
    samples = [train[epoch, index] for epoch in range(10) for index in range(6)]
    for sample in samples:
        boxed = mixed.records[sample.index].has_boxes
        assert sample.has_boxes == boxed
        assert boxed or len(sample.boxes) == 0
        assert (sample.semantic == 255).all() == boxed
    assert max(len(sample.boxes) for sample in samples) > 1, "mosaics of several boxes"


def test_a_set_whose_images_label_the_same_draws_partners_as_ever(coco_set):
    source = open_dataset(DataSpec("coco", root=coco_set(4)))
    train = TrainSet(source, Preprocess((32, 32)), augment=AugmentSpec(mosaic=1.0))
    assert np.array_equal(train._partners(2, generator(5), None, 3), generator(5).integers(0, 4, 3))


def test_evaluation_has_the_truth_of_each(mixed):
    samples = [EvalSet(mixed, Preprocess((32, 32)))[index] for index in range(2)]
    assert samples[0].mask is None
    assert samples[1].mask.shape == samples[1].record.size
    truth = mixed.coco()
    assert [image["id"] for image in truth["images"]] == [1, 3, 4, 6]
    assert len(truth["annotations"]) == 4
    part = mixed.subset([4, 0])
    assert np.array_equal(part.read_mask(part.records[0]), mixed.read_mask(mixed.records[4]))
    assert part.coco()["images"][0]["id"] == 1


def test_one_wanted_label_opens_one_set(coco_set):
    root = coco_set(2)
    boxes = {"name": "coco", "root": root}
    source = open_dataset(DataSpec("mixed", boxes=boxes, requested=("boxes",)))
    assert (len(source), source.labelled) == (2, {"boxes"})


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({}, "data.boxes.name=None must be a set"),
        ({"name": "mixed"}, "must be a set"),
        ({"name": "coco", "rot": "x"}, "data.boxes.rot is not a setting"),
        ({"name": "camvid"}, "data.boxes.root=DIR"),
    ],
)
def test_settings_are_checked(boxes, message):
    with pytest.raises(DataError, match=message):
        open_dataset(DataSpec("mixed", boxes=boxes))


def test_a_set_without_the_label(mask_set):
    root = mask_set()
    with pytest.raises(DataError, match="labels no boxes"):
        open_dataset(DataSpec("mixed", boxes={"name": "masks", "root": root, "classes": ["a", "b"]}))


def test_faults_of_both_are_reported(coco_set, mask_set, mask_file):
    root = coco_set(2, edit=lambda content: content["annotations"][0].update(category_id=99))
    mask_set(count=1)
    mask_file("masks/train/0.png", np.full((20, 30), 9, np.uint8))
    spec = DataSpec(
        "mixed", boxes={"name": "coco", "root": root}, masks={"name": "masks", "root": root, "classes": ["a", "b"]}
    )
    with pytest.raises(DataError) as caught:
        open_dataset(spec)
    assert "category_id 99" in str(caught.value)
    assert "unknown id 9" in str(caught.value)
