"""Cityscapes' layout: ids by the official table, boxes of the things, groups as crowds, every fault named."""

import numpy as np
import pytest
from PIL import Image

from effdet.data import DataError, DataSpec, EvalSet, open_dataset
from effdet.data import cityscapes as table
from effdet.preprocess import Preprocess


def opened(root, split="train", **settings):
    return open_dataset(DataSpec("cityscapes", root=root, split=split, **settings))


@pytest.mark.peer
def test_the_table_is_the_official_one():
    official = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    ours = {label.id: label for label in table.LABELS}
    for label in official:
        own = ours[label.id if label.id >= 0 else 255]
        assert own.name == label.name
        assert own.train_id == (label.trainId if not label.ignoreInEval else None)
        assert own.has_instances == label.hasInstances
    assert len(ours) == len(official)


def test_masks_boxes_and_groups(city_set):
    source = opened(city_set())
    assert (len(source), source.classes.ids, source.classes.names[2]) == (2, (24, 25, 26, 27, 28, 31, 32, 33), "car")
    assert source.labelled == {"boxes", "semantic"}
    record = source.records[1]
    assert record.file_name == "aachen/aachen_000000_000001_leftImg8bit.png"
    # In the order of the instance ids: the group of persons, a person, a car; no caravan.
    assert record.boxes.tolist() == [[20, 12, 24, 18], [28, 12, 31, 18], [4, 10, 16, 20]]
    assert record.labels.tolist() == [0, 0, 2]
    assert record.crowd.tolist() == [True, False, False]
    assert record.area.tolist() == [24, 18, 120]
    mask = source.read_mask(record)
    assert mask is not None
    assert [mask[0, 0], mask[5, 5], mask[29, 0], mask[12, 5], mask[14, 35]] == [255, 10, 0, 13, 255]
    instances = source.read_instances(record)
    assert instances is not None
    assert [instances[12, 5], instances[13, 29], instances[13, 21], instances[14, 35]] == [14001, 12001, 0, 0]
    assert source.records.class_pixels.sum(1).tolist() == [(mask != 255).sum()] * 2
    assert source.void_id == 0


def test_only_what_is_wanted_is_read(city_set):
    root = city_set(suffixes=("instanceIds",))
    source = opened(root, requested=("boxes",))
    assert source.labelled == {"boxes"}
    assert source.records[0].mask is None
    assert len(source.records.labels) == 6
    with pytest.raises(DataError, match="2 × missing-mask"):
        opened(root)


def test_masks_alone(city_set):
    source = opened(city_set(suffixes=("labelIds",)), requested=("semantic",))
    assert (source.labelled, len(source.classes), source.records[0].has_boxes) == ({"semantic"}, 0, False)
    assert source.read_instances(source.records[0]) is None


def test_a_test_split_needs_no_truth(city_set):
    city_set("train")
    source = opened(city_set("test", suffixes=()), "test")
    sample = EvalSet(source, Preprocess((32, 32)))[0]
    assert sample.mask is None
    assert sample.instances is None
    assert not source.records[0].has_boxes


def test_every_fault_in_one_error(city_set, mask_file):
    root = city_set(count=6)
    base = "gtFine/train/aachen/aachen_000000_00000"
    labels = {index: f"{base}{index}_gtFine_labelIds.png" for index in range(7)}
    mask_file(labels[0], np.full((30, 40), 77, np.uint8))
    mask_file(labels[1], np.zeros((30, 44), np.uint8))
    (root / labels[2]).unlink()
    mask_file(labels[3], np.zeros((30, 40, 3), np.uint8))
    mask_file(labels[4], np.zeros((30, 40), np.uint16))
    (root / "leftImg8bit/train/aachen/aachen_000000_000005_leftImg8bit.png").unlink()
    mask_file(f"{base}1_gtFine_instanceIds.png", np.full((30, 40), 40000, np.uint16))
    with pytest.raises(DataError) as caught:
        opened(root)
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 7
    for message in (
        "000000_gtFine_labelIds.png: unknown id 77 on 1,200 pixels; known are 0…33, 255",
        "000001_gtFine_labelIds.png: is 44×30 (width × height), its image",
        "no mask",
        "colours (mode RGB)",
        "16 bits a pixel",
        "no image",
        "unknown id 40000",
    ):
        assert sum(message in line for line in lines) == 1, message


def test_the_void_is_not_learned_from(city_set):
    def empty(ids, instances):
        ids[:], instances[:] = 4, 4

    with pytest.raises(DataError, match="no mask to learn from"):
        opened(city_set(edit=empty), requested=("semantic",))


def test_a_mask_that_changes_later_is_an_error(city_set, mask_file):
    source = opened(city_set())
    mask_file("gtFine/train/aachen/aachen_000000_000000_gtFine_labelIds.png", np.full((30, 40), 77, np.uint8))
    with pytest.raises(DataError, match="does not list"):
        source.read_mask(source.records[0])
    mask_file("gtFine/train/aachen/aachen_000000_000000_gtFine_labelIds.png", np.zeros((30, 41), np.uint8))
    with pytest.raises(DataError, match="41×30"):
        source.read_mask(source.records[0])


@pytest.mark.data
def test_the_official_sample(data_root):
    """The trainId file beside it is the oracle; the two were scaled down each by itself, and differ along borders."""
    root = data_root / "cityscapes"
    source = opened(root, "val")
    record = source.records[0]
    stem = root / "gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_"
    train_ids = np.array(Image.open(f"{stem}labelTrainIds.png"))
    mask = source.read_mask(record)
    assert mask is not None
    assert (mask == train_ids).mean() > 0.997
    assert len(record.labels) == 7
    assert source.records.class_pixels.sum() == (mask != 255).sum()
