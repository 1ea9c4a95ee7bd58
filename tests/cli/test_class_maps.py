"""``class_maps=true``: the evaluator of segmentation maps is given a writer in the data's own ids."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from effdet.cli.data import evaluators, labels_of
from effdet.data import Dataset, DataSpec, open_dataset
from heads.structures import ClassTable, UserError


@pytest.fixture
def dataset(tmp_path):
    for directory, pixels in (("val", np.zeros((4, 6, 3), np.uint8)), ("valannot", np.full((4, 6), 3, np.uint8))):
        (tmp_path / directory).mkdir()
        Image.fromarray(pixels).save(tmp_path / directory / "a.png")
    return SimpleNamespace(source=open_dataset(DataSpec("camvid", root=tmp_path, split="val")))


def test_maps_are_written_in_the_datas_ids(dataset, tmp_path):
    model = SimpleNamespace(classes={"semantic": ClassTable.of(("car", "zebra"))})
    evaluator = evaluators(model, dataset, class_maps=tmp_path / "maps")["semantic"]
    record = dataset.source.records[0]
    batch = SimpleNamespace(masks=(None,), instances=(None,), indices=(0,), records=(record,), geometries=())
    evaluator.update([np.array([[0, 1]])], batch)
    assert np.array(Image.open(tmp_path / "maps" / "a.png")).tolist() == [[8, 11]]
    assert evaluators(model, dataset)["semantic"].write is None


def test_a_detector_has_no_maps(tmp_path):
    model = SimpleNamespace(classes={"detection": ClassTable.of(("car",))})
    boxes = Dataset([], ClassTable.of(("car",)), name="boxes", split="val")
    with pytest.raises(UserError, match="class_maps=true"):
        evaluators(model, SimpleNamespace(source=boxes), class_maps=tmp_path)


def test_only_what_the_heads_are_evaluated_by_is_read():
    classes = dict.fromkeys(("detection", "semantic"), ClassTable.of(("car",)))
    assert labels_of(SimpleNamespace(classes=classes)) == ["boxes", "semantic"]
