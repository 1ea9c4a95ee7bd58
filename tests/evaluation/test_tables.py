import io
import math

import pytest
from rich.console import Console

from effdet.evaluation import COCO_KEYS, classification_metrics, print_metrics, segmentation_metrics
from effdet.evaluation.tables import number


def text_of(metrics, width=100):
    console = Console(file=(out := io.StringIO()), width=width)
    print_metrics(metrics, console=console)
    return out.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (0.0, "0.000"), (1.0, "1.000"), (-1.0, "–"), (math.nan, "–"), (None, "–")]
)
def test_numbers(value, text):
    assert number(value) == text


def test_boxes():
    metrics = {key: index / 100 for index, key in enumerate(COCO_KEYS)}
    metrics |= {"APl": -1.0, "per_class": {"car": {"AP": 0.5, "AP50": 0.75, "AR100": 0.6, "boxes": 1234}}}
    text = text_of(metrics, width=80)
    for part in (*COCO_KEYS, "0.110", "–", "car", "1,234", "0.750"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80


def test_classes_that_no_image_shows_are_counted_only():
    row = {"AP": -1.0, "AP50": -1.0, "AR100": -1.0, "boxes": 0}
    metrics = dict.fromkeys(COCO_KEYS, 0.5) | {"per_class": {"car": row | {"boxes": 3}, "bus": row, "train": row}}
    text = text_of(metrics, width=80)
    assert "car" in text and "2 more" in text and "bus" not in text and "train" not in text


def test_maps_and_images():
    import numpy as np

    text = text_of(segmentation_metrics(np.array([[3, 0], [1, 0]]), ["road", "sky"], categories={"flat": ["road"]}))
    assert "75.00 %" in text and "mIoU" in text and "0.750" in text and "categories" in text
    text = text_of(classification_metrics(np.array([0, 7]), np.array([0, 1]), ["cat", "dog"]))
    assert "top-1" in text and "0.500" in text and "dog" in text


def test_nothing_to_show():
    assert text_of({}).strip() == ""


def test_metrics_of_an_evaluator_of_the_users_own():
    text = text_of({"share_fit": 0.8754, "images": ["a"]})
    assert "share_fit" in text and "0.875" in text and "images" not in text
