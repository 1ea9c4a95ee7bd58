"""Statistics put back where a file has its BatchNorms folded away: the same function in evaluation and in training mode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import backbones
from backbones.layers import ConvNormAct
from effdet.model import VisionModel, build, fold, spec_for
from effdet.necks.pyramid import Fusion
from effdet.weights import create_model, load, load_weights, save
from effdet.weights.folded import shared_over_levels
from effdet.weights.statistics import generated, restore_statistics
from heads.structures import UserError
from tests.weights.theirs import from_ours


def trained(name: str = "tf_efficientdet_lite0", **options) -> VisionModel:
    """A network with the statistics of some images, as training leaves one, and with biases."""
    torch.manual_seed(1)
    model = build(spec_for(name, image_size=64, **options))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the average over all that it sees
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_(0, 0.3)
    with torch.no_grad():
        model.train()(pixels(4, seed=3))
    return model.eval()


def pixels(count: int, *, seed: int) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def answer(model: VisionModel, *, training: bool = False) -> torch.Tensor:
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        output = model.train(training)(pixels(8, seed=4))["detection"].class_logits
    model.load_state_dict(state)
    model.eval()
    return output


def folded_identities(model: VisionModel) -> dict[str, torch.Tensor]:
    """The state of the same function with every BatchNorm an identity with a bias, the rest in the convolution before it."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    for name, layer in model.named_modules():
        if isinstance(layer, ConvNormAct):
            variance = layer.norm.get_buffer("running_var")
            gain = layer.norm.weight / (variance + layer.norm.eps).sqrt()
            state[f"{name}.conv.weight"] *= gain.detach().view(-1, 1, 1, 1)
            state[f"{name}.norm.bias"] -= (gain * layer.norm.running_mean).detach()
            state[f"{name}.norm.weight"].fill_(1)
            state[f"{name}.norm.running_mean"].zero_()
            state[f"{name}.norm.running_var"].fill_(1 - layer.norm.eps)
    return state


def test_one_norm_by_hand() -> None:
    """Inputs 1, 3 and 5, 5: mean 2 and 5, variance 1 and 0; s = 2 / sqrt(0.75 + 0.25) = 2, b = 7 and -1."""
    norm = nn.BatchNorm2d(2, eps=0.25)
    norm.weight.data = torch.tensor([2.0, 2.0])
    norm.bias.data = torch.tensor([7.0, -1.0])
    norm.running_var.fill_(0.75)
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0]]).view(2, 2, 1, 1)
    net = nn.Sequential(norm)
    assert restore_statistics(net, {"0": norm}, [x[:1], x[1:]]) == 2
    assert norm.running_mean.tolist() == [2, 5]
    assert norm.running_var.tolist() == pytest.approx([1, 0], abs=1e-5)
    assert norm.weight.tolist() == pytest.approx([2 * 1.25**0.5, 2 * 0.5], rel=1e-5)
    assert norm.bias.tolist() == pytest.approx([7 + 2 * 2, -1 + 2 * 5])
    assert net.training and torch.allclose(norm.eval()(x), 2 * x + torch.tensor([7.0, -1.0]).view(1, 2, 1, 1))


def test_identities_of_any_file_get_statistics_and_evaluation_stays() -> None:
    source = trained()
    state = folded_identities(source)
    target = build(spec_for("tf_efficientdet_lite0", image_size=64))
    report = load_weights(target, state, conventions="model", images=[np.zeros((80, 64, 3), np.uint8)] * 3)
    assert "were measured on 3 images of yours" in str(report)
    assert set(report.without_statistics) == {
        f"{name}.norm" for name, layer in source.named_modules() if isinstance(layer, ConvNormAct)
    }
    difference = (answer(target) - answer(source)).abs().max() / answer(source).abs().max()
    assert difference < 1e-4
    stem = target.backbone.stem.norm
    assert stem.running_mean.any() and (stem.running_var != stem.running_var[0]).any()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tf_efficientdet_lite0", {}),
        ("tf_efficientdet_d0", {"neck": {"repeats": 1}}),
        (
            "tf_efficientdet_d0",
            {"neck": {"repeats": 1, "fusion": "softmax"}, "heads": {"detection": {"separable": False}}},
        ),
    ],
    ids=["lite0", "d0", "softmax, full convolutions"],
)
def test_our_own_folded_models_come_back(name: str, options: dict) -> None:
    """`fold(model).state_dict()`: no BatchNorm, a convolution for each level in the heads, constant shares in the neck."""
    source = trained(name, **options)
    for layer in source.modules():
        if isinstance(layer, Fusion) and layer.weights is not None:
            layer.weights.data.uniform_(0.2, 1.5)
    state = fold(source).state_dict()
    assert not any("norm" in key for key in state)
    target = build(spec_for(name, image_size=64, **options))
    report = load_weights(target, state, conventions="model")
    assert report.complete and "8 generated images" in report.measured
    assert "head weights solved back from levels" in str(report)
    assert len(report.without_statistics) == sum(isinstance(layer, nn.BatchNorm2d) for layer in source.modules())
    before, after = answer(source), answer(target)
    assert (after - before).abs().max() / before.abs().max() < 1e-4


def test_a_folded_classifier_of_another_framework_comes_back() -> None:
    """Layers as `torch.nn.utils.fusion.fuse_conv_bn_eval` makes them: a bias at each convolution, no BatchNorm."""
    source = trained("tf_efficientnet_lite0")
    state = dict(source.state_dict())
    for name, layer in source.named_modules():
        if isinstance(layer, ConvNormAct):
            conv = torch.nn.utils.fusion.fuse_conv_bn_eval(layer.conv, layer.norm)
            state |= {f"{name}.conv.weight": conv.weight, f"{name}.conv.bias": conv.bias}
            for leaf in layer.norm.state_dict():
                del state[f"{name}.norm.{leaf}"]
    theirs = from_ours(state, "timm", source.spec.backbone)
    assert "bn1.weight" not in theirs and "conv_stem.bias" in theirs
    target = build(spec_for("tf_efficientnet_lite0", image_size=64))
    report = load_weights(target, theirs, conventions="model")
    assert report.complete and len(report.without_statistics) > 40
    with torch.no_grad():
        images = pixels(2, seed=5)
        ours, own = target.eval()(images)["classification"], source(images)["classification"]
    assert torch.allclose(ours, own, atol=1e-4 * float(own.abs().max()))
    net = backbones.create("lite0")
    report = load_weights(net, theirs, conventions="model")
    assert report.scope == "backbone" and net.stem.norm.running_mean.any()


def test_files_with_statistics_and_fresh_networks_stay_bit_by_bit() -> None:
    for source in (trained(), build(spec_for("tf_efficientdet_lite0", image_size=64))):
        target = build(spec_for("tf_efficientdet_lite0", image_size=64))
        report = load_weights(target, source.state_dict())
        assert not report.without_statistics and "statistics" not in str(report)
        ours = target.state_dict()
        assert all(torch.equal(value, ours[key]) for key, value in source.state_dict().items())


def test_what_describes_itself_is_opened_bit_by_bit(tmp_path: Path) -> None:
    model = build(spec_for("tf_efficientdet_lite0", image_size=64))
    model.load_state_dict(folded_identities(trained()))
    again = load(save(model, tmp_path / "old.safetensors")).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())


def test_the_same_images_give_the_same_statistics(tmp_path: Path) -> None:
    """As arrays, as files and as PIL images, read once and only where they are needed."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 255, (50, 70, 3), dtype=np.uint8) for _ in range(3)]
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{number}.png")
    kinds = (arrays, [tmp_path / f"{number}.png" for number in range(3)], [Image.fromarray(array) for array in arrays])
    state, states = folded_identities(trained()), []
    for images in kinds:
        target = build(spec_for("tf_efficientdet_lite0", image_size=64))
        load_weights(target, state, conventions="model", images=images)
        states.append(target.state_dict()["backbone.stages.3.0.expand.norm.running_mean"])
    assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])

    def unread():
        raise AssertionError("read for nothing")

    load_weights(build(spec_for("tf_efficientdet_lite0", image_size=64)), trained().state_dict(), images=unread)


@pytest.mark.parametrize(
    ("images", "text"),
    [([], "gave no image"), ([np.zeros((4, 4), np.uint8)], r"uint8 of shape \(4, 4\); give paths"), ([3], "got a int")],
)
def test_images_that_are_none(images: list, text: str) -> None:
    model = build(spec_for("tf_efficientdet_lite0", image_size=64))
    with pytest.raises(UserError, match=text):
        load_weights(model, folded_identities(trained()), conventions="model", images=images)


def test_the_packages_own_images() -> None:
    images = generated((96, 128))
    assert len(images) == 8 and {image.shape for image in images} == {(96, 128, 3)}
    assert all(np.array_equal(one, two) for one, two in zip(images, generated((96, 128)), strict=True))
    assert generated((1280, 640))[0].shape == (640, 320, 3)


def test_shared_weights_and_gains_of_levels() -> None:
    rng = torch.Generator().manual_seed(0)
    weights, gains = torch.randn(5, 7, generator=rng), torch.rand(5, 3, generator=rng) + 0.1
    gains /= gains.mean(1, keepdim=True)
    shared, gamma, misfit = shared_over_levels(gains[:, :, None] * weights[:, None])
    assert misfit < 1e-6
    assert torch.allclose(shared.float(), weights, atol=1e-5) and torch.allclose(gamma.float(), gains, atol=1e-5)
    shared, gamma, _ = shared_over_levels(torch.zeros(1, 3, 7))
    assert not shared.any() and gamma.tolist() == [[1, 1, 1]]


def test_a_model_by_name_takes_images_too() -> None:
    with pytest.raises(UserError, match="gave no image"):
        create_model(
            "tf_efficientdet_lite0",
            image_size=64,
            weights=folded_identities(trained()),
            conventions="model",
            images=[],
        )
