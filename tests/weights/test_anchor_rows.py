"""Detection heads whose anchors are not the file's: the rows of the best anchor, and boxes that stay where they were."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import effdet
from effdet.model import VisionModel, build, spec_for
from effdet.weights import create_model, load_weights
from effdet.weights.anchor_rows import box_rows, class_rows, match_anchors
from effdet.weights.loading import MisfitError
from heads.detection import AnchorSpec, anchors
from heads.detection.boxes import box_iou, decode
from heads.structures import ClassTable
from tests.weights.lite_file import write_lite
from tests.weights.test_lite_layout import network
from tests.weights.test_loading import peer_state

Save = Callable[[VisionModel], Path]
NINE = AnchorSpec()
CLASSES = ClassTable.of(["car", "person", "tree"])


def model(classes: ClassTable = CLASSES, *, seed: int = 0, separable: bool = True, **spec: Any) -> VisionModel:
    """A detector with a head of random weights, whose outputs differ anchor by anchor."""
    torch.manual_seed(seed)
    head = {"separable": separable, "anchors": spec}
    made = build(spec_for(task="detection", phi=-4, classes=classes, image_size=64, heads={"detection": head})).eval()
    for net in ("class_net", "box_net"):
        last = getattr(made.heads["detection"], net).last
        last.weight.data.normal_(0, 0.05)
        last.bias.data.normal_(0, 0.3)
    return made


def outputs(made: VisionModel) -> tuple[Tensor, Tensor]:
    """Class logits (B, cells, anchors, K) and decoded boxes (B, cells, anchors, 4) of an image that is not square."""
    torch.manual_seed(7)
    with torch.no_grad():
        out = made.eval()(torch.randn(2, 3, 64, 96))["detection"]
    each = made.heads["detection"].anchor_spec.per_cell
    return out.class_logits.unflatten(1, (-1, each)), decode(out.anchors, out.box_deltas).unflatten(1, (-1, each))


def nearest(target: AnchorSpec, source: AnchorSpec) -> list[int]:
    """By the anchors of a grid of one cell and the matcher's IoU."""
    grids = [anchors([(1, 1)], (8, 8), AnchorSpec(_one(spec.scale), spec.scales_per_octave, spec.aspects))
             for spec in (target, source)]  # fmt: skip
    return box_iou(*grids).argmax(1).tolist()


def _one(scale: Any) -> float:
    return scale[0] if isinstance(scale, tuple) else scale


TARGETS = {
    "one": AnchorSpec(4.0, 1, (1.0,)),
    "one, in the middle of the octave": AnchorSpec(4.0 * 2 ** (1 / 3), 1, (1.0,)),
    "one, of another size": AnchorSpec(5.5, 1, (1.0,)),
    "one size, three shapes": AnchorSpec(4.0, 1, NINE.aspects),
    "three sizes, one shape": AnchorSpec(4.0, 3, (1.0,)),
    "two sizes, two shapes, another scale": AnchorSpec(3.0, 2, ((2.0, 0.5), 0.5)),
    "nine, of another size": AnchorSpec(6.0),
    "nine, of other shapes": AnchorSpec(4.0, 3, (1.0, 2.0, 0.5)),
    "nine, in another order": AnchorSpec(4.0, 3, NINE.aspects[::-1]),
    "a scale for each level": AnchorSpec((6.0,) * 5, 1, (1.0,)),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("separable", [True, False], ids=["separable", "plain"])
def test_every_anchor_answers_as_the_files_nearest(target: AnchorSpec, separable: bool, saved: Save) -> None:
    source = model(seed=1, separable=separable)
    ours = model(seed=2, separable=separable, scale=target.scale, scales_per_octave=target.scales_per_octave,
                 aspects=target.aspects)  # fmt: skip
    taken = nearest(target, NINE)
    report = load_weights(ours, saved(source))
    assert report.complete and not report.carried_over and len(report.anchors) == 1
    assert f"  anchors        {target.per_cell} a cell from the file's 9: " in str(report)
    for (theirs, mine), tolerance in zip(zip(outputs(source), outputs(ours), strict=True), (1e-5, 1e-3), strict=True):
        assert torch.allclose(mine, theirs[:, :, taken], rtol=1e-4, atol=tolerance)  # boxes: pixels of a 96 px image
    assert ours.heads["detection"].anchor_spec.per_cell == target.per_cell


@pytest.fixture
def saved(tmp_path: Path) -> Save:
    """Writes a model to a file that describes itself."""
    return lambda source: effdet.save(source, tmp_path / "source.safetensors")


def test_by_hand() -> None:
    """One anchor of 8 strides from the file's of 4 and 4 * 2**(1/3) and 4 * 2**(2/3): twice the first, taken from the last."""
    (match,) = match_anchors(AnchorSpec(8.0, 1, (1.0,)), AnchorSpec(4.0, 3, (1.0,)), levels=5)
    side = 4 * 2 ** (2 / 3)
    assert (
        match.source == 2 and match.iou == pytest.approx(side**2 / 64) and match.ratio == pytest.approx((side / 8,) * 2)
    )
    rows = box_rows(torch.arange(12.0), [match], bias=True)  # three anchors of four
    assert rows.tolist() == pytest.approx(
        [8 * side / 8, 9 * side / 8, 10 + math.log(side / 8), 11 + math.log(side / 8)]
    )
    wide = match_anchors(AnchorSpec(4.0, 1, ((2.0, 0.5),)), AnchorSpec(4.0, 1, (1.0,)), levels=1)
    assert box_rows(torch.ones(4, 2), wide, bias=False).tolist() == [[2.0, 2.0], [0.5, 0.5], [1.0, 1.0], [1.0, 1.0]]
    classes = class_rows(torch.arange(6.0)[:, None], [match], 3)  # anchor * 2 + class
    assert classes.tolist() == [[4.0], [5.0]]


def test_the_same_anchors_change_nothing(saved: Save) -> None:
    source, ours = (
        model(seed=1),
        model(seed=2, scale=4.0, scales_per_octave=3, aspects=[[1.0, 1.0], [1.4, 0.7], [0.7, 1.4]]),
    )
    report = load_weights(ours, saved(source))
    assert report.anchors == () and "anchors " not in str(report)
    for key, value in source.state_dict().items():
        assert torch.equal(value, ours.state_dict()[key]), key


def test_one_anchor_of_another_size_keeps_its_boxes(saved: Save) -> None:
    one = {"scales_per_octave": 1, "aspects": [1.0]}
    source, ours = model(seed=1, **one), model(seed=2, scale=7.0, **one)
    load_weights(ours, saved(source))
    assert torch.allclose(outputs(ours)[1], outputs(source)[1], rtol=1e-4, atol=1e-3)
    back = model(seed=3, **one)
    load_weights(back, saved(ours))
    head = "heads.detection.box_net.predict.pointwise.weight"
    assert torch.allclose(back.get_parameter(head), source.get_parameter(head), rtol=1e-6)


def test_from_one_to_nine_all_have_its_box(saved: Save) -> None:
    source, ours = model(seed=1, scales_per_octave=1, aspects=[1.0]), model(seed=2)
    load_weights(ours, saved(source))
    assert torch.allclose(outputs(ours)[1], outputs(source)[1].expand(-1, -1, 9, -1), rtol=1e-4, atol=1e-3)


def test_scales_that_differ_by_level_are_met_by_their_mean_and_said(saved: Save) -> None:
    scales = (2.0, 4.0, 4.0, 4.0, 8.0)
    source, ours = model(seed=1), model(seed=2, scale=scales, scales_per_octave=1, aspects=[1.0])
    report = load_weights(ours, saved(source))
    assert any("another ratio on each level" in note for note in report.notes)
    cells = [8 * 12, 4 * 6, 2 * 3, 1 * 2, 1 * 1]
    (_, boxes), (_, theirs) = outputs(ours), outputs(source)
    levels = zip(boxes.split(cells, 1), theirs.split(cells, 1), strict=True)
    equal = [torch.allclose(mine, other[:, :, :1], rtol=1e-4, atol=1e-3) for mine, other in levels]
    assert equal == [False, True, True, True, False]  # the geometric mean of the scales is 4


def test_class_rows_go_by_name_and_anchor_together(saved: Save) -> None:
    source = model(seed=1)
    ours = model(ClassTable.of(["unicorn", "Tree", "car", "person"]), seed=2, scales_per_octave=1, aspects=[1.0])
    report = load_weights(ours, saved(source))
    (carried,) = report.carried_over
    assert carried.taken == ("Tree", "car", "person") and carried.fresh == ("unicorn",) and report.complete
    logits, theirs = outputs(ours)[0], outputs(source)[0]
    assert torch.allclose(logits[:, :, 0, 1:], theirs[:, :, 0, [2, 0, 1]], atol=1e-5)
    assert torch.allclose(logits[..., 0].sigmoid(), torch.tensor(0.01))


@pytest.mark.parametrize(
    "stated", ["google/efficientdet-lite0", "tf_efficientdet_lite0", "model", "tf", {"mean": [0.5] * 3}]
)
def test_files_of_the_older_effdet(stated: Any) -> None:
    """Its files say nothing of anchors: they are those of the published network."""
    torch.manual_seed(1)
    source = build(spec_for("tf_efficientdet_lite0", image_size=64))
    bias = source.heads["detection"].box_net.last.bias
    bias.data.normal_()
    one = {"detection": {"anchors": {"scale": 6.0, "scales_per_octave": 1, "aspects": [1.0]}}}
    ours = build(spec_for("tf_efficientdet_lite0", image_size=64, heads=one))
    report = load_weights(ours, peer_state(source), conventions=stated)
    assert report.complete
    assert "1 a cell from the file's 9: 6.00 x 6.00 strides by the rows of 4.76 x 4.76 (IoU 0.63)" in str(report)
    ratio = 2 ** (2 / 3) / 2
    expected = bias.view(9, 4)[6] * torch.tensor([ratio, ratio, 1, 1]) + torch.tensor([0, 0, 1, 1]) * math.log(ratio)
    assert torch.allclose(ours.heads["detection"].box_net.last.bias, expected)


def test_conventions_model_are_the_models_own_anchors_where_it_has_as_many() -> None:
    """The way to load rows as they are, of somebody's own training with other anchors."""
    source = build(spec_for("tf_efficientdet_lite0", image_size=64))
    source.heads["detection"].box_net.last.bias.data.normal_()
    other = {"detection": {"anchors": {"scale": 6.0}}}
    for stated, same in (("model", True), ({"anchors": {"scale": 6.0}}, True), ("tf", False)):
        ours = build(spec_for("tf_efficientdet_lite0", image_size=64, heads=other))
        report = load_weights(ours, peer_state(source), conventions=stated)
        assert (report.anchors == ()) is same
        assert (
            torch.equal(ours.heads["detection"].box_net.last.bias, source.heads["detection"].box_net.last.bias) is same
        )


def test_googles_files_bring_their_shapes_but_not_over_the_users(tmp_path: Path) -> None:
    source = network(0, 64)
    path = write_lite(tmp_path / "mine.tflite", source, 0, int8=False)
    published = create_model("tf_efficientdet_lite0", weights=path)
    assert published.heads["detection"].anchor_spec == source.heads["detection"].anchor_spec
    bias = published.heads["detection"].box_net.last.bias.view(9, 4)

    def loaded(**spec: Any) -> VisionModel:
        return create_model("tf_efficientdet_lite0", weights=path, heads={"detection": {"anchors": spec}})

    one = loaded(scales_per_octave=1, aspects=[1.0])
    assert one.heads["detection"].anchor_spec == AnchorSpec(3.0, 1, ((1.0, 1.0),))
    assert torch.equal(one.heads["detection"].box_net.last.bias, bias[0])
    larger = loaded(scale=6.0).heads["detection"]
    assert larger.anchor_spec.factors == source.heads["detection"].anchor_spec.factors
    assert not torch.allclose(larger.box_net.last.bias.view(9, 4), bias)
    own = loaded(aspects=[[1.0, 1.0], [3.0, 1.0]]).heads["detection"]
    assert own.anchor_spec.factors == ((1.0, 1.0), (3.0, 1.0))


def test_rows_of_unknown_anchors_fit_only_as_many() -> None:
    """A bare state dict under our names says nothing."""
    source = model(seed=1)
    with pytest.raises(MisfitError, match=r"box_net\.predict\.pointwise\.\w+ has shape \[36"):
        load_weights(model(scales_per_octave=1, aspects=[1.0]), source.state_dict())
    report = load_weights(ours := model(scale=6.0), source.state_dict())
    assert report.anchors == () and torch.equal(outputs(ours)[0], outputs(source)[0])


def test_a_file_with_other_anchors_than_its_conventions_say() -> None:
    source = model(seed=1, scales_per_octave=1, aspects=[1.0])
    stated = {"anchors": {"scale": 4.0}}
    report = load_weights(model(scale=6.0, scales_per_octave=1, aspects=[1.0]), source.state_dict(), conventions=stated)
    assert any("1 anchors a cell in the file, not the 9 of its conventions" in note for note in report.notes)


def test_half_precision_files() -> None:
    source = model(seed=1)
    halves = {key: value.half() if value.is_floating_point() else value for key, value in source.state_dict().items()}
    ours = model(seed=2, scale=6.0, scales_per_octave=1, aspects=[1.0])
    load_weights(ours, halves, conventions={"anchors": {"scale": 4.0}})
    assert ours.heads["detection"].box_net.last.weight.dtype == torch.float32
    assert torch.allclose(outputs(ours)[1], outputs(source)[1][:, :, 6:7], rtol=0.02, atol=1)


ONE = {"scales_per_octave": 1, "aspects": [1.0]}


def with_bins(bins: int | None, *, seed: int, **spec: Any) -> VisionModel:
    torch.manual_seed(seed)
    head = {"bins": bins, "anchors": spec}
    made = build(spec_for(task="detection", phi=-4, classes=CLASSES, image_size=64, heads={"detection": head})).eval()
    made.heads["detection"].box_net.last.weight.data.normal_(0, 0.05)
    made.heads["detection"].class_net.last.weight.data.normal_(0, 0.05)
    return made


@pytest.mark.parametrize(
    ("theirs", "mine"), [(None, 9), (9, None), (9, 17)], ids=["deltas to bins", "bins to deltas", "other bins"]
)
def test_boxes_in_another_form_start_at_the_anchor(theirs: int | None, mine: int | None, saved: Save) -> None:
    source, ours = with_bins(theirs, seed=1), with_bins(mine, seed=2, **ONE)
    report = load_weights(ours, saved(source))
    assert report.complete and "1 a cell from the file's 9" in report.anchors[0]
    assert [key.rsplit(".", 1)[1] for key in report.fresh] == ["bias", "weight"]
    assert any("their last layer is fresh" in note for note in report.notes)
    assert torch.allclose(outputs(ours)[0], outputs(source)[0][:, :, :1], atol=1e-5)  # classes are as in the file
    with torch.no_grad():
        out = ours(torch.randn(1, 3, 64, 64))["detection"]
    assert out.box_deltas.abs().max() < 1e-5
    for key, value in source.state_dict().items():
        assert torch.equal(value, ours.state_dict()[key]) or ".predict.pointwise." in key, key


def test_distributions_go_over_to_fewer_anchors(saved: Save) -> None:
    source = with_bins(9, seed=1)
    same, larger = with_bins(9, seed=2, **ONE), with_bins(9, seed=3, scale=8.0, **ONE)
    assert not load_weights(same, saved(source)).notes
    assert torch.allclose(outputs(same)[1], outputs(source)[1][:, :, :1], rtol=1e-4, atol=1e-3)
    notes = load_weights(larger, saved(source)).notes
    assert any("cannot be converted to anchors of other sizes" in note for note in notes)
    with torch.no_grad():
        bins = [made(torch.ones(1, 3, 64, 64))["detection"].box_bins for made in (source, larger)]
    assert torch.allclose(bins[1], bins[0][:, 6::9], atol=1e-4)  # the anchor of 4 * 2**(2/3) strides
    again = with_bins(9, seed=4)
    report = load_weights(again, saved(source))
    assert report.anchors == report.fresh == report.notes == ()
