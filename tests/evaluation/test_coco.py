"""COCO metrics against plain pycocotools, against an own small AP, and by hand."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effdet.evaluation import COCO_KEYS, coco_metrics
from heads.structures import UserError

BACKENDS = ("pycocotools", "hotcoco", "faster-coco-eval")


def numbers(metrics):
    return [metrics[key] for key in COCO_KEYS]


def plain_pycocotools(annotations, predictions):
    """The 12 numbers as a script of pycocotools' own documentation gives them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(annotations)
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(copy.deepcopy(predictions)), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats.tolist()


def truth_of(rows, *, images=(1,), categories=(1,)):
    """`rows`: (image_id, category_id, [x, y, w, h]) or with a dictionary of extra fields."""
    annotations = []
    for number, row in enumerate(rows, start=1):
        image, category, box, *extra = row
        fields = {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0}
        annotations.append(fields | {"area": box[2] * box[3]} | (extra[0] if extra else {}))
    return {
        "images": [{"id": image, "width": 640, "height": 480} for image in images],
        "categories": [{"id": category, "name": f"c{category}"} for category in categories],
        "annotations": annotations,
    }


def result(image, category, box, score):
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


# Few distinct places, sizes and scores, so that equal scores, equal boxes and IoUs on a threshold are common.
_places = st.sampled_from([0, 0, 5, 10, 10.5, 50, 300, -3])
_sides = st.sampled_from([0, 1, 10, 10, 20, 32, 33.3, 96, 97, 150, 1e4])
_boxes = st.tuples(_places, _places, _sides, _sides).map(list)
_scores = st.sampled_from([0.0, 0.1, 0.5, 0.5, 0.9, 1.0, 0.30000001, 1e-9])
_images, _categories = (3, 7, 8, 1000), (0, 2, 90)


@st.composite
def cases(draw):
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(_images),
                st.sampled_from(_categories),
                _boxes,
                st.fixed_dictionaries(
                    {"iscrowd": st.sampled_from([0, 0, 0, 1])},
                    optional={"area": st.sampled_from([0, 500.0, 1024, 9216, 9e9])},
                ),
            ),
            max_size=12,
        )
    )
    results = draw(
        st.lists(
            st.builds(result, st.sampled_from(_images), st.sampled_from(_categories), _boxes, _scores),
            min_size=1,
            max_size=20,
        )
    )
    return truth_of(rows, images=draw(st.permutations(_images)), categories=_categories), results


@settings(max_examples=120, deadline=None)
@given(case=cases())
def test_equals_pycocotools_whatever_the_input(case):
    annotations, predictions = case
    expected = plain_pycocotools(annotations, predictions)
    for backend in BACKENDS:
        found = coco_metrics(annotations, predictions, backend=backend)
        assert numbers(found) == pytest.approx(expected, abs=1e-6), backend


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_backends_agree_per_class_and_nothing_is_mutated(case):
    annotations, predictions = case
    before = copy.deepcopy(case)
    reference = coco_metrics(annotations, predictions)
    for backend in BACKENDS[1:]:
        other = coco_metrics(annotations, predictions, backend=backend)
        for name, row in reference["per_class"].items():
            assert other["per_class"][name] == pytest.approx(row, abs=1e-6), (backend, name)
    assert (annotations, predictions) == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_large_random_case(backend):
    rng = np.random.default_rng(0)
    images, categories = range(1, 31), range(1, 6)
    rows, results = [], []
    for image in images:
        for _ in range(rng.integers(0, 12)):
            box = [float(v) for v in (*rng.uniform(0, 300, 2), *rng.uniform(4, 200, 2))]
            category = int(rng.integers(1, 6))
            rows.append((image, category, box, {"iscrowd": int(rng.random() < 0.1)}))
            for _ in range(rng.integers(0, 4)):
                noisy = [float(v) for v in np.array(box) + rng.normal(0, 4, 4)]
                noisy[2:] = [max(1.0, v) for v in noisy[2:]]
                results.append(result(image, category, noisy, float(np.float32(rng.random()))))
    annotations = truth_of(rows, images=images, categories=categories)
    found = coco_metrics(annotations, results, backend=backend)
    assert numbers(found) == pytest.approx(plain_pycocotools(annotations, results), abs=1e-9)
    assert 0 < found["AP"] < 1


def own_ap(rows, results, threshold):
    """Average precision of one class at one IoU, written from the protocol: greedy by score, 101 recall points."""

    def iou(a, b):
        width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
        height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
        shared = max(width, 0) * max(height, 0)
        return shared / (a[2] * a[3] + b[2] * b[3] - shared)

    free = set(range(len(rows)))
    hits = []
    for found in sorted(results, key=lambda entry: -entry["score"]):
        overlaps = {i: iou(rows[i][2], found["bbox"]) for i in free if rows[i][0] == found["image_id"]}
        best = max(overlaps, key=lambda i: overlaps[i], default=-1)
        hits.append(best >= 0 and overlaps[best] >= threshold)
        free -= {best} if hits[-1] else set()
    points = []
    for level in range(101):
        reached = [
            sum(hits[: n + 1]) / (n + 1)
            for n in range(len(hits))
            if sum(hits[: n + 1]) / len(rows) >= level / 100 - 1e-12
        ]
        points.append(max(reached, default=0.0))
    return sum(points) / 101


@pytest.mark.parametrize("seed", range(5))
def test_equals_an_own_ap(seed):
    rng = np.random.default_rng(seed)
    rows = [
        (int(rng.integers(1, 4)), 1, [*rng.uniform(0, 80, 2).tolist(), *rng.uniform(10, 60, 2).tolist()])
        for _ in range(9)
    ]
    results = [
        result(image, 1, (np.array(box) + rng.normal(0, 3, 4)).tolist(), float(rng.random()))
        for image, _, box in rows
        for _ in (0, 1)
    ]
    found = coco_metrics(truth_of(rows, images=(1, 2, 3)), results)
    expected = [own_ap(rows, results, 0.5 + 0.05 * step) for step in range(10)]
    assert found["AP50"] == pytest.approx(expected[0], abs=1e-9)
    assert found["AP75"] == pytest.approx(expected[5], abs=1e-9)
    assert found["AP"] == pytest.approx(sum(expected) / 10, abs=1e-9)


def test_one_perfect_box_and_one_half_by_hand():
    annotations = truth_of([(1, 1, [0, 0, 10, 10]), (1, 2, [50, 50, 40, 40])], categories=(1, 2, 3))
    # Class 1 exact. Class 2: IoU = 24/40 = 0.6, so right at .50, .55 and .60 of ten thresholds.
    predictions = [result(1, 1, [0, 0, 10, 10], 0.9), result(1, 2, [50, 50, 40, 24], 0.8)]
    found = coco_metrics(annotations, predictions)
    assert found["AP"] == pytest.approx((1 + 0.3) / 2)
    assert found["AP50"] == pytest.approx(1)
    assert found["AP75"] == pytest.approx(0.5)
    assert (found["APs"], found["APm"], found["APl"]) == (pytest.approx(1), pytest.approx(0.3), -1)
    assert found["per_class"]["c1"] == pytest.approx({"AP": 1, "AP50": 1, "AR100": 1, "boxes": 1})
    assert found["per_class"]["c2"] == pytest.approx({"AP": 0.3, "AP50": 1, "AR100": 0.3, "boxes": 1})
    assert found["per_class"]["c3"] == {"AP": -1, "AP50": -1, "AR100": -1, "boxes": 0}


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_predictions_give_zeros(backend):
    annotations = truth_of([(1, 1, [0, 0, 10, 10]), (1, 1, [0, 0, 40, 40]), (2, 1, [0, 0, 200, 200])], images=(1, 2))
    found = coco_metrics(annotations, [], backend=backend)
    assert numbers(found) == [0.0] * 12
    assert found["per_class"]["c1"] == {"AP": 0, "AP50": 0, "AR100": 0, "boxes": 3}


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_truth_gives_minus_one(backend):
    annotations = truth_of([], images=(1, 2))
    assert numbers(coco_metrics(annotations, [], backend=backend)) == [-1.0] * 12
    assert numbers(coco_metrics(annotations, [result(1, 1, [0, 0, 5, 5], 0.5)], backend=backend)) == [-1.0] * 12
    assert (
        numbers(coco_metrics({"images": [], "annotations": [], "categories": []}, [], backend=backend)) == [-1.0] * 12
    )


def test_images_without_detections_count():
    rows = [(image, 1, [0, 0, 10, 10]) for image in (1, 2, 3, 4)]
    found = coco_metrics(truth_of(rows, images=(1, 2, 3, 4)), [result(1, 1, [0, 0, 10, 10], 0.9)])
    assert found["AR100"] == pytest.approx(0.25)
    assert found["AP"] == pytest.approx(26 / 101)  # recall points 0, .01 … .25


@pytest.mark.parametrize("backend", BACKENDS)
def test_annotation_id_zero_and_repeated_ids_count(backend):
    annotations = truth_of([(1, 1, [0, 0, 10, 10], {"id": 0}), (1, 1, [50, 0, 10, 10], {"id": 0})])
    predictions = [result(1, 1, [0, 0, 10, 10], 0.9), result(1, 1, [50, 0, 10, 10], 0.8)]
    assert coco_metrics(annotations, predictions, backend=backend)["AP"] == pytest.approx(1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_crowds_neither_count_nor_punish(backend):
    annotations = truth_of([(1, 1, [0, 0, 100, 100], {"iscrowd": 1}), (1, 1, [200, 200, 10, 10])])
    inside = [result(1, 1, [10 * n, 10, 9, 9], 0.9) for n in range(5)]  # all in the crowd
    found = coco_metrics(annotations, [*inside, result(1, 1, [200, 200, 10, 10], 0.1)], backend=backend)
    assert found["AP"] == pytest.approx(1)
    assert found["per_class"]["c1"]["boxes"] == 1


def test_missing_area_crowd_and_text_ids():
    annotations = {
        "images": [{"id": "b"}, {"id": "a"}],
        "categories": [{"id": 5}, {"id": 1, "name": "x"}, {"id": 2, "name": "x"}],
        "annotations": [{"image_id": "a", "category_id": 5, "bbox": [0, 0, 20, 20]}],
    }
    for backend in BACKENDS:
        found = coco_metrics(annotations, [result("a", 5, [0, 0, 20, 20], 1)], backend=backend)
        assert (found["AP"], found["APs"], found["APm"]) == (pytest.approx(1), pytest.approx(1), -1)
        assert list(found["per_class"]) == ["x (1)", "x (2)", "5"]


def test_scalars_as_text_mean_what_they_mean_in_every_reader():
    """One box found, one missed: AP .5049… by 51 of 101 recall points; ``bool("0")`` would make both crowds, AP -1."""
    annotations = {
        "images": [{"id": "7"}],
        "categories": [{"id": "1", "name": "x"}],
        "annotations": [
            {"id": "1", "image_id": "7", "category_id": "1", "bbox": ["0", "0", "20", "20"], "iscrowd": "0"},
            {"id": "2", "image_id": 7.0, "category_id": 1, "bbox": [50, 50, 20, 20], "iscrowd": "false"},
            {"id": "3", "image_id": 7, "category_id": 1, "bbox": [90, 90, 20, 20], "iscrowd": "1"},
            {"id": "4", "image_id": 7, "category_id": 1, "bbox": [130, 90, 20, 20], "iscrowd": np.int64(1)},
        ],
    }
    found = coco_metrics(annotations, [result(7, 1, [0, 0, 20, 20], 1), result("7", "1", [90, 90, 20, 20], 0.9)])
    assert found["AP"] == pytest.approx(51 / 101)
    assert found["per_class"]["x"]["boxes"] == 2


def test_ids_that_differ_as_text_alone_stay_apart():
    annotations = {
        "images": [{"id": "7"}, {"id": "007"}],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [
            {"id": n, "image_id": own, "category_id": 1, "bbox": [0, 0, 9, 9]} for n, own in ((1, "7"), (2, "007"))
        ],
    }
    assert coco_metrics(annotations, [result("007", 1, [0, 0, 9, 9], 1)])["AR1"] == pytest.approx(0.5)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_in_the_encodings_of_every_reader(encoding, tmp_path):
    (tmp_path / "gt.json").write_text(json.dumps(truth_of([(1, 1, [0, 0, 10, 10])])), encoding=encoding)
    (tmp_path / "dt.json").write_text(json.dumps([result(1, 1, [0, 0, 10, 10], 1)]), encoding=encoding)
    assert coco_metrics(tmp_path / "gt.json", tmp_path / "dt.json")["AP"] == pytest.approx(1)


def test_at_most_100_detections_of_a_class_and_image_count():
    annotations = truth_of([(1, 1, [0, 0, 10, 10])])
    noise = [result(1, 1, [300, 300, 5, 5], 0.5 + n / 1000) for n in range(100)]
    assert coco_metrics(annotations, [*noise, result(1, 1, [0, 0, 10, 10], 0.1)])["AP"] == 0
    assert coco_metrics(annotations, [*noise[1:], result(1, 1, [0, 0, 10, 10], 0.1)])["AP"] == pytest.approx(0.01)


def test_paths_and_quiet(tmp_path, capfd):
    annotations, predictions = truth_of([(1, 1, [0, 0, 10, 10])]), [result(1, 1, [0, 0, 10, 10], 1)]
    (tmp_path / "gt.json").write_text(json.dumps(annotations))
    (tmp_path / "dt.json").write_text(json.dumps({"images": [], "annotations": predictions}))
    for backend in BACKENDS:
        found = coco_metrics(tmp_path / "gt.json", str(tmp_path / "dt.json"), backend=backend)
        assert found["AP"] == pytest.approx(1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"image_id": 99}, r"predictions\[0\] has image_id 99, which is not among the 1 images"),
        ({"bbox": [0, 0, -1, 5]}, "negative width or height"),
        ({"bbox": [0, math.nan, 1, 5]}, "must be finite"),
        ({"bbox": [0, math.inf, 1, 5]}, "must be finite"),
        ({"bbox": [0, 1, 5]}, r"bbox must be \[x, y, width, height\]"),
        ({"bbox": None}, r"bbox must be \[x, y, width, height\]"),
        ({"score": math.nan}, "score must be a finite number, got nan"),
        ({"score": None}, "score must be a finite number, got None"),
        ({"category_id": 77}, "no prediction has a category of the annotations: predicted 77, known 1"),
    ],
)
def test_bad_predictions_are_named(change, text):
    with pytest.raises(UserError, match=text):
        coco_metrics(truth_of([(1, 1, [0, 0, 5, 5])]), [result(1, 1, [0, 0, 5, 5], 1) | change])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"bbox": [0, 0, -1, 5]}, r"annotations\[0\] \(id 1\): bbox .* negative width"),
        ({"bbox": [0, 0, math.inf, 5]}, "must be finite"),
        ({"area": math.nan}, "area must be a finite number"),
    ],
)
def test_bad_truth_is_named(change, text):
    annotations = truth_of([(1, 1, [0, 0, 5, 5])])
    annotations["annotations"][0] |= change
    with pytest.raises(UserError, match=text):
        coco_metrics(annotations, [])


def test_bad_arguments(tmp_path):
    annotations = truth_of([(1, 1, [0, 0, 5, 5])])
    with pytest.raises(UserError, match="there is no file"):
        coco_metrics(tmp_path / "none.json", [])
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"predictions: .*broken.json: not JSON"):
        coco_metrics(annotations, tmp_path / "broken.json")
    with pytest.raises(UserError, match="backend must be one of pycocotools, hotcoco, faster-coco-eval, got 'coco'"):
        coco_metrics(annotations, [], backend="coco")
    with pytest.raises(UserError, match="'images' is missing"):
        coco_metrics({"annotations": [], "categories": []}, [])
    with pytest.raises(UserError, match="predictions must be a list"):
        coco_metrics(annotations, {"boxes": []})


def test_some_unknown_categories_are_counted_in_a_warning():
    annotations = truth_of([(1, 1, [0, 0, 5, 5])])
    with pytest.warns(UserWarning, match=r"2 predictions have unknown category ids \(8, 9\)"):
        found = coco_metrics(
            annotations, [result(1, 9, [0, 0, 1, 1], 1), result(1, 8, [0, 0, 1, 1], 1), result(1, 1, [0, 0, 5, 5], 0.5)]
        )
    assert found["AP"] == pytest.approx(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coco_metrics(annotations, [result(1, 1, [0, 0, 5, 5], 0.5)])


@pytest.mark.data
@pytest.mark.parametrize("backend", BACKENDS)
def test_published_lite0_predictions(data_root, backend):
    """The runtime's own answers; the numbers stand in the sample's notes."""
    found = coco_metrics(
        data_root / "coco/annotations/instances_val2017.json",
        data_root / "reference/efficientdet-lite0-val206.json",
        backend=backend,
    )
    assert [round(found[key], 4) for key in ("AP", "AP50", "AP75")] == [0.2614, 0.4282, 0.2649]
