import numpy as np
import pytest
import torch
from PIL import Image

from effdet.drawing import draw, with_heat
from effdet.drawing.draw import STOPS
from effdet.drawing.labels import measure, place
from effdet.drawing.style import Style
from heads.structures import UserError

NAMES = ["car", "person"]


def grey(width=200, height=120):
    return Image.new("RGB", (width, height), (90, 90, 90))


def changed(image, original):
    return np.abs(np.asarray(image, int) - np.asarray(original, int)).sum(2) > 0


@pytest.mark.parametrize("size", [(200, 120), (640, 480), (3840, 2160), (1, 1), (7, 300)])
def test_size_stays_and_the_argument_is_left_alone(size):
    image = grey(*size)
    before = image.copy()
    found = draw(image, [[0, 0, size[0], size[1]]], [0], [0.9], NAMES)
    assert found.size == size and found.mode == "RGB"
    assert changed(found, image).any()
    assert image == before


def test_lines_and_letters_grow_with_the_image():
    small, large = Style.fitting(200, 150), Style.fitting(3840, 2160)
    assert (small.line, small.font) == (1, 10)
    assert large.line >= 6 and large.font >= 36


def test_the_box_is_where_it_should_be():
    found = changed(draw(grey(), [[50, 40, 150, 100]]), grey())  # without labels: no plate
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    assert abs(columns[0] - 50) <= 2 and abs(columns[-1] - 150) <= 2
    assert abs(rows[0] - 40) <= 2 and abs(rows[-1] - 100) <= 2
    assert not found[60:80, 70:130].any()


@pytest.mark.parametrize(
    "box",
    [
        [0, 0, 200, 120],
        [-50, -50, 20, 20],
        [190, 110, 400, 400],
        [100, 60, 100, 60],
        [500, 500, 600, 600],
        [20, 10, 5, 2],
    ],
)
def test_odd_boxes(box):
    assert draw(grey(), [box], [1], [0.5], NAMES).size == (200, 120)


def test_all_kinds_of_input():
    boxes, labels, scores = [[10, 10, 60, 60]], [1], [0.5]
    reference = draw(grey(), boxes, labels, scores, NAMES)
    arrays = draw(np.asarray(grey()), np.array(boxes, np.float32), np.array(labels), np.array(scores), NAMES)
    tensors = draw(
        grey(), torch.tensor(boxes), torch.tensor(labels), torch.tensor(scores, dtype=torch.bfloat16).float(), NAMES
    )
    assert reference == arrays == tensors
    assert draw(Image.new("L", (50, 50)), boxes).mode == "RGB"
    assert draw(Image.new("RGBA", (50, 50)), boxes).mode == "RGB"
    assert draw(np.zeros((50, 50), np.uint8), boxes).size == (50, 50)


def test_nothing_to_draw():
    for empty in (None, [], np.zeros((0, 4)), torch.zeros(0, 4)):
        assert draw(grey(), empty, None if empty is None else [], None, NAMES) == grey()
    assert draw(grey(), [[1, 2, 30, 40]], [-1], [0.0], NAMES) == grey()  # a padding row


def test_classes_past_the_names_and_without_a_name():
    draw(grey(), [[10, 10, 90, 90]] * 2, [0, 7], None, [None])
    draw(grey(), [[10, 10, 90, 90]], [3])


def test_higher_scores_lie_on_top():
    boxes = [[50, 40, 150, 100]] * 2
    red, blue = (250, 0, 0), (0, 60, 250)
    for scores, top in (([0.9, 0.2], red), ([0.2, 0.9], blue)):
        found = np.asarray(draw(grey(), boxes, [0, 1], scores, palette=[red, blue]))
        assert (found == top).all(2).any()
        line = found[98:102, 80:120].reshape(-1, 3)  # the lower edge, far from the label
        wrong = blue if top is red else red
        assert not (line == wrong).all(1).any()


def test_labels_lie_inside_and_not_on_each_other():
    rng = np.random.default_rng(0)
    for size in ((200, 120), (640, 480)):
        style = Style.fitting(*size)
        boxes = [(x, y, x + w, y + h) for x, y, w, h in rng.uniform(0, 1, (40, 4)) * [size[0], size[1], 60, 60]]
        labels = place(boxes, [("traffic light 0.95", "traffic light")] * 40, range(40), size, style)
        assert labels and labels[0].box == 0
        areas = np.array([label.area for label in labels])
        assert (areas[:, :2] >= 0).all() and (areas[:, 2] <= size[0]).all() and (areas[:, 3] <= size[1]).all()
        for index, a in enumerate(areas):
            for b in areas[index + 1 :]:
                width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                shared = max(0, width) * max(0, height)
                assert shared <= 0.05 * min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
        covered = ((areas[:, 2] - areas[:, 0]) * (areas[:, 3] - areas[:, 1])).sum()
        assert covered < 0.2 * size[0] * size[1]


def test_a_name_wider_than_the_image_is_shortened():
    style = Style.fitting(60, 60)
    (label,) = place([(5, 30, 50, 55)], [("an exceedingly long class name",)], [0], (60, 60), style)
    assert label.text.endswith("…") and measure(label.text, style)[0] <= 60


def test_segmentation_map_is_blended_and_255_left_clear():
    classes = np.full((120, 200), 255, np.uint8)
    classes[:, 100:] = 1
    found = np.asarray(draw(grey(), semantic=classes, semantic_palette=[(0, 0, 0), (250, 10, 10)], alpha=0.5))
    assert (found[:, :95] == 90).all()
    assert found[60, 150].tolist() == [170, 50, 50]


def test_legend_makes_the_image_taller_and_names_what_is_there():
    classes = np.zeros((120, 200), np.uint8)
    plain = draw(grey(), [[10, 20, 60, 60]], [1], None, NAMES, semantic=classes, semantic_names=["road", "sky"])
    found = draw(
        grey(), [[10, 20, 60, 60]], [1], None, NAMES, semantic=classes, semantic_names=["road", "sky"], legend=True
    )
    assert plain.size == (200, 120) and found.width == 200 and found.height > 130
    assert found.crop((0, 0, 200, 120)) == plain
    assert draw(grey(), legend=True).size == (200, 120)  # nothing to explain


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: draw(np.zeros((4, 4, 3))), r"image must be a PIL image or \(H, W, 3\) uint8 RGB, got float64"),
        (lambda: draw(grey(), [[0, 0, 1, 1]], [0, 1]), "there are 1 boxes, 2 labels and no scores"),
        (lambda: draw(grey(), [[0, 0, 1, 1]], [0], [1, 2]), "1 boxes, 1 labels and 2 scores"),
        (lambda: draw(grey(), semantic=np.zeros((2, 2), int)), r"semantic must be \(120, 200\) like the image"),
        (lambda: draw(grey(), semantic=np.zeros((120, 200), int), alpha=2), "alpha=2 must lie in 0…1"),
    ],
)
def test_errors(call, text):
    with pytest.raises(UserError, match=text):
        call()


def test_hot_is_light_and_cold_is_the_darkened_image():
    image = np.full((2, 3, 3), 100, np.uint8)
    heat = np.array([[0, 0.5, 1], [-1, 2, np.nan]])
    drawn = np.asarray(with_heat(image, heat, alpha=1.0)).astype(int)
    assert drawn[0, 2].tolist() == STOPS[-1].astype(int).tolist()  # all covered where it is hottest
    assert drawn[0, 0].tolist() == [65, 65, 66]  # 35 % of the coldest colour
    assert (
        (drawn[1, 0] == drawn[0, 0]).all() and (drawn[1, 1] == drawn[0, 2]).all() and (drawn[1, 2] == drawn[0, 0]).all()
    )


def test_alpha_zero_leaves_the_image_and_sizes_must_agree():
    image = np.random.default_rng(0).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    assert (np.asarray(with_heat(image, np.ones((4, 5)), alpha=0)) == image).all()
    with pytest.raises(UserError, match=r"\(5, 4\) and the image \(4, 5\)"):
        with_heat(image, np.ones((5, 4)))
