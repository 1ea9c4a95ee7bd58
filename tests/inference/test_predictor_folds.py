"""`Predictor` folds a model by itself: equal answers, and the user's model stays as it was."""

import copy

import numpy as np
import pytest
import torch

from effdet.inference import Predictor
from effdet.inference.runtime_model import predict_function
from effdet.model import FoldedModel, build, spec_for
from heads.protocol import Context
from heads.structures import ClassTable, Targets, UserError

CLASSES = ClassTable.of(["a", "b"])
NUMBERS = {"detection": ("boxes", "scores"), "semantic": ("semantic",), "classification": ("probabilities",)}


def model_of(task):
    torch.manual_seed(0)
    heads = {"driving": ("detection", "semantic"), "segmentation": ("semantic",)}.get(task, (task,))
    classes = CLASSES if len(heads) == 1 else dict.fromkeys(heads, CLASSES)
    model = build(spec_for(task=task, backbone="b0", classes=classes, image_size=64))
    with torch.no_grad():  # BatchNorm as after some training: statistics and scales that change something when folded
        for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
            norm.running_mean.normal_(std=0.1), norm.running_var.uniform_(0.5, 2), norm.weight.uniform_(0.8, 1.2)
    return model.eval(), heads


def image(height=50, width=70):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def unfolded(model, precision=None):
    """A predictor that keeps to the model as it is, as evaluation does."""
    predictor = Predictor(model, precision=precision)
    predictor._predict = predict_function(model, precision=precision)
    return predictor


@pytest.mark.parametrize("task", ["detection", "segmentation", "classification", "driving"])
def test_folded_equals_unfolded(task):
    model, heads = model_of(task)
    before = copy.deepcopy(model.state_dict())
    predictor = Predictor(model)
    assert isinstance(predictor.model, FoldedModel)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in predictor.model.modules())
    p, q = predictor(image()), unfolded(model)(image())
    for head in heads:
        for name in NUMBERS[head]:
            mine, plain = getattr(p, name), getattr(q, name)
            if name == "semantic":
                assert (mine == plain).mean() > 0.999
            else:
                np.testing.assert_allclose(mine[:20], plain[:20], atol=2e-3 if name == "boxes" else 1e-4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_training_goes_on_after_a_prediction():
    model, _ = model_of("detection")
    first = Predictor(model)
    p = first(image())
    model.train()
    boxes = torch.tensor([[[4.0, 4, 40, 40]]])
    targets = Targets(boxes=boxes, labels=torch.tensor([[1]]))
    terms = model.loss(model(torch.rand(1, 3, 64, 64)), targets, Context((64, 64)))
    torch.stack(list(terms.values())).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter -= parameter.grad
    assert model.training
    np.testing.assert_array_equal(first(image()).scores, p.scores)  # its own copy
    assert not np.array_equal(Predictor(model)(image()).scores, p.scores)
    assert model.training


def test_bf16_is_the_autocast_of_the_folded_model():
    model, _ = model_of("classification")
    folded, plain = Predictor(model, precision="bf16")(image()), unfolded(model, "bf16")(image())
    exact = Predictor(model)(image())
    assert model.backbone.stem.conv.weight.dtype == torch.float32
    np.testing.assert_allclose(folded.probabilities, plain.probabilities, atol=5e-3)
    np.testing.assert_allclose(folded.probabilities, exact.probabilities, atol=5e-3)


def test_a_precision_that_there_is_not():
    with pytest.raises(UserError, match="precision must be one of"):
        Predictor(model_of("classification")[0], precision="int4")
