"""The model as a whole: description there and back, building, folding, published counts."""

import json

import pytest
import torch
from torch import nn

from effdet.model import FoldedModel, ModelSpec, build, fold, spec_for
from heads.protocol import Context
from heads.structures import ClassTable, Targets, UserError

# (model, parameters): the PyTorch effdet distribution's published detectors, 90 classes
COUNTS = [
    ("tf_efficientdet_d0", 3_880_067),
    ("tf_efficientdet_d1", 6_625_898),
    ("tf_efficientdet_d2", 8_097_039),
    ("tf_efficientdet_d3", 12_032_296),
    ("tf_efficientdet_d4", 20_723_675),
    ("tf_efficientdet_d5", 33_653_315),
    ("tf_efficientdet_d6", 51_871_782),
    ("tf_efficientdet_d7", 51_871_782),
    ("tf_efficientdet_d7x", 77_147_166),
    ("tf_efficientdet_lite0", 3_243_470),
    ("tf_efficientdet_lite1", 4_248_318),
    ("tf_efficientdet_lite2", 5_252_334),
    ("tf_efficientdet_lite3", 8_350_862),
    ("tf_efficientdet_lite3x", 9_280_862),
    ("tf_efficientdet_lite4", 15_130_894),
    ("efficientdet_d0", 3_877_763),
    ("efficientdet_d1", 6_622_026),
    ("efficientdetv2_dt", 13_432_497),
    ("efficientdetv2_ds", 26_580_635),
    ("efficientdet_q0", 4_126_234),
    ("efficientdet_q1", 6_976_294),
    ("efficientdet_q2", 8_815_280),
]


def small(**changes):
    return spec_for(task="detection", phi=-4, num_classes=3, image_size=128, **changes)


@pytest.mark.parametrize(("name", "count"), COUNTS)
def test_published_parameter_counts(name, count):
    with torch.device("meta"):
        model = build(spec_for(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize(
    "name", ["tf_efficientdet_d0", "tf_efficientdet_d7x", "efficientdetv2_dt", "tf_efficientnet_b0"]
)
def test_a_description_survives_json(name):
    spec = spec_for(name)
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_newer_description_is_refused():
    with pytest.raises(UserError, match="format 99"):
        ModelSpec.from_dict(small().to_dict() | {"format": 99})


def test_backbone_alone_sets_the_whole_detector():
    spec = spec_for(task="detection", backbone="b3")
    assert (spec.neck.channels, spec.neck.repeats, spec.preprocess.size) == (160, 6, (896, 896))
    assert spec.heads["detection"].options["repeats"] == 4


def test_each_part_can_be_overridden():
    spec = spec_for(
        task="detection",
        backbone="b3",
        image_size=(256, 512),
        neck={"channels": 88, "repeats": None},
        heads={"detection": {"repeats": 2, "anchors": {"scale": 3.0}}},
        backbone_options={"attention": "eca"},
    )
    assert (spec.neck.channels, spec.neck.repeats, spec.preprocess.size) == (88, 6, (256, 512))
    assert spec.heads["detection"].options["repeats"] == 2
    assert spec.heads["detection"].options["anchors"]["scale"] == 3.0
    assert spec.backbone.attention == "eca"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"task": "detecton", "backbone": "b0"}, "task='detecton' is unknown"),
        ({"task": "detection"}, "one of backbone=, phi= and architecture.path="),
        ({"name": "tf_efficientdet_d0", "backbone": "b1"}, "fixes the backbone"),
        ({"name": "tf_efficientdet_d0", "task": "classification"}, "is a detector"),
        ({"task": "detection", "backbone": "b0", "neck": {"chanels": 3}}, "neck.chanels is not a setting"),
        ({"task": "detection", "backbone": "b0", "num_classes": 0}, "num_classes=0"),
        ({"task": "detection", "backbone": "b0", "heads": {"mask": {}}}, "no head 'mask'"),
        (
            {"task": "detection", "backbone": "b0", "num_classes": 2, "classes": ClassTable.of(["a"])},
            "num_classes=2 for detection, but its class table has 1",
        ),
    ],
)
def test_contradictions_are_one_line(arguments, text):
    with pytest.raises(UserError, match=text):
        spec_for(**arguments)


@pytest.mark.parametrize("size", [(128, 128), (96, 160), (100, 190)])
def test_any_size_and_batch(size):
    model = build(small()).eval()
    out = model(torch.randn(2, 3, *size))["detection"]
    anchors = 0
    height, width = (-(-side // 4) for side in size)
    for _ in range(5):
        height, width = -(-height // 2), -(-width // 2)
        anchors += 9 * height * width
    assert out.class_logits.shape == (2, anchors, 3) and out.box_deltas.shape == (2, anchors, 4)


def test_single_equals_batched():
    model, images = build(small()).eval(), torch.randn(3, 3, 96, 160)
    with torch.no_grad():
        together = model(images)["detection"].class_logits
        alone = torch.cat([model(image[None])["detection"].class_logits for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_loss_terms_are_named_by_head_and_backpropagate():
    model = build(small())
    targets = Targets(boxes=torch.tensor([[[10.0, 10, 60, 60]]]), labels=torch.tensor([[1]]))
    images = torch.randn(1, 3, 128, 128)
    terms = model.loss(model(images), targets, Context.of(images))
    assert set(terms) == {"detection/class", "detection/box"}
    sum(terms.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_an_anchor_shape_may_be_one_number():
    anchors = small(heads={"detection": {"anchors": {"aspects": [1, 4.0, 0.25, [3, 2]]}}}).heads["detection"].options
    assert anchors["anchors"]["aspects"] == [[1, 1], [2, 0.5], [0.5, 2], [3, 2]]


@pytest.mark.parametrize("aspects", [[], [0.0], [-1], [[1, 2, 3]], [[1, 0]]])
def test_an_anchor_without_a_shape_is_one_line(aspects):
    with pytest.raises(UserError, match="anchors.aspects"):
        small(heads={"detection": {"anchors": {"aspects": aspects}}})


def test_logits_without_a_name_never_detect():
    table = ClassTable(("cat", None, "dog"), (1, None, 3))
    model = build(spec_for(task="detection", phi=-4, classes=table, image_size=128)).eval()
    with torch.no_grad():
        model.heads["detection"].class_net.predict.pointwise.bias.fill_(5.0)
        detections = model.predict(model(torch.randn(1, 3, 128, 128)), Context((128, 128)))["detection"]
    assert set(detections.labels.unique().tolist()) == {0, 2}


@pytest.mark.parametrize(
    "spec",
    [
        small(),
        small(neck={"fusion": "softmax"}),
        small(backbone_options={"attention": "eca"}),
        spec_for(task="detection", backbone="lite0", num_classes=2, image_size=128),
    ],
    ids=["fast", "softmax", "eca", "lite0"],
)
def test_folded_is_equal(spec):
    torch.manual_seed(0)
    model = build(spec)
    model(torch.randn(4, 3, 128, 128))  # BatchNorm statistics that are not the initial ones
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.uniform_(-0.5, 0.5)
    model.eval()
    images = torch.randn(1, 3, 128, 160)
    with torch.no_grad():
        expected, folded = model(images)["detection"], fold(model)
        found = folded(images)["detection"]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    for name in ("class_logits", "box_deltas"):
        a, b = getattr(found, name), getattr(expected, name)
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules()), "the original is left as it was"


def test_a_folded_model_can_only_predict():
    folded = fold(build(small()))
    assert isinstance(folded, FoldedModel) and not hasattr(folded, "loss")
    with pytest.raises(UserError, match="can only predict"):
        folded.train()
    with pytest.raises(UserError, match="folded already"):
        fold(folded)
