"""Loading: scope, carried classes, conventions; every misfit is an error that says so and leaves the model as it was."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import backbones
from backbones.layers import Conv2d
from effdet.model import VisionModel, build, spec_for
from effdet.weights import WeightsError, class_table, create_model, load_weights
from effdet.weights.layouts import Wiring
from effdet.weights.loading import MisfitError
from heads.protocol import Context
from heads.structures import ClassTable, Targets
from tests.weights.theirs import effdet_from_ours, from_ours

DETECTOR = "tf_efficientdet_lite0"
CLASS_ROWS = "heads.detection.class_net.predict.pointwise.weight"


def detector(name: str = DETECTOR, *, seed: int = 0, **options) -> VisionModel:
    torch.manual_seed(seed)
    model = build(spec_for(name, image_size=64, **options))
    for layer in model.modules():  # statistics that a fresh model's are not
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.get_buffer("running_mean").normal_(0, 0.1)
            layer.get_buffer("running_var").uniform_(0.5, 1.5)
    return model.eval()


def peer_state(model: VisionModel, *, level_first: bool = False) -> dict[str, torch.Tensor]:
    """The weights under the names of the ``effdet`` distribution."""
    assert model.spec.neck is not None
    wiring = Wiring(
        model.spec.neck.kind,
        model.spec.neck.levels,
        model.spec.neck.repeats,
        int(model.spec.heads["detection"].options["repeats"]),
        level_first,
    )
    return effdet_from_ours(model.state_dict(), wiring, model.spec.backbone)


def answer(model: VisionModel) -> torch.Tensor:
    torch.manual_seed(9)
    with torch.inference_mode():
        output = model(torch.randn(1, 3, 64, 96))["detection"]
    return torch.cat([output.class_logits.flatten(), output.box_deltas.flatten()])


@pytest.mark.parametrize("level_first", [False, True])
def test_both_head_orders_of_effdet_files(level_first: bool) -> None:
    source, target = detector(seed=1), detector(seed=2)
    state = peer_state(source, level_first=level_first)
    assert ("class_net.bn_rep.0.0.bn.weight" in state) is not level_first
    report = load_weights(target, state, conventions="model")
    assert report.complete and report.layout == "effdet" and report.scope == "model"
    assert torch.equal(answer(source), answer(target))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_files_of_effdets_training_script(prefix: str, tmp_path: Path) -> None:
    source, target = detector(seed=1), detector(seed=2)
    average = {prefix + key: value for key, value in peer_state(source).items()}
    zeros = {key: torch.zeros_like(value) for key, value in average.items()}
    path = tmp_path / "tf_efficientdet_lite0_mine.pth.tar"
    torch.save({"epoch": 3, "state_dict": zeros, "state_dict_ema": average}, path)
    report = load_weights(target, path)
    assert torch.equal(answer(source), answer(target))
    assert "tf_efficientdet_lite0, by checksum or file name" in report.conventions
    assert "averaged" in str(report)


@pytest.mark.parametrize(("source_bias", "target_bias"), [(True, False), (False, True)])
def test_biases_before_a_norm_come_and_go_without_changing_the_answer(source_bias: bool, target_bias: bool) -> None:
    def made(bias: bool, seed: int) -> VisionModel:
        heads = {"detection": {"redundant_bias": bias}}
        return detector(seed=seed, neck={"redundant_bias": bias}, heads=heads)

    source, target = made(source_bias, 1), made(target_bias, 2)
    for name, parameter in source.named_parameters():
        if name.endswith(".bias"):
            parameter.data.normal_(0, 0.3)
    report = load_weights(target, peer_state(source), conventions="model")
    assert torch.allclose(answer(source), answer(target), atol=1e-4, rtol=1e-4)
    assert any("BatchNorm follows" in note for note in report.notes)


def test_a_classifier_fills_a_detectors_backbone_and_the_rest_is_expected_left_over() -> None:
    classifier = build(spec_for("tf_efficientnet_lite0"))
    model = detector()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = load_weights(model, from_ours(classifier.state_dict(), "timm", classifier.spec.backbone), conventions="tf")
    assert report.complete and report.scope == "backbone"
    assert all(key.startswith("heads.classification.") for key in report.expected_left_over)
    for key, value in model.state_dict().items():
        source = classifier.state_dict() if key.startswith("backbone.") else before
        assert torch.equal(value, source[key]), key
    # Pixels belong to the backbone: mean and deviation follow it, the detector's resize stays.
    assert model.preprocess.mean == (0.485, 0.456, 0.406) and model.preprocess.resize == "letterbox"
    assert model.preprocess.fill == (124, 116, 104)


def test_a_bare_backbone_takes_the_backbone_of_any_file() -> None:
    source = detector(seed=1)
    net = backbones.create("lite0")
    report = load_weights(net, peer_state(source), conventions="model")
    assert report.complete and report.scope == "backbone" and len(report.expected_left_over) > 100
    assert torch.equal(net.stem.conv.weight, source.backbone.stem.conv.weight)
    again = load_weights(net, source.backbone.state_dict())
    assert again.complete and again.layout == "ours"


def test_rows_are_carried_over_by_class_name() -> None:
    source = create_model(DETECTOR, classes=class_table("coco90"), image_size=64)
    torch.nn.init.normal_(source.get_parameter(CLASS_ROWS.replace("weight", "bias")))
    target = create_model(DETECTOR, classes=ClassTable.of(["unicorn", "Traffic_Light", "person"]), image_size=64)
    report = load_weights(target, peer_state(source), conventions="google/efficientdet-lite0")
    (carried,) = report.carried_over
    assert carried.taken == ("Traffic_Light", "person") and carried.fresh == ("unicorn",)
    assert report.complete and "2 of 3 classes; fresh: unicorn" in str(report)
    theirs = source.get_parameter(CLASS_ROWS).reshape(9, 90, -1)
    ours = target.get_parameter(CLASS_ROWS).reshape(9, 3, -1)
    assert torch.equal(ours[:, 1], theirs[:, 9]) and torch.equal(
        ours[:, 2], theirs[:, 0]
    )  # channel = anchor * K + class
    bias = target.get_parameter(CLASS_ROWS.replace("weight", "bias")).reshape(9, 3)
    assert not ours[:, 0].any() and torch.allclose(bias[:, 0].sigmoid(), torch.tensor(0.01))
    box = CLASS_ROWS.replace("class_net", "box_net")
    assert torch.equal(target.get_parameter(box), source.get_parameter(box))
    assert target.classes["detection"].names == ("unicorn", "Traffic_Light", "person")


def test_classes_that_only_count_carry_nothing_into_another_number() -> None:
    target = create_model(DETECTOR, num_classes=5, image_size=64)
    report = load_weights(target, peer_state(detector()), conventions="google/efficientdet-lite0")
    assert report.complete and report.carried_over[0].taken == ()
    assert not target.get_parameter(CLASS_ROWS).any()


@pytest.mark.parametrize(
    ("classes", "taken"), [(["unicorn"], 0), (["person", "griffin", "unicorn"], 1)], ids=["all new", "two new"]
)
@pytest.mark.parametrize("objects", [0, 1, 60])
def test_rows_of_new_classes_start_at_the_focal_prior(classes: list[str], taken: int, objects: int) -> None:
    """Whatever was carried over: here the depthwise part before them answers a hundred times too loud."""
    source = create_model(DETECTOR, classes=class_table("coco90"), image_size=64)
    source.get_parameter("heads.detection.class_net.predict.depthwise.weight").data.mul_(100)
    target = create_model(DETECTOR, classes=ClassTable.of(classes), image_size=64)
    report = load_weights(target, peer_state(source), conventions="google/efficientdet-lite0")
    assert len(report.carried_over[0].taken) == taken
    head, images = target.heads["detection"], torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        output = target.train()(images)["detection"]
    output = replace(output, class_logits=output.class_logits[..., taken:])  # the new ones
    corner = torch.rand(2, objects, 2) * 32
    boxes = torch.cat([corner, corner + 8 + torch.rand(2, objects, 2) * 24], 2)
    labels = torch.randint(0, len(classes) - taken, (2, objects))
    context = Context((64, 64))
    positives = int((head.match(output, boxes, labels, context).index >= 0).sum())
    entries = output.class_logits.numel()
    # Focal loss at p = 0.01, alpha 0.25, gamma 1.5: alpha (1 - p)^1.5 ln(1 / p) and (1 - alpha) p^1.5 ln(1 / (1 - p)).
    prior = positives * 0.25 * 0.99**1.5 * math.log(100) - (entries - positives) * 0.75 * 0.01**1.5 * math.log(0.99)
    loss = head.loss(output, Targets(boxes=boxes, labels=labels), context)["class"]
    assert float(loss) == pytest.approx(prior / max(positives, 1), rel=1e-4)


def test_a_model_that_only_counts_gets_the_files_class_names() -> None:
    model = detector()
    assert bool(model.get_buffer("heads.detection.named_classes").all())
    load_weights(model, peer_state(detector(seed=1)), conventions="google/efficientdet-lite0")
    assert model.classes["detection"] == class_table("coco90")
    assert int(model.get_buffer("heads.detection.named_classes").sum()) == 80


def test_conventions_are_applied_and_said() -> None:
    plain = build(spec_for("efficientnet_b0")).eval()
    model = build(spec_for("tf_efficientnet_b0")).eval()
    report = load_weights(
        model, from_ours(plain.state_dict(), "timm", plain.spec.backbone), conventions="efficientnet_b0.ra_in1k"
    )
    assert "backbone padding: same -> symmetric" in report.changes
    assert "backbone norm_eps: 0.001 -> 1e-05" in report.changes
    assert {layer.padding_rule for layer in model.backbone.modules() if isinstance(layer, Conv2d)} == {"symmetric"}
    assert {layer.eps for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)} == {1e-5}
    assert model.spec.backbone.padding == model.spec.heads["classification"].options["padding"] == "symmetric"
    images = torch.randn(2, 3, 64, 80)
    with torch.inference_mode():
        assert torch.equal(model(images)["classification"], plain(images)["classification"])
    again = load_weights(
        model, from_ours(plain.state_dict(), "timm", plain.spec.backbone), conventions="efficientnet_b0.ra_in1k"
    )
    assert again.changes == ()


def test_open_conventions_are_an_error_that_lists_the_candidates() -> None:
    """A classifier's file in a detector that was built from parts: nothing says whose it is."""
    classifier = build(spec_for("tf_efficientnet_b0"))
    model = build(spec_for(task="detection", backbone="b0", num_classes=2, image_size=64))
    state = from_ours(classifier.state_dict(), "timm", classifier.spec.backbone)
    with pytest.raises(WeightsError, match="conventions are open") as caught:
        load_weights(model, state)
    text = str(caught.value)
    assert "tf_efficientnet_b0.ap_in1k (same padding, eps 0.001, mean 0.5)" in text
    assert "efficientnet_b0.ra_in1k (symmetric padding, eps 1e-05, mean 0.485)" in text and "\n" not in text
    for stated in ("tf", "model", {"padding": "same", "mean": [0.5, 0.5, 0.5]}):
        assert load_weights(model, state, conventions=stated).complete
    with pytest.raises(ValueError, match="conventions='tensorflow' are unknown"):
        load_weights(model, state, conventions="tensorflow")
    with pytest.raises(ValueError, match="conventions\\.pading is not a setting"):
        load_weights(model, state, conventions={"pading": "same"})


@pytest.mark.parametrize(
    ("name", "taken", "padding", "mean"),
    [
        ("tf_efficientnet_b0", "tf_efficientnet_b0.ns_jft_in1k", "same", 0.485),
        ("b0", "tf_efficientnet_b0.ns_jft_in1k", "same", 0.485),
        ("efficientnet_b0", "efficientnet_b0.ra_in1k", "symmetric", 0.485),
    ],
)
def test_a_published_name_states_the_conventions_of_a_bare_state_dict(
    name: str, taken: str, padding: str, mean: float
) -> None:
    source = build(spec_for(name))
    state = from_ours(source.state_dict(), "timm", source.spec.backbone)
    for target in (create_model(name), create_model(name, backbone_options={"padding": "symmetric"})):
        report = load_weights(target, state)
        assert report.complete and f"{taken}, the published name under which the model was created" in str(report)
        assert target.spec.backbone.padding == padding and target.preprocess.mean[0] == mean
    net = backbones.create(name)
    report = load_weights(net, state)
    assert report.conventions == f"{taken}, the published name under which the model was created"
    assert net.spec.padding == padding


@pytest.mark.parametrize(
    ("name", "mean"), [("tf_efficientdet_d0", 0.485), ("tf_efficientdet_d0_ap", 0.5), ("efficientdet_d0", 0.485)]
)
def test_a_published_detectors_name_states_them_too(name: str, mean: float) -> None:
    source = build(spec_for(name, image_size=64))
    model = create_model(name, image_size=64)
    report = load_weights(model, peer_state(source, level_first=False))
    assert f"{name}, the published name" in report.conventions and model.preprocess.mean[0] == mean
    assert model.classes["detection"] == class_table("coco90")
    # A file with redundant biases is none of efficientdet_d0's.
    if name == "efficientdet_d0":
        other = peer_state(build(spec_for("tf_efficientdet_d0", image_size=64)))
        with pytest.raises(WeightsError, match="conventions are open"):
            load_weights(model, other)


@pytest.mark.parametrize(
    "name", ["efficientdet_lite2", "tf_efficientdet_d0", "d0", "efficientdet_d0", "tf_efficientdet_d0_ap"]
)
def test_a_published_detectors_name_knows_cocos_classes(name: str) -> None:
    for options in ({}, {"num_classes": 90}):
        model = create_model(name, image_size=64, **options)
        assert model.classes["detection"] == class_table("coco90")
        assert int(model.get_buffer("heads.detection.named_classes").sum()) == 80
    assert create_model(name, image_size=64, num_classes=3).classes["detection"] == ClassTable.unnamed(3)
    own = ClassTable.of([f"thing {number}" for number in range(90)])
    assert create_model(name, image_size=64, classes=own).classes["detection"] == own


def test_a_file_that_has_other_classes_than_its_name_says(tmp_path: Path) -> None:
    """Somebody's fine-tuned weights under a published name: their rows are not COCO's."""
    source = detector(seed=1, num_classes=3)
    path = tmp_path / "tf_efficientdet_lite0-mine.pth"
    torch.save(peer_state(source), path)
    target = create_model(DETECTOR, classes=ClassTable.of(["person", "car"]), image_size=64)
    report = load_weights(target, path)
    (carried,) = report.carried_over
    assert carried.taken == () and carried.fresh == ("person", "car")
    assert "has 3 classes in the file, not the 90 of its conventions" in str(report)
    target = create_model(DETECTOR, classes=ClassTable.of(["person", "car", "dog"]), image_size=64)
    report = load_weights(target, path)
    assert not report.carried_over and "3 rows were taken in the model's order" in str(report)
    assert torch.equal(target.get_parameter(CLASS_ROWS), source.get_parameter(CLASS_ROWS))


def test_a_file_for_another_model() -> None:
    model = detector()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(MisfitError, match="it is for another model; strict=false") as caught:
        load_weights(model, peer_state(build(spec_for("tf_efficientdet_lite1"))), conventions="tf")
    assert caught.value.report.changed_shape and "\n" not in str(caught.value)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.preprocess.mean == (0.5, 0.5, 0.5)  # nothing of the conventions came either
    with pytest.raises(WeightsError, match="of no layout that can be read"):
        load_weights(model, {"layer1.0.conv1.weight": torch.zeros(3)})
    with pytest.raises(ValueError, match="only BiFPN and Quad-FPN"):
        load_weights(
            model, {"class_net.predict.conv_pw.weight": torch.zeros(3), "fpn.cell.0.fnode.0.x": torch.zeros(1)}
        )


def test_one_tensor_of_another_shape_or_missing_or_to_spare() -> None:
    model = detector()
    state = peer_state(detector(seed=1))
    wrong = state | {"backbone.conv_stem.weight": torch.zeros(32, 3, 5, 5)}
    with pytest.raises(
        MisfitError, match=r"backbone\.stem\.conv\.weight has shape \[32, 3, 5, 5\] in the file and \[32, 3, 3, 3\]"
    ):
        load_weights(model, wrong, conventions="model")
    short = {key: value for key, value in state.items() if key != "backbone.bn1.bias"}
    with pytest.raises(MisfitError, match=r"1 tensors are missing in the file \(backbone\.stem\.norm\.bias\)"):
        load_weights(model, short, conventions="model")
    with pytest.raises(MisfitError, match=r"1 tensors are left over \(extra\.weight\)"):
        load_weights(model, state | {"extra.weight": torch.zeros(1)}, conventions="model")
    report = load_weights(model, wrong, strict=False, conventions="model")
    assert not report.complete and len(report.matched) == len(model.state_dict()) - 1


def test_narrow_levels_load_into_a_wider_neck_where_they_agree() -> None:
    source = detector(seed=1, neck={"repeats": 2})
    levels = ("P2", "P3", "P4", "P5", "P6", "P7")
    heads = {"detection": {"levels": list(levels[1:])}}
    wide = detector(seed=2, neck={"levels": levels, "repeats": 2}, heads=heads)
    report = load_weights(wide, peer_state(source), conventions="model")
    assert report.fresh, "what the file can't have must be reported"
    assert not report.missing and not report.left_over and not report.changed_shape
    assert all(".P2." in key or ".out.P3." in key or ".P3." in key for key in report.fresh)
    for level in ("P4", "P7"):
        key = f"neck.cells.0.out.{level}.conv.depthwise.weight"
        assert torch.equal(wide.state_dict()[key], source.state_dict()[key])


def test_names_and_paths_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFDET_OFFLINE", "1")
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path))
    model = detector()
    with pytest.raises(ValueError, match="best.pth does not exist"):
        load_weights(model, tmp_path / "best.pth")
    with pytest.raises(ValueError, match="is neither a file nor the name of weights"):
        load_weights(model, "tf_efficientdet_lite9")
    with pytest.raises(ValueError, match="EFFDET_OFFLINE"):
        load_weights(model, "tf_efficientdet_lite0")


def test_timms_config_beside_a_file_resolves_its_conventions(tmp_path: Path) -> None:
    model = build(spec_for("tf_efficientnet_lite0"))
    save_file(from_ours(model.state_dict(), "timm", model.spec.backbone), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(
        '{"architecture": "efficientnet_lite0", "pretrained_cfg": {"tag": "ra_in1k", "mean": [0.4, 0.4, 0.4]}}'
    )
    report = load_weights(model, tmp_path / "model.safetensors")
    assert report.conventions == "efficientnet_lite0.ra_in1k, by its config.json"
    assert model.spec.backbone.padding == "symmetric" and model.preprocess.mean == (0.485, 0.456, 0.406)
