"""A head from outside of the package passes the same tester as ours, and learns what CenterNet learns."""

from __future__ import annotations

import math

import pytest
import torch

import effdet
from effdet.model import ModelSpec, build, spec_for
from heads.protocol import Context, Head
from heads.structures import ClassTable, Targets, UserError
from tests.model.test_heads import labels
from tests.model_tester import HeadTests
from tests.plugins.centre_head import CentreHead

TARGET = "tests.plugins.centre_head.CentreHead"
HERE = Context((64, 96))


class TestCentre(HeadTests):
    head = "centre"

    def spec(self) -> ModelSpec:
        return spec_for(
            phi=-4,
            num_classes=3,
            image_size=64,
            heads={"centre": {"_target_": TARGET, "width": 16}},
            backbone_options={"drop_path": 0.0},
        )

    def targets(self, batch: int, height: int, width: int) -> Targets:
        return labels(batch, height, width)


def head(**options) -> CentreHead:
    return CentreHead({"P3": 8}, 3, **options)


def perfect(requested: Targets) -> torch.Tensor:
    """(1, 7, 8, 12): the output that says exactly the boxes of `requested`, worked out box by box."""
    output = torch.full((1, 7, 8, 12), -20.0)
    output[:, 3:] = 0
    assert requested.boxes is not None and requested.labels is not None
    for (x1, y1, x2, y2), label in zip(requested.boxes[0].tolist(), requested.labels[0].tolist(), strict=True):
        if label < 0:
            continue
        x, y = (x1 + x2) / 16, (y1 + y2) / 16
        column, row = int(x), int(y)
        output[0, label, row, column] = 20.0
        output[0, 3:, row, column] = torch.tensor(
            [x - column, y - row, math.log((x2 - x1) / 8), math.log((y2 - y1) / 8)]
        )
    return output


def test_it_is_a_head():
    assert isinstance(head(), Head)


def test_a_perfect_output_has_no_loss_and_predicts_the_boxes():
    goal = labels(1, 64, 96)
    output = perfect(goal)
    assert sum(head().loss(output, goal, HERE).values()).item() == pytest.approx(0, abs=1e-4)  # type: ignore[union-attr]
    found = head(score_threshold=0.5).predict(output, HERE)
    assert goal.boxes is not None and found.counts.tolist() == [2]
    order = found.labels[0, :2].argsort()
    torch.testing.assert_close(found.boxes[0, :2][order], goal.boxes[0, [1, 0]], atol=1e-3, rtol=0)
    assert found.labels[0, 2:].eq(-1).all() and found.scores[0, 2:].eq(0).all()


def test_the_losses_by_hand():
    """One box of 16 x 24 pixels about the middle of cell (4, 2), and an output of zeros."""
    goal = Targets(boxes=torch.tensor([[[28.0, 8.0, 44.0, 32.0]]]), labels=torch.tensor([[1]]))
    terms = head().loss(torch.zeros(1, 7, 8, 12), goal, HERE)
    assert terms["offset"].item() == pytest.approx(0.5 + 0.5)
    assert terms["size"].item() == pytest.approx(0.1 * (math.log(2) + math.log(3)))
    heat = 0.0
    for label in range(3):
        for row in range(8):
            for column in range(12):
                warm = math.exp(-((column - 4) ** 2) / (2 * (1 / 3) ** 2) - (row - 2) ** 2 / (2 * (1 / 3) ** 2))
                weight = 1.0 if (label, row, column) == (1, 2, 4) else (1 - warm * (label == 1)) ** 4
                heat += weight * 0.25 * math.log(2)
    assert terms["heat"].item() == pytest.approx(heat, rel=1e-5)


def test_images_that_are_not_labelled_with_boxes_teach_nothing():
    goal = labels(2, 64, 96)
    partly = Targets(boxes=goal.boxes, labels=goal.labels, has_boxes=torch.tensor([True, False]))
    output = torch.randn(2, 7, 8, 12)
    one = head().loss(output[:1], labels(1, 64, 96), HERE)
    for name, value in head().loss(output, partly, HERE).items():
        assert value.item() == pytest.approx(one[name].item(), rel=1e-5)


def test_it_learns_two_images():
    torch.manual_seed(0)
    model = build(TestCentre().spec())
    images, goal = torch.randn(2, 3, 64, 96), labels(2, 64, 96)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first = last = float("nan")
    for number in range(60):
        optimizer.zero_grad()
        loss = torch.stack(list(model.loss(model(images), goal, Context.of(images)).values())).sum()
        loss.backward()
        optimizer.step()
        first, last = (loss.item(), loss.item()) if number == 0 else (first, loss.item())
    assert last < first / 5
    found = model.predict(model(images), Context.of(images))["centre"]
    best = found.boxes[0, :2][found.labels[0, :2].argsort()]
    assert goal.boxes is not None and found.labels[0, :2].sort().values.tolist() == [0, 1]
    torch.testing.assert_close(best, goal.boxes[0, [1, 0]], atol=6.0, rtol=0)


def test_beside_a_head_of_ours():
    heads = {"detection": {"repeats": 1}, "centre": {"_target_": TARGET, "in_levels": ["P4"]}}
    spec = spec_for(backbone="b0", num_classes=3, image_size=64, heads=heads)
    assert list(spec.heads) == ["detection", "centre"] and spec.neck is not None and spec.neck.outputs is None
    assert spec.heads["detection"].options["repeats"] == 1 and spec.heads["centre"].target == TARGET
    outputs = build(spec).eval()(torch.randn(1, 3, 64, 96))
    assert outputs["centre"].shape == (1, 7, 4, 6) and outputs["detection"].class_logits.shape[2] == 3


def test_alone_the_neck_gives_only_what_it_reads():
    spec = TestCentre().spec()
    assert spec.neck is not None and spec.neck.levels == ("P3", "P4", "P5", "P6", "P7") and spec.neck.outputs == ("P3",)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"_target_": "tests.plugins.centre_head.CenterHead"}, "did you mean CentreHead"),
        ({"_target_": TARGET, "withd": 3}, "takes no argument withd; did you mean width?"),
        (
            {"_target_": TARGET, "in_levels": ["P3", "P4"]},
            r"in_levels=\['P3', 'P4'\] of a centre head must be one level",
        ),
        ({"_target_": TARGET, "in_levels": ["C9"]}, "C9"),
        ({"_target_": "torch.nn.Identity"}, "torch.nn.Identity does not say which levels it reads"),
        ({"_target_": TARGET, "kit": "boxes"}, "head.centre.kit='boxes' must be a mapping with a _target_"),
    ],
)
def test_mistakes_are_one_line(options, text):
    with pytest.raises(UserError, match=text) as caught:
        build(spec_for(backbone="b0", num_classes=3, image_size=64, heads={"centre": options}))
    assert "\n" not in str(caught.value)


def test_classes_must_be_known():
    with pytest.raises(UserError, match="num_classes of head 'centre' is not known"):
        spec_for(backbone="b0", heads={"centre": {"_target_": TARGET}})


def test_a_file_that_names_a_class_is_not_trusted(tmp_path):
    model = build(TestCentre().spec())
    effdet.save(model, tmp_path / "m.safetensors")
    with pytest.raises(UserError, match=rf"imports {TARGET}.*trust=true"):
        effdet.load(tmp_path / "m.safetensors")
    with pytest.raises(UserError, match="trust=true"):
        effdet.Predictor(tmp_path / "m.safetensors")
    predict = effdet.Predictor(tmp_path / "m.safetensors", trust=True)
    assert list(predict.model.heads) == ["centre"]  # type: ignore[arg-type]


def test_other_classes_keep_the_rows_of_the_same_name(tmp_path):
    old, new = (
        build(
            spec_for(
                phi=-4,
                classes={"centre": ClassTable.of(names)},
                image_size=64,
                heads={"centre": {"_target_": TARGET, "width": 16}},
            )
        )
        for names in (["car", "person"], ["person", "bus", "car"])
    )
    effdet.save(old, tmp_path / "m.safetensors")
    fresh = new.get_parameter("heads.centre.heat.weight")[1].clone()
    report = effdet.load_weights(new, tmp_path / "m.safetensors")
    assert "heads.centre.heat" in str(report)
    theirs, ours = (model.get_parameter("heads.centre.heat.weight") for model in (old, new))
    assert torch.equal(ours[0], theirs[1]) and torch.equal(ours[2], theirs[0]) and torch.equal(ours[1], fresh)


def test_a_detector_with_a_head_from_outside_has_its_backbones_name():
    heads = {"detection": {"_target_": TARGET}}
    assert spec_for(backbone="b1", heads=heads, num_classes=3).name == "tf_efficientnet_b1"
    assert spec_for(task="detection", backbone="b1").name == "tf_efficientdet_d1"
