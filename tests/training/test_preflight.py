"""Pre-flight on a real small detector: it passes, it leaves no trace, and each fault is named."""

import math
from dataclasses import replace

import pytest
import torch

from effdet.model import BalanceSpec, build, spec_for
from effdet.training.preflight import PreflightError, preflight
from heads.protocol import Context
from heads.structures import Batch, Targets


def detector():
    torch.manual_seed(0)
    return build(spec_for(task="detection", phi=-4, num_classes=3, image_size=128))


def batch(boxes=((20, 20, 80, 90),), count=2):
    torch.manual_seed(1)
    images = torch.randint(0, 256, (count, 3, 128, 128), dtype=torch.uint8)
    xyxy = torch.tensor([list(map(list, boxes))] * count, dtype=torch.float32).view(count, -1, 4)
    labels = torch.ones(count, xyxy.shape[1], dtype=torch.int64)
    return Batch(images, Targets(boxes=xyxy, labels=labels), torch.arange(count))


def test_a_valid_model_passes_and_is_left_as_it_was():
    model = detector().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = batch()
    generator = torch.get_rng_state()
    found = preflight(model, images, oracle=lambda: {"AP": 1.0})
    assert found.stepped < found.loss and found.oracle == {"AP": 1.0}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training and all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(generator, torch.get_rng_state())


def test_the_priors_prediction_by_hand():
    """A head that says exactly the prior everywhere has exactly the predicted class loss."""
    model = detector()
    head = model.heads["detection"]
    torch.nn.init.zeros_(head.class_net.predict.pointwise.weight)
    targets = batch()
    found = preflight(model, targets)
    images = model.preprocess.normalise(targets.images)
    terms = model.loss(model(images), targets.targets, Context.of(images))
    assert terms["detection/class"].item() == pytest.approx(found.expected["detection/class"], rel=1e-4)
    value = found.expected["detection/class"]
    assert f"(detection/class {value:.2f}, expected {value:.2f})" in str(found)


def test_no_targets_at_all():
    found = preflight(detector(), batch(boxes=()))
    assert found.stepped < found.loss


def test_wrong_truth_is_reported():
    with pytest.raises(PreflightError, match="score AP 0.500 instead of 1"):
        preflight(detector(), batch(), oracle=lambda: {"AP": 0.5})


def test_a_head_off_its_prior_is_reported():
    model = detector()
    model.heads["detection"].class_net.predict.pointwise.bias.data.zero_()
    with pytest.raises(PreflightError, match="focal prior predicts"):
        preflight(model, batch())


def test_a_part_without_gradient_is_named():
    model = detector()
    model.idle = torch.nn.Linear(2, 2)
    with pytest.raises(PreflightError, match=r"no gradient reaches 2 of \d+ parameters, first idle.weight"):
        preflight(model, batch())


def test_frozen_parts_need_no_gradient_but_something_must_learn():
    model = detector()
    model.backbone.requires_grad_(False)
    preflight(model, batch())
    model.requires_grad_(False)
    with pytest.raises(PreflightError, match="leaves nothing to train"):
        preflight(model, batch())


def test_what_is_to_be_frozen_need_not_learn_and_comes_out_as_it_was():
    model = detector()
    model.idle = torch.nn.Linear(2, 2)
    preflight(model, batch(), frozen=["idle", "bn"])
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(PreflightError, match=r"freeze=\['backbone', 'neck', 'heads', 'idle'\] leaves nothing"):
        preflight(model, batch(), frozen=["backbone", "neck", "heads", "idle"])


def test_broken_weights_are_reported():
    model = detector()
    model.heads["detection"].class_net.predict.pointwise.bias.data.fill_(float("nan"))
    with pytest.raises(PreflightError, match="detection/class is nan"):
        preflight(model, batch())


def driving(**changes):
    torch.manual_seed(0)
    return build(
        spec_for(task="driving", phi=-4, num_classes={"detection": 3, "semantic": 5}, image_size=128, **changes)
    )


def masked():
    images = batch()
    torch.manual_seed(2)
    semantic = torch.randint(0, 5, (2, 128, 128), dtype=torch.uint8)
    return replace(images, targets=replace(images.targets, semantic=semantic))


def test_a_driving_model_starts_by_guessing():
    found = preflight(driving(balance=BalanceSpec(weights={"semantic": 5.0})), masked(), oracle=lambda: {"mIoU": 1.0})
    assert set(found.expected) == {"detection/class", "semantic/cross_entropy"}
    assert found.expected["semantic/cross_entropy"] == pytest.approx(math.log(5))
    assert found.stepped < found.loss and "mIoU 1.000" in str(found)


def test_a_semantic_head_that_does_not_start_small_is_reported():
    model = driving()
    torch.nn.init.normal_(model.heads["semantic"].classifier.weight, std=5.0)
    with pytest.raises(PreflightError, match="guessing among 5 classes gives 1.609"):
        preflight(model, masked())


def test_wrong_masks_are_reported():
    with pytest.raises(PreflightError, match="score mIoU 0.900 instead of 1"):
        preflight(driving(), masked(), oracle=lambda: {"AP": 1.0, "mIoU": 0.9})


def test_only_images_whose_boxes_are_labelled_tell_the_first_loss():
    images = batch()
    for labelled in ([True, True], [True, False]):
        targets = replace(images.targets, has_boxes=torch.tensor(labelled))
        model, share = detector(), sum(labelled)
        found = preflight(model, replace(images, targets=targets))
        one = preflight(model, batch(count=share)) if share == 1 else found
        assert found.expected == one.expected and set(found.expected) == {"detection/class"}
    none = replace(images, targets=replace(images.targets, has_boxes=torch.tensor([False, False])))
    with pytest.raises(PreflightError, match="none of which is labelled"):
        preflight(detector(), none)
