"""Tiles: where they lie, how finds are merged, and that they find what the whole picture is too coarse for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import find_objects, label

from effdet.evaluation import coco_metrics
from effdet.inference import Prediction, Predictor, TiledPredictor, TileSettings
from effdet.inference.tiles import merge, tile_frames
from heads.structures import ClassTable, Detections, UserError
from tests.evaluation_fakes import FakeHead, FakeModel

CLASSES = ClassTable.of(["square"])


class BlobHead(FakeHead):
    """Boxes round all white patches of its input: an honest detector, blind to what is smaller than a pixel there."""

    def predict(self, output):
        found = []
        for picture in (output.float().mean(1) > 0.5).cpu().numpy():
            places = find_objects(label(picture)[0])
            found.append([[x.start, y.start, x.stop, y.stop] for y, x in places])
        most = max(map(len, found))
        boxes = torch.zeros(len(found), most, 4)
        real = torch.zeros(len(found), most, dtype=torch.bool)
        for row, places in enumerate(found):
            boxes[row, : len(places)] = torch.tensor(places, dtype=torch.float32).reshape(-1, 4)
            real[row, : len(places)] = True
        return Detections(boxes, real * 0.9, torch.where(real, 0, -1), real.sum(1))


@pytest.fixture
def predictor():
    model = FakeModel("detection")
    model.heads["detection"] = BlobHead()
    model.classes = {"detection": CLASSES}
    return Predictor(model, batch_size=5)


def large_picture():
    """(400, 560) with 24 squares of 6 px and one of 150 px, and their boxes."""
    image = np.zeros((400, 560, 3), np.uint8)
    corners = [(20 + 67 * column, 10 + 45 * row) for row in range(3) for column in range(8)]
    boxes = [[x, y, x + 6, y + 6] for x, y in corners] + [[200, 200, 350, 350]]
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return image, np.array(boxes, np.float32)


def average_precision(prediction, boxes):
    truth = {
        "images": [{"id": 1, "height": 400, "width": 560}],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [
            {"id": n + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": float((x2 - x1) * (y2 - y1))}
            | {"bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]}
            for n, (x1, y1, x2, y2) in enumerate(boxes.tolist())
        ],
    }
    return coco_metrics(truth, prediction.to_coco(1))


def test_tiles_find_small_things_and_keep_the_large_one(predictor):
    image, boxes = large_picture()
    whole = average_precision(predictor(image), boxes)
    tiled = average_precision(TiledPredictor(predictor, TileSettings(overlap=0.25))(image), boxes)
    assert whole["APs"] < 0.1 and tiled["APs"] > 0.95
    assert tiled["ARl"] >= whole["ARl"] > 0.7
    assert len(TiledPredictor(predictor)(image)) == len(boxes)  # each once, though seen in several tiles


def test_a_small_picture_is_seen_as_ever(predictor):
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:40] = 255
    assert (TiledPredictor(predictor)(image).boxes == predictor(image).boxes).all()


def test_streams_lists_paths_and_unreadable_pictures(predictor, tmp_path):
    image, _ = large_picture()
    Image.fromarray(image).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    tiled, told = TiledPredictor(predictor), []
    found = list(tiled.stream([tmp_path / "b.png", tmp_path / "a.png"], unreadable=lambda p, e: told.append(str(e))))
    assert [p.path for p in found] == [str(tmp_path / "a.png")] and "b.png" in told[0]
    assert isinstance(tiled([image]), list)
    with pytest.raises(UserError, match=r"b\.png"):
        tiled(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("size", "overlap", "expected"),
    [
        ((64, 64), 0.2, []),
        ((64, 65), 0.0, [(0, 0, 64, 64), (1, 0, 65, 64)]),
        ((40, 100), 0.25, [(0, 0, 64, 40), (36, 0, 100, 40)]),
        ((128, 64), 0.0, [(0, 0, 64, 64), (0, 64, 64, 128)]),
    ],
)
def test_where_tiles_lie(size, overlap, expected):
    assert tile_frames(*size, (64, 64), overlap).tolist() == [list(frame) for frame in expected]


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5, 0.9])
def test_tiles_cover_everything_and_overlap_enough(overlap):
    frames = tile_frames(777, 1234, (320, 320), overlap)
    seen = np.zeros((777, 1234), int)
    for x1, y1, x2, y2 in frames:
        seen[y1:y2, x1:x2] += 1
    assert seen.min() >= 1
    columns = np.unique(frames[:, 0])
    assert (320 - np.diff(columns) >= 320 * overlap - 1).all()


def prediction(size, *rows):
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    scores, labels = np.array([row[4] for row in rows], np.float32), np.array([row[5] for row in rows], np.int64)
    return Prediction(np.zeros((*size, 3), np.uint8), boxes, scores, labels, classes={"detection": CLASSES})


def test_merging_by_hand():
    frames = np.array([[0, 0, 60, 100], [40, 0, 100, 100]])
    whole = prediction((100, 100), (10, 10, 90, 50, 0.6, 0))
    left = prediction(
        (100, 60), (10, 10, 60, 50, 0.9, 0), (20, 70, 30, 80, 0.8, 0)
    )  # a part, cut at x = 60; a small one
    right = prediction((100, 60), (0, 10, 50, 50, 0.9, 0), (0, 10, 20, 50, 0.7, 1), (20, 70, 30, 80, 0.5, 0))
    found = merge(whole, [left, right], frames, nms_iou=0.5)
    # The parts of the large one go, though they score more; another class stays; scores fall.
    assert found.scores == pytest.approx([0.8, 0.7, 0.6, 0.5])
    assert found.boxes[1].tolist() == [40, 10, 60, 50] and found.labels.tolist() == [0, 1, 0, 0]
    assert (
        len(merge(replace(whole).rows(np.zeros(0, int)), [left.rows(np.zeros(0, int))] * 2, frames, nms_iou=0.5)) == 0
    )


def test_settings_are_checked():
    with pytest.raises(UserError, match="size \\(=8\\)"):
        TileSettings(size=8)
    with pytest.raises(UserError, match="0…0.9, got 1"):
        TileSettings(overlap=1.0)
