"""Models around networks of timm and classes of a user's own."""

from __future__ import annotations

import json
import re

import pytest
import torch
from torch import nn

from backbones.scaling import phi_spec
from backbones.spec import ExternalSpec
from effdet import plugins
from effdet.model import ModelSpec, build, count_macs, fold, spec_for
from effdet.model.external import build_backbone, survey
from effdet.scaling import BACKBONE_GMACS, nearest_phi
from effdet.training.optimizers import layer_depths
from effdet.weights import load, load_weights, save
from effdet.weights.names import suitable
from heads.errors import UserError

timm = pytest.importorskip("timm")
RESNET = ExternalSpec("timm", "resnet10t")


class Own(nn.Module):
    """A backbone of a user's own, without a map at stride 4."""

    strides = (8, 16, 32)

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.channels = (width, 2 * width, 4 * width)
        self.stem = nn.Conv2d(3, width, 8, 8)
        self.blocks = nn.ModuleList(nn.Conv2d(n * width, 2 * n * width, 3, 2, 1) for n in (1, 2))

    def forward(self, images):
        height, width = images.shape[2:]
        maps = [self.stem(nn.functional.pad(images, (0, -width % 8, 0, -height % 8)))]
        for block in self.blocks:
            maps.append(block(maps[-1]).relu())
        return maps


OWN = ExternalSpec("target", "Own", {"_target_": f"{__name__}.Own", "width": 16})


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """pytest's importlib mode gives this module a name that nothing else can import."""
    monkeypatch.setattr(plugins, "locate", lambda target: {"Own": Own}[target.rpartition(".")[2]])


@pytest.mark.slow
def test_multiply_adds_of_the_scaling_are_those_that_the_counter_counts():
    for phi, gmacs in BACKBONE_GMACS.items():
        spec = phi_spec(phi)
        with torch.device("meta"):
            counted = count_macs(build_backbone(spec).eval(), torch.empty(1, 3, spec.image_size, spec.image_size))
        assert counted / 1e9 == pytest.approx(gmacs, abs=6e-4)


def test_the_scaling_is_the_nearest_in_multiply_adds():
    assert [nearest_phi(gmacs) for gmacs in (0.0, 0.364, 0.48, 0.5, 4.1, 999)] == [-4, 0, 0, 1, 4, 6]
    found = survey(RESNET)
    with torch.device("meta"):
        peer = timm.create_model("resnet10t", features_only=True)
        assert found.gmacs == pytest.approx(count_macs(peer, torch.empty(1, 3, 176, 176)) / 1e9, rel=0.05)
    assert found.phi == 1 and re.search(r"0\.68 GMACs at 176 px .* phi=1, .*88 channels, 4 cells.*640 px", str(found))
    spec = spec_for(task="detection", backbone=RESNET, num_classes=3)
    assert (spec.neck.channels, spec.neck.repeats, spec.preprocess.size) == (88, 4, (640, 640))


@pytest.mark.parametrize("task", ["detection", "segmentation", "driving", "classification", "embedding"])
def test_every_task_has_a_model_that_describes_itself(task):
    torch.manual_seed(0)
    spec = spec_for(task=task, backbone=RESNET, num_classes=3, image_size=64)
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    model = build(spec).eval()
    images = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        outputs, folded = model(images), fold(model)(images)
    for name, output in outputs.items():
        first, second = (x if isinstance(x, torch.Tensor) else x.class_logits for x in (output, folded[name]))
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_pixels_are_those_of_timms_weights():
    spec = spec_for(task="detection", backbone=ExternalSpec("timm", "mobilevit_xxs"), num_classes=3)
    assert (spec.preprocess.mean, spec.preprocess.std, spec.preprocess.fill) == ((0, 0, 0), (1, 1, 1), (0, 0, 0))
    assert spec.preprocess.resize == "letterbox"


def test_a_level_that_the_backbone_lacks_is_one_line():
    assert set(spec_for(task="detection", backbone=OWN, num_classes=3).neck.levels) == {"P3", "P4", "P5", "P6", "P7"}
    with pytest.raises(UserError, match=r"Own has maps for C3, C4, C5 and none for C2 \(stride 4\)"):
        spec_for(task="segmentation", backbone=OWN, num_classes=3)
    with pytest.raises(UserError, match="backbone.attention: backbone resnet10t is not ours"):
        spec_for(task="detection", backbone=RESNET, backbone_options={"attention": "eca"})


def test_describing_a_model_draws_no_random_number():
    before = torch.get_rng_state()
    survey(ExternalSpec("target", "Own", {"_target_": f"{__name__}.Own", "width": 24}))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("backbone", [RESNET, OWN], ids=["timm", "own"])
def test_a_saved_model_is_loaded_by_itself_and_needs_trust_for_a_class_of_ones_own(backbone, tmp_path):
    torch.manual_seed(0)
    model = build(spec_for(task="detection", backbone=backbone, num_classes=3, image_size=64)).eval()
    path = save(model, tmp_path / "m.safetensors")
    if backbone is OWN:
        with pytest.raises(UserError, match=r"imports .*Own, and importing runs code.*trust=true") as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ") and "again" not in str(caught.value)  # no key names it there
    again = load(path, trust=backbone is OWN)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(images)["detection"].class_logits, model(images)["detection"].class_logits)


def test_a_file_of_timms_whole_network_fills_the_backbone(tmp_path):
    from safetensors.torch import save_file

    whole = timm.create_model("resnet10t").eval()
    save_file(whole.state_dict(), tmp_path / "model.safetensors")
    model = build(spec_for(task="detection", backbone=RESNET, num_classes=3, image_size=64)).eval()
    report = load_weights(model, tmp_path / "model.safetensors")
    assert (report.layout, report.scope, report.complete) == ("timm", "backbone", True)
    assert set(report.expected_left_over) == {"fc.weight", "fc.bias"}
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model.backbone(images)[-1], whole.forward_features(images))
    bare = build_backbone(RESNET)
    load_weights(bare, tmp_path / "model.safetensors")
    assert torch.equal(bare.net.conv1[0].weight, whole.conv1[0].weight)
    state = whole.state_dict()
    del state["layer1.0.conv1.weight"]
    with pytest.raises(UserError, match=r"1 tensors are missing in the file \(backbone.net.layer1.0.conv1.weight\)"):
        load_weights(model, state)
    with pytest.raises(UserError, match="keys .* are not those of the backbone, a TimmBackbone"):
        load_weights(model, {"something.else": torch.zeros(2)})


def test_a_config_beside_the_file_says_its_pixels(tmp_path):
    from safetensors.torch import save_file

    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "model.safetensors")
    half = [0.5, 0.5, 0.5]
    values = {"architecture": "resnet10t", "pretrained_cfg": {"mean": half, "std": half}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    model = build(spec_for(task="detection", backbone=RESNET, num_classes=3, image_size=64))
    load_weights(model, tmp_path / "model.safetensors")
    assert model.preprocess.mean == (0.5, 0.5, 0.5) and model.preprocess.fill == (128, 128, 128)


def test_timm_says_where_its_weights_are():
    spec = spec_for(task="detection", backbone=RESNET, num_classes=3)
    (row,) = suitable(spec)
    assert str(row.hub_file) == "timm/resnet10t.c3_in1k/model.safetensors" and row.licence == "apache-2.0"
    assert suitable(spec_for(task="detection", backbone=OWN, num_classes=3)) == ()


def test_layers_of_the_optimiser_are_blocks():
    with torch.device("meta"):
        names = [f"backbone.{name}" for name, _ in build_backbone(ExternalSpec("timm", "resnet18")).named_parameters()]
    depths = layer_depths(names)
    assert set(depths.values()) == set(range(1, 10))  # four stages of two blocks, and the stem
    assert depths["backbone.net.conv1.weight"] == depths["backbone.net.bn1.bias"] == 9
    assert depths["backbone.net.layer4.1.conv2.weight"] == 1 and depths["backbone.net.layer1.0.conv1.weight"] == 8
