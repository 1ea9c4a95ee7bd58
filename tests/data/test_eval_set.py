"""Every image, once, as evaluation sees it."""

import numpy as np
import pytest

from effdet.data import DataError, DataSpec, EvalSet, open_dataset
from effdet.preprocess import Preprocess


def test_samples(coco_set):
    source = open_dataset(DataSpec("coco", root=coco_set(3, split="val"), split="val"))
    evaluated = EvalSet(source, Preprocess((32, 32)))
    assert len(evaluated) == 3
    sample = evaluated[2]
    assert sample.image.shape == (3, 32, 32)
    assert sample.image.dtype == np.uint8
    assert sample.record.image_id == 12
    assert sample.index == 2
    assert sample.geometry.original == (48, 64)


def test_an_undecodable_image_is_an_error(coco_set):
    source = open_dataset(DataSpec("coco", root=coco_set(1, split="val"), split="val"))
    source.records[0].image.write_bytes(b"")
    with pytest.raises(DataError, match="000.png"):
        EvalSet(source, Preprocess((32, 32)))[0]
