"""The loss on the evaluation set against the training loss of the same images."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from effdet.evaluation import EvalBatch, LossEvaluator, ModelPredictFn, evaluate, same_classes
from effdet.evaluation.classes import ClassJoin
from effdet.model import build, spec_for
from effdet.preprocess import Preprocess
from heads.protocol import Context
from heads.structures import ClassTable, Targets, UserError

SIZE = 64


class Set:
    """Five images with a box, a mask and a class each, of sizes that the canvas must reduce and pad."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rng, height, width = np.random.default_rng(index), 128 - 8 * index, 96
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        canvas, geometry = Preprocess((SIZE, SIZE)).geometry(image)
        record = SimpleNamespace(
            image_id=index, file_name=str(index), label=index % 3, has_boxes=True,
            boxes=np.array([[8, 16, 72, 80], [0, 0, 96, 90]], np.float32), labels=np.array([index % 3, 1]),
            crowd=np.array([False, True]),
        )  # fmt: skip
        mask = np.full((height, width), index % 3, np.uint8)
        return SimpleNamespace(image=canvas.transpose(2, 0, 1), geometry=geometry, record=record, mask=mask)


def batch_of(*indices):
    return EvalBatch.of([(index, Set()[index]) for index in indices])


@pytest.mark.parametrize("task", ["detection", "segmentation", "classification"])
def test_mean_of_the_losses_of_the_batches(task):
    torch.manual_seed(0)
    model = build(spec_for(task=task, backbone="b0", num_classes=3, image_size=SIZE)).eval()
    (name,) = model.heads
    evaluator = LossEvaluator(name, same_classes(model.classes[name]))
    found = evaluate(ModelPredictFn(model), Set(), evaluators={name: evaluator}, batch_size=2, progress=False)
    expected = 0.0
    for indices in ((0, 1), (2, 3), (4,)):
        batch = batch_of(*indices)
        with torch.no_grad():
            images = model.preprocess.normalise(batch.images)
            terms = model.loss(model(images), evaluator.targets(batch), Context.of(images))
        expected += len(indices) * float(torch.stack(list(terms.values())).sum())
    assert found.metrics == {f"{name}_loss": pytest.approx(expected / 5, rel=1e-5)} and not found.predictions


def test_targets_lie_on_the_canvas():
    targets = LossEvaluator("depth", same_classes(ClassTable.unnamed(3))).targets(batch_of(0, 4))
    assert targets.boxes is not None and targets.labels is not None and targets.semantic is not None
    # 128 × 96 is halved; 96 × 96 is reduced to two thirds. Crowds are left out.
    np.testing.assert_allclose(targets.boxes[0, 0], [4, 8, 36, 40])
    np.testing.assert_allclose(targets.boxes[1, 0], np.array([8, 16, 72, 80]) * 2 / 3, rtol=1e-6)
    assert targets.labels.tolist() == [[0], [1]] and targets.category is not None
    assert targets.category.tolist() == [0, 1]
    canvas = Preprocess((SIZE, SIZE))
    for row, index in enumerate((0, 4)):
        np.testing.assert_array_equal(targets.semantic[row], canvas.geometry_mask(Set()[index].mask))


def test_classes_are_the_models():
    """The data's classes a, b, c are the model's 1, none, 0."""
    join = ClassJoin(ClassTable.of(["c", "a"]), ClassTable.of(["a", "b", "c"]), (2, 0))
    targets = LossEvaluator("depth", join).targets(batch_of(0, 1, 2))
    assert targets.labels is not None and targets.labels.tolist() == [[1], [-1], [0]]
    assert targets.category is not None and targets.category.tolist() == [1, -1, 0]


def test_a_model_that_can_only_predict_has_no_loss():
    batch, evaluator = batch_of(0), LossEvaluator("depth", same_classes(ClassTable.unnamed(3)))
    with pytest.raises(UserError, match="head depth: its loss takes the model itself"):
        evaluate(lambda batch: {}, Set(), evaluators={"depth": evaluator}, progress=False)
    bare = replace(batch, records=tuple(SimpleNamespace(**vars(record) | {"label": None}) for record in batch.records))
    assert isinstance(targets := evaluator.targets(bare), Targets) and targets.category is None
