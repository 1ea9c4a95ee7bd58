"""Pre-flight of loaded weights: each fault is made, named and stopped; what is right passes."""

import pytest
import torch
from torch import nn

from effdet.model import build, spec_for
from effdet.training.preflight import PreflightError, preflight
from effdet.training.starting import Detected, Start, agreement, start_of
from effdet.weights.report import CarriedOver, LoadReport
from heads.structures import Batch, ClassTable, Targets

CLASSES = ClassTable(("cat", None, "dog", "hen"), (1, None, 2, 3))
WHOLE = Start("model", True, "trained.pth", {"detection": (0, 2, 3)})


def images(count=4):
    torch.manual_seed(1)
    coarse = torch.rand(count, 3, 16, 16) * 255
    return nn.functional.interpolate(coarse, size=(128, 128), mode="bilinear").to(torch.uint8)


def batch(count=4):
    boxes = torch.tensor([[[20.0, 20.0, 80.0, 90.0], [60.0, 10.0, 110.0, 50.0]]] * count)
    return Batch(images(count), Targets(boxes=boxes, labels=torch.tensor([[0, 3]] * count)), torch.arange(count))


@pytest.fixture
def trained():
    """A detector whose statistics are those of its features, and whose class logits spread as trained ones do."""
    torch.manual_seed(0)
    model = build(spec_for(task="detection", phi=-4, classes=CLASSES, image_size=128)).train()
    for layer in model.backbone.modules():
        if isinstance(layer, nn.Conv2d):  # trained channels are of very different sizes
            layer.weight.data.mul_(torch.randn(len(layer.weight), 1, 1, 1).mul(1.5).exp())
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    with torch.no_grad():
        model.heads["detection"].class_net.last.weight.normal_(std=0.1)
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.3)
            norm.momentum = None  # the mean over the passes
        for _ in range(2):
            model(model.preprocess.normalise(images()))
        for norm in norms:
            norm.momentum = 0.01
    return model


def as_identities(model):
    """What a folded file gives where its statistics are not put back: the same function in evaluation mode."""
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
                gain = norm.weight / (variance + norm.eps).sqrt()
                norm.bias.sub_(gain * mean)
                norm.weight.copy_(gain)
                mean.zero_()
                variance.fill_(1 - norm.eps)
    return model


def test_right_weights_pass_and_the_levels_are_those_with_enough_values(trained):
    found = preflight(trained, batch(), start=WHOLE)
    assert found.modes is not None and found.modes.kind == "logits"
    assert list(found.modes.levels) == ["P3", "P4", "P5"]  # 4 images of 16², 8², 4² cells; P6 has 16 values
    assert found.modes.mean > 0.8 and found.expected == {} and not found.new
    assert "training and evaluation mode agree (P3 " in str(found)


def test_statistics_that_were_folded_away_are_reported(trained):
    x = trained.preprocess.normalise(images())
    before = trained.eval()(x)["detection"].class_logits
    folded = as_identities(trained)
    torch.testing.assert_close(folded.eval()(x)["detection"].class_logits, before, atol=1e-3, rtol=1e-3)
    with pytest.raises(PreflightError, match=r"trained\.pth compute something else in training mode.*freeze=bn"):
        preflight(folded, batch(), start=WHOLE)
    preflight(folded, batch(), start=WHOLE, frozen=["bn"])  # the way out that the message names
    preflight(
        folded, batch(), start=Start("model", False, "trained.pth", {"detection": (0, 2, 3)})
    )  # not all was loaded


def test_boxes_stand_for_the_logits_where_no_class_was_carried_over(trained):
    start = Start("model", True, "trained.pth", {"detection": ()}, {"detection": (0, 2, 3)})
    trained.heads["detection"].class_net.last.weight.data.zero_()
    trained.heads["detection"].class_net.last.bias.data.fill_(-4.595)
    found = preflight(trained, batch(), start=start)
    assert (
        found.modes is not None
        and found.modes.kind == "boxes"
        and found.new == {"detection": pytest.approx(1, rel=1e-2)}
    )
    with pytest.raises(PreflightError, match="compute something else in training mode"):
        preflight(as_identities(trained), batch(), start=start)


def test_a_backbones_file_is_seen_at_c3_to_c5(trained):
    start = Start("backbone", True, "backbone.pth")
    fresh = build(trained.spec)
    fresh.backbone.load_state_dict(trained.backbone.state_dict())
    found = preflight(fresh, batch(), start=start)
    assert found.modes is not None and list(found.modes.levels) == ["C3", "C4", "C5"]
    assert found.expected  # the head is fresh
    as_identities(fresh.backbone)
    with pytest.raises(PreflightError, match="backbone.pth compute something else.*folded"):
        preflight(fresh, batch(), start=start)


def test_too_few_values_are_no_measure(trained):
    x = trained.preprocess.normalise(images(1)[:, :, :32, :32])
    assert agreement(trained, x, WHOLE) is None
    assert agreement(trained, x, Start()) is None


def test_new_classes_off_their_prior_are_reported(trained):
    start = Start("model", True, "trained.pth", {"detection": (0, 2)}, {"detection": (3,)})
    rows = trained.heads["detection"].class_net.last.bias.data.view(-1, 4)
    weights = trained.heads["detection"].class_net.last.weight.data.view(len(rows), 4, -1)
    weights[:, 3], rows[:, 3] = 0.0, -4.595
    rows[:, 0] = 1.0  # carried rows may start anywhere
    found = preflight(trained, batch(), start=start)
    assert found.new == {"detection": pytest.approx(1, rel=1e-3)}
    weights[:, 3].normal_(std=3.0)
    with pytest.raises(PreflightError, match=r"the new classes \(hen\) starts at [\d.]+ times what the focal prior"):
        preflight(trained, batch(), start=start)


def test_weights_that_detect_nothing_are_reported(trained):
    nothing = Detected(0.0004, 16, 40)
    with pytest.raises(PreflightError, match=r"trained\.pth detect nothing.*AP 0\.000 on 16 val images with 40 boxes"):
        preflight(trained, batch(), start=WHOLE, detected=lambda: nothing)
    few = preflight(trained, batch(), start=WHOLE, detected=lambda: Detected(0.0, 4, 4))
    assert "AP 0.000 on 4 val images" in str(few)
    some = preflight(trained, batch(), start=WHOLE, detected=lambda: Detected(0.6, 16, 40))
    assert "the weights start at AP 0.600 on 16 val images with 40 boxes" in str(some)


def test_what_a_report_says_of_the_start():
    model = build(spec_for(task="driving", phi=-4, classes={"detection": CLASSES, "semantic": CLASSES}, image_size=64))
    assert start_of(model, None) == Start()
    report = LoadReport("a.pth", "own", "backbone", "stated", matched=("backbone.x",))
    assert start_of(model, report) == Start("backbone", True, "a.pth")
    report = LoadReport(
        "a.pth", "own", "model", "stated",
        matched=("heads.detection.box_net.x", "backbone.x"),
        carried_over=(CarriedOver("heads.detection.class_net.predict", ("cat", "hen"), ("dog",)),),
        fresh=("heads.semantic.classifier.weight",),
    )  # fmt: skip
    start = start_of(model, report)
    assert start.carried == {"detection": (0, 3)} and start.fresh == {"detection": (2,)}
    assert start.detects and start.is_fresh("semantic") and not start.is_fresh("detection")
    equal = LoadReport(
        "a.pth", "own", "model", "stated", matched=("heads.detection.class_net.predict.pointwise.weight",)
    )
    assert start_of(model, equal).carried == {"detection": (0, 2, 3)}
    part = LoadReport("a.pth", "own", "model", "x", matched=("heads.detection.x",), missing=("heads.detection.y",))
    assert not start_of(model, part).detects and start_of(model, part).is_fresh("detection")
