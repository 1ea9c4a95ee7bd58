"""IoU, category IoU and iIoU against the official Cityscapes evaluator, on random and on nasty label maps."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from effdet.evaluation import confusion_matrix, segmentation_metrics
from effdet.evaluation.segmentation import AVERAGE_PIXELS, ObjectCounter, instance_ious

NAMES = (
    *(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
    ),
    *("sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
IDS = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33])
VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
"""Ids that are ignored; the last two have objects all the same."""
TRAIN_ID = np.full(34, 255)
TRAIN_ID[IDS] = np.arange(19)


def ours(truth: np.ndarray, instances: np.ndarray, predicted: np.ndarray) -> dict:
    """Metrics of images (P, H, W) in ids."""
    counter, confusion, objects = ObjectCounter(NAMES), np.zeros((19, 20), np.int64), np.zeros((19, 4))
    for ids, values, guess in zip(truth, instances, predicted, strict=True):
        labels = np.where(TRAIN_ID[guess] < 19, TRAIN_ID[guess], 19)
        confusion += confusion_matrix(TRAIN_ID[ids], labels, 19)
        things = TRAIN_ID[values // 1000 % 34]
        single = (values > 1000) & (things < 19)
        objects += counter(np.where(single, 1000 * (things + 1) + values % 1000, 0), labels)
    return segmentation_metrics(confusion, NAMES, objects=objects)


def official(directory: Path, truth: np.ndarray, instances: np.ndarray, predicted: np.ndarray) -> dict:
    """What ``csEvalPixelLevelSemanticLabeling`` says of the same images as files."""
    evaluator = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    if not hasattr(np, "in1d"):  # numpy 2.4 has taken the name away that the evaluator calls
        np.in1d = np.isin
    pairs = []
    for index, (ids, values, guess) in enumerate(zip(truth, instances, predicted, strict=True)):
        stem = directory / f"x_000000_{index:06}"
        Image.fromarray(ids.astype(np.uint8)).save(f"{stem}_gtFine_labelIds.png")
        Image.fromarray(values.astype(np.uint16)).save(f"{stem}_gtFine_instanceIds.png")
        Image.fromarray(guess.astype(np.uint8)).save(f"{stem}_pred.png")
        pairs.append((f"{stem}_pred.png", f"{stem}_gtFine_labelIds.png"))
    args = evaluator.args
    args.quiet, args.JSONOutput = True, False
    return evaluator.evaluateImgLists([guess for guess, _ in pairs], [ids for _, ids in pairs], args)


def compare(found: dict, expected: dict) -> None:
    means = {
        "mIoU": "averageScoreClasses",
        "miIoU": "averageScoreInstClasses",
        "category_mIoU": "averageScoreCategories",
        "category_miIoU": "averageScoreInstCategories",
    }
    tables = {
        "IoU": "classScores",
        "iIoU": "classInstScores",
        "category_IoU": "categoryScores",
        "category_iIoU": "categoryInstScores",
    }
    for name, other in means.items():
        assert found[name] == pytest.approx(expected[other], abs=1e-6, nan_ok=True), name
    for name, other in tables.items():
        for key, value in found[name].items():
            assert value == pytest.approx(expected[other][key], abs=1e-6, nan_ok=True), (name, key)
        left = {key for key, value in expected[other].items() if not math.isnan(value)} - set(found[name])
        assert not left, f"{name} lacks {left}"


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, objects and prediction, (P, H, W) ids: few ids at a time, so that classes are missing here and there.

    Objects lie where the truth says (groups among them), or anywhere; predictions are noise, the truth, or the truth with
    noise, and hold ignored ids too (but for caravan and trailer, which a model of 19 classes cannot say).
    """
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    some = st.lists(st.sampled_from([*IDS.tolist(), *VOID]), min_size=1, max_size=6)
    truth = rng.choice(draw(some), shape)
    numbers = rng.integers(0, draw(st.integers(1, 4)), shape)
    things = (truth >= 24) & (rng.random(shape) < draw(st.sampled_from([0.0, 0.7, 1.0])))
    instances = np.where(things, 1000 * truth + numbers, truth)
    if draw(st.booleans()):  # an object map that disagrees with the label map
        instances = rng.permuted(instances, axis=2)
    said = [value for value in draw(some) if value not in (29, 30)] or [0]
    noise = rng.choice(said, shape)
    kept = rng.random(shape) < draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    predicted = np.where(kept & (truth != 29) & (truth != 30), truth, noise)
    return truth, instances, predicted


@pytest.mark.peer
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(images())
def test_equals_the_official_evaluator(tmp_path, sample):
    compare(ours(*sample), official(tmp_path, *sample))


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["right", "wrong", "void", "groups", "one class", "ignored objects"])
def test_nasty_maps(tmp_path, kind):
    rng = np.random.default_rng(1)
    truth = rng.choice(IDS, (2, 16, 20))
    instances = np.where(truth >= 24, truth * 1000 + rng.integers(0, 5, truth.shape), truth)
    predicted = truth.copy()
    if kind == "wrong":
        predicted = np.where(truth == 7, 8, 7)
    elif kind == "void":
        truth[:], instances[:] = 0, 0
    elif kind == "groups":
        instances = truth
    elif kind == "one class":
        truth[:], instances[:] = 26, 26000
        predicted = rng.choice([26, 27, 0], truth.shape)
    elif kind == "ignored objects":
        truth[0], instances[0], predicted[0] = 29, 29001, 26
    compare(ours(truth, instances, predicted), official(tmp_path, truth, instances, predicted))


@pytest.mark.data
@pytest.mark.peer
def test_the_official_sample(tmp_path, data_root):
    stem = data_root / "cityscapes/gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_"
    truth = np.array(Image.open(f"{stem}labelIds.png"))[None].astype(int)
    instances = np.array(Image.open(f"{stem}instanceIds.png"))[None].astype(int)
    predicted = np.roll(truth, 3, axis=2)
    predicted[np.isin(predicted, (29, 30))] = 0
    compare(ours(truth, instances, predicted), official(tmp_path, truth, instances, predicted))


def test_worked_out_by_hand():
    """A car of 4 pixels, 3 of them found, and one of 1 pixel, taken for a truck; 2 road pixels taken for a car."""
    car, truck, road = NAMES.index("car"), NAMES.index("truck"), NAMES.index("road")
    first, second = 1000 * (car + 1), 1000 * (car + 1) + 7
    instances = np.array([[first, first, first, first, second, 0, 0, 0]])
    truth = np.array([[car] * 5 + [road] * 3])
    predicted = np.array([[car, car, car, road, truck, car, car, road]])
    objects = ObjectCounter(NAMES)(instances, predicted)
    average = AVERAGE_PIXELS["car"]
    assert objects[car] == pytest.approx([average * 3 / 4, average * (1 / 4 + 1), average * (3 / 4 + 1), average / 4])
    classes, categories = instance_ious(confusion_matrix(truth, predicted, 19), objects, NAMES)
    assert classes["car"] == pytest.approx(0.75 * average / (2 * average + 2))
    assert categories["vehicle"] == pytest.approx(1.75 * average / (2 * average + 2))
    assert math.isnan(categories["human"])


def test_no_objects_and_other_classes():
    none = ObjectCounter(["road", "car"])(np.zeros((2, 2), np.int32), np.zeros((2, 2), np.int64))
    assert none.tolist() == [[0] * 4] * 2
    classes, categories = instance_ious(np.eye(2, 3), none, ["road", "car"])
    assert math.isnan(classes["car"])
    assert categories == {}
    assert "iIoU" not in segmentation_metrics(np.eye(2, dtype=int), ["road", "car"])
