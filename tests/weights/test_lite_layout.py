"""Google's EfficientDet-Lite files of every size, written here as the real ones are laid out, load whatever their checksum."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from effdet.model import VisionModel, build, spec_for
from effdet.weights import class_table, create_model, load, load_weights
from effdet.weights.rows import BYTE_PIXELS
from effdet.weights.statistics import generated, restore_statistics
from heads.structures import ClassTable
from tests.weights.lite_file import write_lite

ROOTS = [[1.0, 1.0], [2**0.5, 0.5**0.5], [0.5**0.5, 2**0.5]]


def network(number: int, size: int, **options) -> VisionModel:
    """A small canvas and some statistics; Google's anchors."""
    torch.manual_seed(number)
    heads = {"detection": {"anchors": {"aspects": ROOTS}}}
    model = build(spec_for(f"tf_efficientdet_lite{number}", image_size=size, heads=heads, **options))
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.data.uniform_(0.7, 1.3)
            layer.bias.data.normal_(0, 0.1)
    norms = {name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.BatchNorm2d)}
    for layer in norms.values():
        layer.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(4, 3, size, size))
    return model.eval()


def answers(model: VisionModel) -> torch.Tensor:
    torch.manual_seed(5)
    with torch.no_grad():
        return model.eval()(torch.randn(2, 3, 64, 64))["detection"].class_logits


@pytest.mark.parametrize(
    "number", [0, 2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_a_file_of_any_size_brings_googles_conventions(number: int, tmp_path: Path) -> None:
    source = network(number, 64)
    path = write_lite(tmp_path / "mine.tflite", source, number, int8=False)
    model = create_model(f"efficientdet_lite{number}", weights=path)
    pixels = model.preprocess
    assert (pixels.resize, pixels.interpolation, pixels.fill) == ("stretch", "bilinear", (128, 128, 128))
    assert pixels.mean == pytest.approx(BYTE_PIXELS[0]) and pixels.std == pytest.approx(BYTE_PIXELS[1])
    assert pixels.size == (64, 64)
    assert model.spec.backbone.padding == "same" and model.spec.backbone.norm_eps == 1e-3
    assert model.classes["detection"] == class_table("coco90")
    assert (answers(model) - answers(source)).abs().max() < 0.02 * answers(source).std()
    path = write_lite(tmp_path / "mine.tflite", source, number)
    report = load_weights(build(spec_for(f"tf_efficientdet_lite{number}", num_classes=4, image_size=64)), path)
    assert report.complete and f"EfficientDet-Lite{number}, Google’s, by the layout of the file" in str(report)
    again = load(path)
    assert again.spec.name == f"tf_efficientdet_lite{number}" and again.classes["detection"] == class_table("coco90")


def test_a_file_of_other_classes_names_them_itself(tmp_path: Path) -> None:
    """As transfer learning with Google's tools writes it: three rows, and a label file; its name says nothing of COCO."""
    source = network(0, 64, num_classes=3)
    path = write_lite(tmp_path / "efficientdet-lite0.tflite", source, 0, labels=["Sofa", "raccoon", "???"])
    model = load(path)
    assert model.classes["detection"] == ClassTable(("Sofa", "raccoon", None), (1, 2, None))
    assert model.heads["detection"].named_classes.tolist() == [True, True, False]
    target = create_model("tf_efficientdet_lite0", classes=ClassTable.of(["couch", "unicorn"]), image_size=64)
    (carried,) = load_weights(target, path).carried_over
    assert (carried.taken, carried.fresh) == (("couch",), ("unicorn",))
    bare = write_lite(tmp_path / "efficientdet-lite0.tflite", source, 0)
    report = load_weights(build(spec_for("tf_efficientdet_lite0", num_classes=3, image_size=64)), bare)
    assert report.complete and not report.carried_over  # three rows of unknown names into three


def test_what_was_folded_has_statistics_again(tmp_path: Path) -> None:
    path = write_lite(tmp_path / "a.tflite", network(0, 64), 0)
    model = build(spec_for("tf_efficientdet_lite0", image_size=64))
    report = load_weights(model, path, images=generated((64, 64))[:4])
    norms = {name for name, layer in model.named_modules() if isinstance(layer, torch.nn.BatchNorm2d)}
    assert set(report.without_statistics) == norms and "4 images of yours" in report.measured
    assert restore_statistics(model, {}, []) == 0
