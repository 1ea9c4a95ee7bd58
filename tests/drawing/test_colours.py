import itertools

import numpy as np
import pytest

from effdet.drawing import class_colours
from effdet.drawing.colours import CITYSCAPES, contrast, ink, lifted, luminance, spread


def test_cityscapes_names_get_their_colours_in_any_spelling():
    assert class_colours(["road", "Traffic_Light", "car"]) == [(128, 64, 128), (250, 170, 30), (0, 0, 142)]
    assert class_colours(["Pavement", "Pedestrian"]) == [CITYSCAPES["sidewalk"], CITYSCAPES["person"]]


def test_a_set_that_shares_few_names_keeps_one_style():
    assert class_colours(["car", "fork", "spoon"]) == [spread(0), spread(1), spread(2)]


def test_colours_are_stable_and_unnamed_classes_have_one():
    names = [f"n{index}" for index in range(90)]
    assert class_colours(names)[:20] == class_colours(names[:20])
    assert len(class_colours([None, "a"])) == 2
    assert class_colours([]) == []


@pytest.mark.parametrize(("count", "least"), [(8, 50), (20, 30)])
def test_colours_are_apart(count, least):
    colours = np.array([spread(index) for index in range(count)], float)
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)) > least


def test_text_is_legible_on_every_colour():
    for colour in [*(spread(index) for index in range(100)), *CITYSCAPES.values()]:
        assert contrast(ink(colour), colour) >= 4.4


def test_luminance_and_contrast_by_definition():
    assert luminance((0, 0, 0)) == 0 and luminance((255, 255, 255)) == pytest.approx(1)
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert luminance((0, 255, 0)) == pytest.approx(0.7152)


def test_dark_colours_are_lifted_and_bright_ones_left():
    assert luminance(lifted((0, 0, 70))) >= 0.1
    assert lifted((250, 170, 30)) == (250, 170, 30)
