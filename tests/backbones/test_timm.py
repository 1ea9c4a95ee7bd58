"""timm's networks as backbones: the contract of :mod:`backbones.protocol`, and timm's own numbers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from backbones.protocol import check_backbone
from backbones.spec import ExternalSpec, backbone_from_dict
from backbones.timm import TimmBackbone
from effdet.model.fold import fold_norm

timm = pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["convnext_atto", "resnet10t", "mobilenetv3_small_050", "efficientvit_b0", "vgg11",
                                  "swin_tiny_patch4_window7_224", "mambaout_femto"])  # fmt: skip
def test_maps_are_as_the_protocol_says_at_an_odd_size(name):
    with torch.device("meta"):
        backbone = TimmBackbone(name)
        check_backbone(name, backbone, (65, 131))
    assert set(backbone.strides) >= {4, 8, 16, 32} and min(backbone.strides) >= 2


def test_at_a_multiple_of_32_the_maps_are_timms_own():
    backbone = TimmBackbone("convnext_atto").eval()
    peer = timm.create_model("convnext_atto", features_only=True).eval()
    peer.load_state_dict(backbone.net.state_dict())
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for ours, theirs in zip(backbone(images), peer(images), strict=True):
            assert torch.equal(ours, theirs)


def test_preprocessing_is_that_of_timms_weights():
    backbone = TimmBackbone("mobilevit_xxs")
    assert (backbone.mean, backbone.std, backbone.image_size) == ((0, 0, 0), (1, 1, 1), 256)
    assert backbone.sources["hf_hub_id"] == "timm/mobilevit_xxs.cvnets_in1k"


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "efficientvit_b0", "densenet121"])
def test_folding_changes_no_map(name):
    torch.manual_seed(0)
    backbone = TimmBackbone(name).eval()
    norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.1)
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.5, 2)
    folded = copy.deepcopy(backbone)
    folded.fold(fold_norm)
    left = sum(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert left == (62 if name == "densenet121" else 0) < len(norms)  # a densenet also normalises before convolutions
    images = torch.randn(1, 3, 70, 100)
    with torch.no_grad():
        for ours, theirs in zip(folded(images), backbone(images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize(
    "name", ["convnext_atto", "resnet10t", "mobilenetv3_small_050", "mvitv2_tiny", "hrnet_w18_small"]
)
def test_tensors_of_timms_whole_network_are_found(name):
    with torch.device("meta"):
        backbone, whole = TimmBackbone(name), timm.create_model(name)
    found = [own for key in whole.state_dict() if (own := backbone.own_key(key)) is not None]
    assert len(found) == len(set(found)) and set(found) == set(backbone.state_dict())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convnext_ato", "did you mean convnext_atto"),
        ("resnet18.none", "resnet18.a1_in1k"),
        ("hf-hub:someone/model", "no network"),
        ("vit_tiny_patch16_224", "strides 16, 16, 16 and none at 8"),
        ("levit_128s", "strides 16, 32, 64 and none at 8"),
        ("coatnet_0_rw_224", "takes no image of 72 x 100"),
    ],
)
def test_refusals_are_one_line(name, message):
    with pytest.raises(ValueError, match=message) as caught, torch.device("meta"):
        check_backbone(name, TimmBackbone(name))
    assert "\n" not in str(caught.value)


def test_an_option_that_the_network_lacks_is_named():
    with pytest.raises(ValueError, match="cannot build resnet10t as a backbone: .*widths"):
        TimmBackbone("resnet10t", options={"widths": 3})


def test_gradient_checkpointing_is_timms_or_refused():
    backbone = TimmBackbone("resnet10t")
    assert not backbone.grad_checkpointing
    backbone.grad_checkpointing = True
    assert backbone.grad_checkpointing
    backbone.train()(torch.randn(2, 3, 64, 64))[-1].sum().backward()
    with pytest.raises(ValueError, match="mvitv2_tiny doesn't offer it"), torch.device("meta"):
        TimmBackbone("mvitv2_tiny").grad_checkpointing = True


def test_spec_round_trip():
    spec = ExternalSpec("timm", "convnext_atto", {"drop_path": 0.1})
    assert backbone_from_dict(spec.to_dict()) == spec
    with pytest.raises(ValueError, match="kind must be timm or target"):
        backbone_from_dict({"kind": "other", "name": "x"})


class Wrong(nn.Module):
    def __init__(self, strides, channels):
        super().__init__()
        self.strides, self.channels = strides, channels

    def forward(self, images):
        return [images.new_zeros(1, 5, -(-images.shape[2] // s), -(-images.shape[3] // s)) for s in self.strides]


@pytest.mark.parametrize(
    ("strides", "channels", "message"),
    [
        ((8, 16), (5, 5), "none at 32"),
        ((8, 16, 32, 64), (5, 5, 5, 5), "some of 2, 4, 8, 16, 32"),
        ((8, 16, 32), (5, 5), "2 channels for 3 strides"),
        ((8, 16, 32), (5, 5, 6), "its channels and strides say"),
    ],
)
def test_a_backbone_that_says_what_it_does_not_do_is_refused(strides, channels, message):
    with pytest.raises(ValueError, match=message):
        check_backbone("own", Wrong(strides, channels))


class Named(Wrong):
    def forward(self, images):
        return dict(zip("abc", super().forward(images), strict=True))


def test_maps_are_a_list():
    with pytest.raises(
        ValueError, match="backbone own gives a dict; it must give a list of tensors, one for each stride"
    ):
        check_backbone("own", Named((8, 16, 32), (5, 5, 5)))
