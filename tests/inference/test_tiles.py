"""Tiles: where they lie, how finds are merged, and that they find what the whole image is too coarse for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import find_objects, label

from effdet.evaluation import coco_metrics
from effdet.inference import Prediction, Predictor, TiledPredictor, TileSettings
from effdet.inference.tiles import merge, tile_frames
from effdet.model import build, spec_for
from heads.structures import ClassTable, Detections, UserError
from tests.evaluation_fakes import FakeHead, FakeModel

CLASSES = ClassTable.of(["square"])


class BlobHead(FakeHead):
    """Boxes round all white patches of its input: an honest detector, blind to what is smaller than a pixel there."""

    def predict(self, output, context):
        found = []
        for image in (output.float().mean(1) > 0.5).cpu().numpy():
            places = find_objects(label(image)[0])
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


def large_image():
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
    image, boxes = large_image()
    whole = average_precision(predictor(image), boxes)
    tiled = average_precision(TiledPredictor(predictor, TileSettings(overlap=0.25))(image), boxes)
    assert whole["APs"] < 0.1 and tiled["APs"] > 0.95
    assert tiled["ARl"] >= whole["ARl"] > 0.7
    assert len(TiledPredictor(predictor)(image)) == len(boxes)  # each once, though seen in several tiles


def test_a_small_image_is_seen_as_ever(predictor):
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:40] = 255
    assert (TiledPredictor(predictor)(image).boxes == predictor(image).boxes).all()


def test_streams_lists_paths_and_unreadable_images(predictor, tmp_path):
    image, _ = large_image()
    Image.fromarray(image).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    tiled, reported = TiledPredictor(predictor), []
    found = list(
        tiled.stream([tmp_path / "b.png", tmp_path / "a.png"], unreadable=lambda p, e: reported.append(str(e)))
    )
    assert [p.path for p in found] == [str(tmp_path / "a.png")] and "b.png" in reported[0]
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


def seen_by_tiles(objects, frames, size):
    """What an honest detector sees: each object's box, clipped to each tile in which at least 8 pixels of it lie."""
    parts = []
    for x1, y1, x2, y2 in frames.tolist():
        rows = []
        for left, top, right, bottom, score_threshold, kind in objects:
            low, high = (max(left, x1), max(top, y1)), (min(right, x2), min(bottom, y2))
            if min(high[0] - low[0], high[1] - low[1]) >= 8:
                rows.append((low[0] - x1, low[1] - y1, high[0] - x1, high[1] - y1, score_threshold, kind))
        parts.append(prediction((y2 - y1, x2 - x1), *rows))
    return parts


LARGE, NEAR, TINY = (10, 100, 1100, 500, 0.9, 0), (300, 150, 360, 210, 0.5, 0), (20, 20, 30, 30, 0.4, 0)
CASES = {
    # name: objects in the image, of them those that the whole image shows too, and boxes that must be left
    "cut by one edge, seen whole by the whole image": ([(100, 100, 700, 300, 0.9, 0)], [0], 1),
    "cut by two edges": ([(400, 400, 900, 900, 0.9, 0)], [0], 1),
    "seen in three tiles, by the whole image too": ([(10, 100, 1900, 300, 0.9, 0)], [0], 1),
    "seen in three tiles, not by the whole image": ([(10, 100, 1900, 300, 0.9, 0)], [], 3),
    "larger than any tile, with a small one before it": ([(10, 10, 1900, 1100, 0.6, 0), NEAR], [0], 2),
    "cut, with a small one of its class before it": ([LARGE, NEAR], [], 3),
    "the same, the small one more likely": ([(*LARGE[:4], 0.3, 0), (*NEAR[:4], 0.95, 0)], [], 3),
    "the same, of two classes": ([LARGE, (*NEAR[:4], 0.5, 1)], [], 3),
    "two small ones before a cut one": ([LARGE, NEAR, TINY, (650, 300, 690, 340, 0.7, 0)], [0], 4),
}


@pytest.mark.parametrize("name", CASES)
def test_configurations_of_tiles(name):
    """1152 x 1920 in tiles of 640, which overlap by 128 and by 0."""
    objects, shown, left = CASES[name]
    frames = tile_frames(1152, 1920, (640, 640), 0.0)
    assert len(frames) == 6 and frames[3].tolist() == [0, 512, 640, 1152]
    whole = prediction((1152, 1920), *(objects[index] for index in shown))
    merged = merge(whole, seen_by_tiles(objects, frames, (1152, 1920)), frames, nms_iou=0.5)
    assert len(merged) == left
    for small in (box for box in objects if box[2] - box[0] < 100):  # what lies in one tile stays as it is
        assert list(small[:4]) in merged.boxes.tolist()


def share_of(first, second):
    """The share of `first`'s area that lies in `second`, in plain Python."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    area = (first[2] - first[0]) * (first[3] - first[1])
    return max(width, 0) * max(height, 0) / area


@pytest.mark.parametrize("seed", range(20))
def test_a_box_goes_only_where_a_kept_one_holds_most_of_it(seed):
    rng = np.random.default_rng(seed)
    frames = tile_frames(300, 400, (160, 160), 0.2)

    def random(height, width, count):
        low = rng.uniform(0, (width - 8, height - 8), (count, 2))
        high = np.minimum(
            low + rng.choice([15, 60, 250], (count, 1)) * rng.uniform(0.5, 1, (count, 2)), (width, height)
        )
        rows = np.concatenate([low, high], 1).round()
        return prediction((height, width), *((*row, rng.uniform(), rng.integers(2)) for row in rows.tolist()))

    whole = random(300, 400, 8)
    parts = [random(y2 - y1, x2 - x1, 8) for x1, y1, x2, y2 in frames.tolist()]
    merged = merge(whole, parts, frames, nms_iou=0.5)
    kept = [(*box, label) for box, label in zip(merged.boxes.tolist(), merged.labels.tolist(), strict=True)]
    every = [(*box, label) for box, label in zip(whole.boxes.tolist(), whole.labels.tolist(), strict=True)]
    cut = []
    for part, (x1, y1, x2, y2) in zip(parts, frames.tolist(), strict=True):
        moved = part.boxes + np.array([x1, y1, x1, y1], np.float32)
        for box, kind in zip(moved.tolist(), part.labels.tolist(), strict=True):
            inner = ((x1, x1 > 0), (y1, y1 > 0), (x2, x2 < 400), (y2, y2 < 300))
            if any(side and abs(value - edge) < 2 for value, (edge, side) in zip(box, inner, strict=True)):
                cut.append((*box, kind))
        every += [(*box, kind) for box, kind in zip(moved.tolist(), part.labels.tolist(), strict=True)]
    assert len(kept) < len(every)
    for box in every:
        held = max((share_of(box, other) for other in kept if other[4] == box[4] and other != box), default=0)
        assert box in kept or held > 0.5
        assert not (box in kept and box in cut and held > 0.5), "a part that a kept box holds goes"


@pytest.mark.parametrize("most", [1, 5, 24])
def test_max_detections_holds_with_tiles(most):
    """The best of all that is left after merging, whatever a tile has of its own: parts go before they are counted."""
    torch.manual_seed(0)
    model = build(spec_for(task="detection", phi=-4, num_classes=3, image_size=64)).eval()
    image = np.random.default_rng(0).integers(0, 256, (200, 260, 3), dtype=np.uint8)

    def tiled(**options):
        return TiledPredictor(Predictor(model, score_threshold=0.001, nms_iou=0.4, **options))(image)

    every, found = tiled(max_detections=100_000), tiled(max_detections=most)
    assert len(every) > 120 and len(found) == most
    assert (found.scores == every.scores[:most]).all() and (found.boxes == every.boxes[:most]).all()
    assert len(tiled()) == 100, "the model's own"
    assert len(tiled(max_detections=120)) == 120
    assert len(TiledPredictor(Predictor(model, score_threshold=0.001), max_detections=7)(image)) == 7


def test_settings_are_checked():
    with pytest.raises(UserError, match="size \\(=8\\)"):
        TileSettings(size=8)
    with pytest.raises(UserError, match="0…0.9, got 1"):
        TileSettings(overlap=1.0)
