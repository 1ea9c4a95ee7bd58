"""The detection head as a whole."""

import pytest
import torch
import torch.nn.functional as F
import torchvision

from heads.detection import AnchorSpec, DetectionHead, DetectionLoss, DetectionOptions, PostProcess
from heads.detection.boxes import decode, encode
from heads.protocol import Context
from heads.structures import Targets, UserError

HERE = Context((64, 96))

LEVELS = ("P3", "P4", "P5")


def features(size=(64, 96), batch=2, channels=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        level: torch.randn(batch, channels, -(-size[0] // stride), -(-size[1] // stride), generator=generator)
        for level, stride in zip(LEVELS, (8, 16, 32), strict=True)
    }


def head(classes=3, **options) -> DetectionHead:
    torch.manual_seed(0)
    return DetectionHead(8, classes, DetectionOptions(levels=LEVELS, repeats=2, **options))


def targets(batch=2) -> Targets:
    boxes = torch.tensor([[[10.0, 10, 50, 40], [60, 5, 80, 60]], [[0, 0, 30, 30], [0, 0, 0, 0]]])
    return Targets(boxes=boxes[:batch], labels=torch.tensor([[0, 2], [1, -1]])[:batch])


def by_parts(net, x):
    """The net by the book: convolution, norm and activation for each level, then NCHW to (B, cells, outputs)."""
    outputs = []
    for level in LEVELS:
        y = x[level]
        for conv, norm in zip(net.convs, net.norms, strict=True):
            y = torch.nn.functional.silu(norm[level](conv(y)))
        y = net.predict(y)
        outputs.append(y.permute(0, 2, 3, 1).reshape(y.shape[0], -1, y.shape[1]))
    return torch.cat(outputs, 1)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_order_of_outputs(separable, layout):
    model = head(separable=separable).eval()
    x = {name: value.to(memory_format=layout) for name, value in features().items()}
    out = model(x, Context((64, 96)))
    anchors = (8 * 12 + 4 * 6 + 2 * 3) * 9
    assert out.class_logits.shape == (2, anchors, 3)
    assert out.box_deltas.shape == (2, anchors, 4)
    assert out.anchors.shape == (anchors, 4)
    assert out.feature_sizes == ((8, 12), (4, 6), (2, 3))
    torch.testing.assert_close(out.class_logits, by_parts(model.class_net, x).view(2, -1, 3), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.box_deltas, by_parts(model.box_net, x).view(2, -1, 4), rtol=1e-4, atol=1e-5)


def test_parameters_of_d0():
    model = DetectionHead(64, 90)
    assert sum(p.numel() for p in model.class_net.parameters()) == 69_354
    assert sum(p.numel() for p in model.box_net.parameters()) == 19_044
    assert len(model.class_net.state_dict()) == len(model.box_net.state_dict()) == 87
    assert "class_net.norms.2.P7.running_var" in model.state_dict()
    assert "named_classes" not in model.state_dict()
    lean = DetectionHead(64, 90, DetectionOptions(redundant_bias=False)).state_dict()
    assert {name for name in lean if name.endswith("pointwise.bias")} == {
        "class_net.predict.pointwise.bias",
        "box_net.predict.pointwise.bias",
    }


def test_prior():
    out = head()({name: torch.zeros_like(value) for name, value in features().items()}, Context((64, 96)))
    torch.testing.assert_close(out.class_logits.sigmoid(), torch.full_like(out.class_logits, 0.01))
    assert (out.box_deltas == 0).all()


def test_single_as_batched():
    model, x = head().eval(), features(batch=3)
    out = model(x, Context((64, 96)))
    for image in range(3):
        alone = model({name: value[image, None] for name, value in x.items()}, Context((64, 96)))
        torch.testing.assert_close(alone.class_logits[0], out.class_logits[image], rtol=1e-4, atol=1e-5)


def total(model, out, goal) -> torch.Tensor:
    terms = model.loss(out, goal, HERE)
    assert set(terms) == {"class", "box"}
    assert all(term.dtype == torch.float32 and term.shape == () for term in terms.values())
    return terms["class"] + terms["box"]


SOFT = {"box": "giou", "box_by_score": True, "normalizer": "score"}


@pytest.mark.parametrize("matcher", ["iou", "atss", "tal", "atss_tal"])
@pytest.mark.parametrize(
    "options",
    [{}, {"box": "ciou"}, {"classes": "quality", **SOFT}, {"classes": "varifocal", **SOFT}, {"classes": "quality"}],
    ids=str,
)
def test_every_parameter_learns(matcher, options):
    model = head(loss=DetectionLoss(matcher=matcher, **options))
    total(model, model(features(), Context((64, 96))), targets()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()


EMPTY = [
    Targets(),
    Targets(boxes=torch.zeros(2, 0, 4), labels=torch.zeros(2, 0, dtype=torch.int64)),
    Targets(boxes=torch.zeros(2, 3, 4), labels=torch.full((2, 3), -1)),
]


BACKGROUND = {"focal": (0.75, 1.5), "quality": (1.0, 2.0), "varifocal": (0.75, 2.0)}
"""Factor and power of p."""


@pytest.mark.parametrize("matcher", ["iou", "atss", "tal"])
@pytest.mark.parametrize("classes", list(BACKGROUND))
@pytest.mark.parametrize("goal", EMPTY)
def test_no_targets(goal, classes, matcher):
    soft = {} if classes == "focal" else SOFT
    model = head(loss=DetectionLoss(matcher=matcher, classes=classes, **soft))
    out = model(features(), Context((64, 96)))
    terms = model.loss(out, goal, HERE)
    (terms["class"] + terms["box"]).backward()
    assert terms["box"] == 0
    if goal.boxes is None:
        assert terms["class"] == 0
    else:  # the normalizer is 1, not 0: the sum over all background
        p = out.class_logits.detach().double().sigmoid()
        factor, power = BACKGROUND[classes]
        assert terms["class"].item() == pytest.approx((factor * p**power * -torch.log(1 - p)).sum().item(), rel=1e-4)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_images_of_an_unlabelled_set_add_nothing():
    model, x = head().eval(), features()
    out = model(x, Context((64, 96)))
    goal = targets()
    both = Targets(boxes=goal.boxes, labels=goal.labels, has_boxes=torch.tensor([True, False]))
    first = model({name: value[:1] for name, value in x.items()}, Context((64, 96)))
    torch.testing.assert_close(total(model, out, both), total(model, first, targets(1)))


def test_order_and_padding_of_boxes_do_not_matter():
    model = head().eval()
    out, goal = model(features(), Context((64, 96))), targets()
    assert goal.boxes is not None
    assert goal.labels is not None
    padded = Targets(
        boxes=torch.cat([goal.boxes.flip(1), torch.zeros(2, 5, 4)], 1),
        labels=torch.cat([goal.labels.flip(1), torch.full((2, 5), -1)], 1),
    )
    torch.testing.assert_close(total(model, out, goal), total(model, out, padded))


def test_one_box_by_hand():
    """One box that equals one anchor of one class: the loss by its definition."""
    model = head(classes=2, anchors=AnchorSpec(scales_per_octave=1, aspects=(1,))).eval()
    out = model(features(batch=1), Context((64, 96)))
    goal = Targets(boxes=out.anchors[50][None, None] + 0.25, labels=torch.tensor([[1]]))
    assert goal.boxes is not None
    matches = model.match(out, goal.boxes, torch.tensor([[1]]), HERE).index[0]
    rows = (matches == 0).nonzero()[:, 0]
    assert 50 in rows
    p = out.class_logits[0].double().sigmoid()
    loss = 0.75 * p**1.5 * -torch.log(1 - p)
    loss[rows, 1] = 0.25 * (1 - p[rows, 1]) ** 1.5 * -torch.log(p[rows, 1])
    terms = model.loss(out, goal, HERE)
    assert terms["class"].item() == pytest.approx(loss.sum().item() / len(rows), rel=1e-5)
    error = (out.box_deltas[0, rows] - encode(out.anchors, goal.boxes[0].expand(len(out.anchors), 4))[rows]).abs()
    huber = torch.where(error <= 0.1, error**2 / 2, 0.1 * (error - 0.05)).sum()
    assert terms["box"].item() == pytest.approx(50 * huber.item() / (4 * len(rows)), rel=1e-5)


@pytest.mark.parametrize("classes", ["quality", "varifocal"])
def test_soft_targets_by_hand(classes):
    """Two boxes, each equal to an anchor: targets are the IoUs of the decoded boxes, sums are divided by the targets' sum."""
    model = head(
        classes=2, anchors=AnchorSpec(scales_per_octave=1, aspects=(1,)), loss=DetectionLoss(classes=classes, **SOFT)
    ).eval()
    out = model(features(batch=1), Context((64, 96)))
    goal = Targets(boxes=out.anchors[[50, 70]][None] + 0.25, labels=torch.tensor([[1, 0]]))
    assert goal.boxes is not None and goal.labels is not None
    matches = model.match(out, goal.boxes, goal.labels, HERE).index[0]
    rows = (matches >= 0).nonzero()[:, 0]
    decoded = decode(out.anchors, out.box_deltas[0].float())[rows]
    own = goal.boxes[0][matches[rows]]
    y = torchvision.ops.box_iou(decoded, own).diagonal().double()
    target = torch.zeros_like(out.class_logits[0], dtype=torch.float64)
    target[rows, goal.labels[0][matches[rows]]] = y
    p = out.class_logits[0].double().sigmoid()
    entropy = F.binary_cross_entropy(p, target, reduction="none")
    factor = (p - target).abs() ** 2 if classes == "quality" else torch.where(target > 0, target, 0.75 * p**2)
    terms = model.loss(out, goal, HERE)
    divisor = max(float(y.sum()), 1.0)
    assert terms["class"].item() == pytest.approx((factor * entropy).sum().item() / divisor, rel=1e-4)
    giou = torchvision.ops.generalized_box_iou(decoded, own).diagonal().double()
    assert terms["box"].item() == pytest.approx(2 * ((1 - giou) * y).sum().item() / divisor, rel=1e-4)


def test_bf16_autocast():
    model = head()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(features(), Context((64, 96)))
        assert out.class_logits.dtype == torch.bfloat16
        loss = total(model, out, targets())
    loss.backward()
    with torch.no_grad():
        exact = total(model, model(features(), Context((64, 96))), targets())
    torch.testing.assert_close(loss.detach(), exact, rtol=0.05, atol=0)
    found = model.predict(out, HERE)
    assert found.boxes.dtype == torch.float32


def test_odd_size():
    size = (60, 90)
    model = head().eval()
    out = model(features(size), Context(size))
    assert out.image_size == size
    assert len(out.anchors) == out.class_logits.shape[1]
    assert total(model, out, targets()).isfinite()
    assert len(model.predict(out, HERE)) == 2


def test_predict_honours_names_and_settings():
    model, x = head().eval(), features()
    with torch.no_grad():
        out = model(x, Context((64, 96)))
    model.named_classes[1] = False
    assert set(model.predict(out, HERE).labels.unique().tolist()) <= {-1, 0, 2}
    model.postprocess = PostProcess(max_detections=3)
    assert model.predict(out, HERE).boxes.shape[1] == 3


def test_compiled_for_each_of_a_few_sizes():
    """As training compiles it, whose canvas may change from step to step: no size becomes a symbol."""
    model, graphs = head().eval(), 0

    def count(graph, inputs):
        nonlocal graphs
        graphs += 1
        return graph.forward

    compiled = torch.compile(model, backend=count, dynamic=False)
    for size in ((64, 96), (32, 64), (96, 128), (64, 96)):
        found, expected = compiled(features(size), Context(size)), model(features(size), Context(size))
        assert torch.equal(found.class_logits, expected.class_logits)
        torch.testing.assert_close(found.anchors, expected.anchors)
    assert graphs == 3


def test_compiles_to_one_graph_and_exports():
    torch.manual_seed(0)
    model, x = DetectionHead(8, 3, DetectionOptions(levels=LEVELS, repeats=1)).eval(), features()
    expected = model(x, Context((64, 96)))
    out = torch.compile(model, backend="eager", fullgraph=True)(x, Context((64, 96)))
    assert torch.equal(out.class_logits, expected.class_logits)
    torch.testing.assert_close(out.anchors, expected.anchors)

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = model

        def forward(self, x):
            out = self.head(x, Context((64, 96)))
            return out.class_logits, out.box_deltas, out.anchors

    logits, deltas, anchors = torch.export.export(Flat(), (x,)).module()(x)
    torch.testing.assert_close(logits, expected.class_logits)
    torch.testing.assert_close(deltas, expected.box_deltas)
    assert torch.equal(anchors, expected.anchors)
    assert torch.equal(
        model(x, Context((64, 96))).anchors, expected.anchors
    )  # nothing of the recording stayed in the cache


def test_bad_arguments():
    with pytest.raises(UserError, match="num_classes of a detection head must be at least 1, got 0"):
        DetectionHead(8, 0)
    with pytest.raises(UserError, match="distinct names"):
        DetectionHead(8, 1, DetectionOptions(levels=("P3", "P3")))
    with pytest.raises(UserError, match="there is no P5 among P3, P4"):
        head()({name: value for name, value in features().items() if name != "P5"}, Context((64, 96)))
