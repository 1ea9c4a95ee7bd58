"""What a prediction can be turned into."""

import json

import numpy as np
import pytest

from effdet.inference import Prediction
from heads.structures import ClassTable, UserError

CLASSES = {"detection": ClassTable(("car", None, "person"), (3, None, 1))}


@pytest.fixture
def found():
    image = np.arange(40 * 60 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 60, 3)
    boxes = np.array([[10, 5, 20, 25], [0, 0, 60, 40], [50.4, 30.6, 70, 50]], np.float32)
    return Prediction(image, boxes, np.array([0.9, 0.5, 0.2], np.float32), np.array([0, 2, 2]), classes=CLASSES)


def test_crop_is_the_part_under_the_box(found):
    assert (np.asarray(found.crop(0)) == found.image[5:25, 10:20]).all()
    assert found.crop(1).size == (60, 40)
    assert found.crop(-1).size == (10, 10)  # outer pixels, cut at the image's edge
    assert found.crop(0, margin=0.5).size == (20, 35)
    with pytest.raises(UserError, match="there is no box 3: the image has 3"):
        found.crop(3)


def test_crop_of_an_empty_box_has_a_pixel(found):
    empty = Prediction(found.image, np.array([[60, 40, 60, 40]], np.float32), found.scores[:1], found.labels[:1])
    assert empty.crop(0).size == (1, 1)


def test_tracks_go_along(found):
    tracked = found.tracked(np.array([7, -1, 3]))
    assert tracked.tracks.tolist() == [7, 3] and tracked.names == ["car", "person"]
    assert [row["track_id"] for row in tracked.to_coco(1)] == [7, 3]
    assert [box["track"] for box in json.loads(json.dumps(tracked.to_dict()))["boxes"]] == [7, 3]
    assert tracked.above(0.5).tracks.tolist() == [7]
    assert "track_id" not in found.to_coco(1)[0] and "track" not in found.to_dict()["boxes"][0]
    assert (np.asarray(tracked.draw()) != np.asarray(found.draw())).any()


def test_to_supervision(found):
    pytest.importorskip("supervision")
    detections = found.tracked(np.array([7, 8, 9])).to_supervision()
    assert (detections.xyxy == found.boxes).all() and detections.tracker_id.tolist() == [7, 8, 9]
    assert detections.class_id.tolist() == [0, 2, 2] and detections.data["class_name"].tolist() == found.names
    assert len(found.rows(np.zeros(0, int)).to_supervision()) == 0


def test_to_supervision_without_the_library(found, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "supervision", None)
    with pytest.raises(UserError, match=r"pip install 'effdet-lightning\[supervision\]'"):
        found.to_supervision()
