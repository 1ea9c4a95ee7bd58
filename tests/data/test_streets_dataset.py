"""`streets` through the loaders of the real sets: boxes from its COCO form, boxes and masks from its Cityscapes form."""

import numpy as np
import pytest

from effdet import streets
from effdet.data import DataSpec, open_dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return streets.ensure((96, 128), 5, train=3, val=2, test=1, root=tmp_path_factory.mktemp("sets"), progress=False)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_both_forms_are_one_set(root, split):
    boxes = open_dataset(DataSpec("streets", root=root, split=split, requested=("boxes",)))
    both = open_dataset(DataSpec("streets", root=root, split=split, requested=("boxes", "semantic")))
    assert boxes.classes == both.classes
    assert (boxes.labelled, both.labelled) == ({"boxes"}, {"boxes", "semantic"})
    for one, other in zip(boxes.records, both.records, strict=True):
        assert (one.file_name, one.image_id, one.size, one.mask) == (other.file_name, other.image_id, other.size, None)
        rows = [np.c_[record.labels, record.boxes, record.area, record.crowd].tolist() for record in (one, other)]
        assert sorted(rows[0]) == sorted(rows[1])
    assert {annotation["iscrowd"] for annotation in both.coco()["annotations"]} <= {0}


def test_masks_and_objects_agree(root):
    source = open_dataset(DataSpec("streets", root=root, split="val", requested=("semantic",)))
    assert len(source.semantic_classes) == 19
    for record in source.records:
        mask, instances = source.read_mask(record), source.read_instances(record)
        assert mask is not None and instances is not None
        inside = instances > 0
        assert np.array_equal(instances[inside] // 1000 - 1, mask[inside])
        assert (mask[inside] >= 11).all()


def test_what_is_said_by_default_is_coco(root):
    """As before there were masks: runs of old compare."""
    assert open_dataset(DataSpec("streets", root=root, split="val")).labelled == {"boxes"}
