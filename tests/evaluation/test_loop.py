import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from effdet.evaluation import (
    ClassificationEvaluator,
    DetectionEvaluator,
    EvalBatch,
    ModelPredictFn,
    SemanticEvaluator,
    coco_metrics,
    evaluate,
    join,
    same_classes,
)
from heads.structures import ClassTable, Detections, Geometry, UserError
from tests.evaluation_fakes import CLASSES, FakeModel, FakeRecord, FakeSet
from tests.processes import on_ranks

EXACT = same_classes(CLASSES)


def all_evaluators(data):
    return {
        "detection": DetectionEvaluator(data.coco(), EXACT),
        "semantic": SemanticEvaluator(EXACT),
        "classification": ClassificationEvaluator(EXACT),
    }


def run(data, evaluators=None, model=None, **options):
    options = {"batch_size": 3, "progress": False} | options
    return evaluate(
        ModelPredictFn(model or FakeModel()), data, evaluators=evaluators or all_evaluators(data), **options
    )


def test_all_heads_in_one_pass():
    """The model calls everything a car: with equal scores, every second detection in image order is right."""
    found = run(FakeSet(7))
    assert found.images == 7 and found.seconds > 0 and found.images_per_second > 0
    best_precision_at_101_recalls = (26 * 1 + 25 * 2 / 3 + 25 * 3 / 5 + 25 * 4 / 7) / 101
    assert found.metrics["per_class"]["car"]["AP50"] == pytest.approx(best_precision_at_101_recalls)
    assert found.metrics["per_class"]["person"]["AP"] == 0
    assert found.metrics["mIoU"] > 0.9
    assert found.metrics["top1"] == pytest.approx(4 / 7)
    assert [entry["image_id"] for entry in found.predictions] == list(range(100, 107))
    assert {entry["category_id"] for entry in found.predictions} == {3}
    again = coco_metrics(FakeSet(7).coco(), found.predictions)
    assert again == {key: found.metrics[key] for key in again}


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (2, 0), (100, 0), (2, 2)])
def test_batches_and_workers_change_nothing(batch_size, workers):
    reference = run(FakeSet(5))
    found = run(FakeSet(5), batch_size=batch_size, workers=workers)
    assert found.metrics == reference.metrics and found.predictions == reference.predictions


def test_max_images_evaluates_the_first_images_against_their_truth_alone():
    found = run(FakeSet(9), max_images=2)
    assert found.images == 2
    assert found.metrics["per_class"]["car"]["boxes"] == 1
    assert found.metrics == run(FakeSet(2)).metrics
    assert run(FakeSet(3), max_images=50).images == 3


def test_evaluators_forget_between_evaluations():
    data = FakeSet(4)
    evaluators = all_evaluators(data)
    first, second = run(data, evaluators), run(data, evaluators)
    assert first.metrics == second.metrics and first.predictions == second.predictions


def test_global_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    run(FakeSet(3))
    assert torch.rand(1) == expected


def test_bad_arguments():
    data = FakeSet(3)
    for options, text in (
        ({"batch_size": 0}, r"batch_size \(=0\) must be 1 or more"),
        ({"max_images": 0}, "max_images=0 must be 1 or more"),
        ({"evaluators": {"boxes": DetectionEvaluator(data.coco(), EXACT)}}, "there is no 'boxes' to evaluate"),
    ):
        with pytest.raises(UserError, match=text):
            run(data, **options)
    with pytest.raises(UserError, match="the split is empty"):
        run(FakeSet(0))
    with pytest.raises(UserError, match="needs an evaluator"):
        evaluate(ModelPredictFn(FakeModel()), data, evaluators={}, progress=False)


def test_classes_that_one_side_lacks():
    data = FakeSet(4)
    model = FakeModel("detection")
    joined = join(ClassTable.of(["zebra", "person"]), CLASSES)  # the car logit is a zebra here
    found = run(data, {"detection": DetectionEvaluator(data.coco(), joined)}, model)
    assert found.predictions == []
    assert found.metrics["AP"] == 0
    assert found.metrics["per_class"]["car"]["boxes"] == 2


def batch_of(*records, masks=()):
    return EvalBatch(
        torch.zeros(len(records), 3, 4, 4, dtype=torch.uint8),
        (Geometry((4, 4), (4, 4)),) * len(records),
        records,
        tuple(range(len(records))),
        masks,
    )


def test_a_cap_that_bites_is_counted():
    found = Detections(
        torch.tensor([[[0.0, 0, 5, 5]], [[0.0, 0, 5, 5]]]),
        torch.ones(2, 1),
        torch.zeros(2, 1, dtype=torch.int64),
        torch.tensor([1, 0]),
        torch.tensor([True, False]),
    )
    evaluator = DetectionEvaluator(FakeSet(2).coco(), EXACT)
    evaluator.update(found, batch_of(FakeRecord(100), FakeRecord(101)))
    with pytest.warns(UserWarning, match="1 of 2 images have more detections"):
        evaluator.metrics()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluator.metrics()  # reported once
    assert [entry["image_id"] for entry in evaluator.results()] == [100]  # the second row is padding


def test_a_cap_on_an_unsure_model_is_not_reported(recwarn):
    shape = (1, 3)
    found = Detections(
        torch.tensor([0.0, 0, 5, 5]).expand(*shape, 4),
        torch.full(shape, 0.2),
        torch.zeros(shape, dtype=torch.int64),
        torch.tensor([3]),
        torch.tensor([True]),
    )
    evaluator = DetectionEvaluator(FakeSet(1).coco(), EXACT)
    evaluator.update(found, batch_of(FakeRecord(100)))
    evaluator.metrics()
    assert not recwarn.list


def test_images_of_a_set_without_boxes_are_not_evaluated():
    data = FakeSet(2)
    evaluator = DetectionEvaluator(data.coco(), EXACT)
    found = Detections(
        torch.zeros(2, 1, 4), torch.ones(2, 1), torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    )
    evaluator.update(found, batch_of(FakeRecord(100), FakeRecord(999, has_boxes=False)))
    assert evaluator.metrics()["per_class"]["car"]["boxes"] == 1


def test_semantic_join_and_images_without_masks():
    model = ClassTable.of(["tree", "person", "car"])
    evaluator = SemanticEvaluator(join(model, CLASSES))
    truth = np.array([[0, 0], [1, 255]], np.uint8)
    predicted = np.array([[2, 0], [1, 1]], np.uint8)  # car right, tree for a car, person right, ignored
    evaluator.update([predicted, predicted], batch_of(FakeRecord(1), FakeRecord(2), masks=(truth, None)))
    assert evaluator.confusion.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert evaluator.metrics()["IoU"] == {"car": 0.5, "person": 1.0}
    with pytest.raises(UserError, match=r"b\.jpg: truth and prediction must have one size"):
        evaluator.update([predicted[:1]], batch_of(FakeRecord(3, "b.jpg"), masks=(truth,)))


def test_classification_join():
    evaluator = ClassificationEvaluator(join(ClassTable.of(["dog", "person", "car"]), CLASSES))
    scores = torch.tensor([[9.0, 1, 2], [9, 2, 1], [0, 0, 0]])
    evaluator.update(scores, batch_of(FakeRecord(1, label=0), FakeRecord(2, label=0), FakeRecord(3)))
    assert evaluator.metrics()["top1"] == 0.5  # dog is not a class of the data; the third has no label


def _worker(rank, world, count, broken):
    try:
        found = run(FakeSet(count, broken=broken), batch_size=2)
        return found.metrics, found.predictions, found.images
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _two_processes(count, directory, *, broken=None):
    return on_ranks(_worker, directory, count, broken)


@pytest.mark.slow
@pytest.mark.parametrize("count", [7, 1])
def test_two_processes_give_the_numbers_of_one(count, tmp_path):
    one = run(FakeSet(count))
    for metrics, predictions, images in _two_processes(count, tmp_path):
        assert metrics == one.metrics
        assert predictions == one.predictions
        assert images == count


@pytest.mark.slow
def test_a_failing_process_takes_the_other_along(tmp_path):
    first, second = _two_processes(4, tmp_path, broken=1)
    assert first == "RuntimeError: process 1 failed while evaluating (this is process 0): OSError: cannot read image"
    assert second == "OSError: cannot read image"


def test_progress_stays_silent_off_a_terminal(capfd):
    run(FakeSet(2), progress=True)
    assert capfd.readouterr() == ("", "")


def test_samples_need_no_mask():
    sample = SimpleNamespace(
        image=np.zeros((3, 4, 6), np.uint8), geometry=Geometry((4, 6), (4, 6)), record=FakeRecord(1)
    )
    batch = EvalBatch.of([(5, sample)])
    assert batch.images.shape == (1, 3, 4, 6) and batch.indices == (5,) and batch.masks == (None,)
