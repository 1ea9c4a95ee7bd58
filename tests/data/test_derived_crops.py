"""Things of a detection set as images of their own."""

from __future__ import annotations

import numpy as np
import pytest

from effdet.data import DataError, DataSpec, open_dataset
from effdet.data.derived import CropDataset


def test_a_crop_is_the_box_and_its_margin(coco_set):
    scenes = open_dataset(DataSpec("coco", root=coco_set(3)))
    crops = CropDataset.of(scenes)
    assert len(crops) == 3 and crops.labelled == {"category"} and crops.classes == scenes.classes
    record = crops.records[1]
    assert record.label == 1 and record.file_name == "001.png#101"
    # The box is x 6…26, y 7…23: 20 × 16, of which 2 px are left around it.
    image = crops.read_image(record)
    assert image.shape == (20, 24, 3) and record.size == (20, 24)
    assert image[2:18, 2:22].min() == 255 and image[:2].max() == 0 and image[:, 22:].max() == 0


def test_subsets_and_small_things(coco_set):
    scenes = open_dataset(DataSpec("coco", root=coco_set(3)))
    crops = CropDataset.of(scenes)
    assert np.array_equal(crops.subset([2]).read_image(crops.records[2]), crops.read_image(crops.records[2]))

    def shrink(content):
        for annotation in content["annotations"]:
            annotation["bbox"][2:] = [5, 5]

    with pytest.raises(DataError, match="large enough"):
        CropDataset.of(open_dataset(DataSpec("coco", root=coco_set(2, edit=shrink))))
