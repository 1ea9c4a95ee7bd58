"""CamVid as SegNet split it: 11 classes, void ignored."""

import numpy as np
import pytest

from effdet.data import DataError, DataSpec, open_dataset


def test_the_layout(mask_set, tmp_path):
    mask_set("val", images="{}", masks="{}annot")
    source = open_dataset(DataSpec("camvid", root=tmp_path, split="val"))
    assert len(source) == 3
    assert source.semantic_classes.names[:4] == ("Sky", "Building", "Pole", "Road")
    assert source.void_id == 11
    with pytest.raises(DataError, match="folders train and trainannot"):
        open_dataset(DataSpec("camvid", root=tmp_path))


def test_void_and_unknown_ids(image, mask_file, tmp_path):
    image("train/a.png", size=(2, 3))
    mask_file("trainannot/a.png", np.array([[0, 10, 11], [1, 2, 3]], np.uint8))
    source = open_dataset(DataSpec("camvid", root=tmp_path))
    assert source.read_mask(source.records[0]).tolist() == [[0, 10, 255], [1, 2, 3]]
    mask_file("trainannot/a.png", np.array([[0, 10, 12], [1, 2, 3]], np.uint8))
    with pytest.raises(DataError, match="unknown id 12 on 1 pixels; known are 0…11, 255"):
        open_dataset(DataSpec("camvid", root=tmp_path))


@pytest.mark.data
def test_the_real_set(data_root):
    source = open_dataset(DataSpec("camvid", root=data_root / "camvid", split="val"))
    assert len(source) == 101
    assert {record.size for record in source.records} == {(360, 480)}
    shares = source.records.class_pixels.sum(0) / source.records.class_pixels.sum()
    assert source.semantic_classes.names[int(shares.argmax())] == "Road"
    assert shares.min() > 0.001
