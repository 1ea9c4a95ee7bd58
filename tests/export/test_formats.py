"""Every format that is installed: written, opened in its own runtime, and equal to the model it came from."""

import importlib.util

import numpy as np
import pytest
import torch

from effdet import Predictor
from effdet.export import FORMATS, ExportSettings, export_model
from effdet.inference.runtime_model import RuntimeModel
from effdet.streets import scene
from heads.protocol import Context
from tests.export.conftest import SCORE

FILES = [
    ("onnx", {"nms": True, "batch_size": None}),
    ("openvino", {}),
    ("torch_export", {"nms": True, "batch_size": None}),
    ("torchscript", {"nms": True, "batch_size": None}),
    ("torchscript", {"precision": "fp16", "batch_size": 2, "normalise": False}),
    pytest.param("onnx", {}, marks=pytest.mark.slow),
    pytest.param("openvino", {"nms": True}, marks=pytest.mark.slow),
    pytest.param("onnx", {"precision": "fp16", "nms": True}, marks=pytest.mark.slow),
    pytest.param("openvino", {"precision": "fp16"}, marks=pytest.mark.slow),
    pytest.param("openvino", {"precision": "bf16"}, marks=pytest.mark.slow),
    pytest.param("torch_export", {"precision": "bf16"}, marks=pytest.mark.slow),
    pytest.param("executorch", {}, marks=pytest.mark.slow),
]


def exported(model, images, directory, settings, **options):
    for package in settings.kind.packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: extra {settings.kind.extra}")
    path = directory / f"small{settings.kind.suffix}"
    return path, export_model(model, path, settings, images=images, postprocess=SCORE, **options)


@pytest.mark.parametrize(("name", "options"), FILES, ids=str)
def test_a_file_predicts_what_its_model_does(name, options, model, images, tmp_path):
    settings = ExportSettings(format=name, **options)
    path, report = exported(model, images, tmp_path, settings)
    assert not report.failed
    opened = RuntimeModel.open(path, threads=1)
    assert opened.spec == model.spec
    assert (opened.info.nms, opened.info.batch) == (settings.nms, settings.batch_size)
    streets = [scene(1, "val", index, (80, 100)).image for index in range(3)]
    close = {"fp32": 1e-3, "fp16": 0.05, "bf16": 0.5}[settings.precision]
    for own, other in zip(Predictor(model, **SCORE)(streets), Predictor(path)(streets), strict=True):
        assert len(own) > 0
        if settings.precision == "fp32":
            assert own.names == other.names
        count = min(len(own), len(other), 3)
        assert other.scores[:count] == pytest.approx(own.scores[:count], abs=close)
    left = {file.suffix for file in tmp_path.iterdir()}
    assert left == {".xml", ".bin"} if name == "openvino" else {settings.kind.suffix}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if kind.any_size])
def test_any_size_and_any_batch(name, model, images, tmp_path):
    settings = ExportSettings(format=name, nms=True, batch_size=None, dynamic_size=True)
    path, _ = exported(model, images, tmp_path, settings)
    opened = RuntimeModel.open(path)
    for batch, height, width in ((1, 64, 96), (3, 72, 128), (1, 65, 191), (2, 33, 32)):
        pixels = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
        own = model.predict(model(model.preprocess.normalise(pixels)), Context.of(pixels))["detection"]
        found = opened.predict(opened(pixels), Context.of(pixels))["detection"]
        keep = own.scores[:, :5] >= SCORE["score_threshold"]
        assert keep.any()
        torch.testing.assert_close(found.boxes[:, :5][keep], own.boxes[:, :5][keep], atol=1e-2, rtol=1e-4)
        assert torch.equal(found.labels[:, :5][keep], own.labels[:, :5][keep])


@pytest.mark.parametrize("name", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_int8_is_smaller_and_still_detects(name, model, images, tmp_path):
    settings = ExportSettings(format=name, precision="int8")
    path, report = exported(model, images, tmp_path, settings, calibration=images)
    assert report["agreement"] >= 0.9
    assert report["logit"] > 1e-4  # it is not the float file
    if name == "onnx":
        import onnx

        types = [node.op_type for node in onnx.load(path).graph.node]
        assert types.count("DequantizeLinear") > types.count("Conv")
    assert np.isfinite(report["box"])
