"""An exported file as a model, with a runtime that answers what it is reported to."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from backbones.spec import ExternalSpec
from effdet.inference import Predictor, runtime_model
from effdet.inference.exported import ExportInfo
from effdet.inference.runtime_model import RuntimeModel, predict_function
from effdet.inference.runtimes import is_exported, open_runtime
from effdet.model import HeadSpec, spec_for
from effdet.tasks.detection import ANCHORS, DETECTIONS
from heads.protocol import Context
from heads.structures import ClassTable, Detections, UserError

SPEC = spec_for(task="detection", phi=-4, classes=ClassTable(("car", None, "bus"), (3, None, 6)), image_size=(32, 64))


def info(**changes) -> ExportInfo:
    values = {"precision": "fp32", "nms": False, "normalise": True, "batch": None, "dynamic_size": False}
    values |= {"postprocess": {"score_threshold": 0.1, "max_detections": 3}, **changes}
    return ExportInfo(spec=SPEC, outputs=DETECTIONS if values["nms"] else ANCHORS, **values)


class FakeRuntime:
    """Two anchors, the second twice as likely a bus as its image is bright."""

    def __init__(self, **changes) -> None:
        self.info = info(**changes)
        self.seen = []

    def __call__(self, images):
        self.seen.append((images.shape, images.dtype))
        batch = len(images)
        boxes = np.tile(np.array([[0, 0, 10, 10], [20, 5, 40, 25]], np.float32), (batch, 1, 1))
        if self.info.nms:
            scores = np.tile(np.array([[0.9, 0.2, 0.0]], np.float32), (batch, 1))
            labels = np.tile(np.array([[2, 0, -1]]), (batch, 1))
            return {
                "boxes": np.concatenate([boxes, boxes[:, :1] * 0], 1),
                "scores": scores,
                "labels": labels,
                "counts": np.full(batch, 2),
            }
        logits = np.full((batch, 2, 3), -9.0, np.float32)
        logits[:, :, 1] = 9.0  # the class without a name
        logits[:, 1, 2] = images.reshape(batch, -1).mean(1) / 100
        return {"class_logits": logits, "boxes": boxes}


def test_a_description_survives_its_json():
    first = info(nms=True, precision="int8", batch=4)
    assert ExportInfo.from_json(first.to_json(), source="x") == first
    with pytest.raises(UserError, match="does not say what model it holds"):
        ExportInfo.from_json(None, source="x.onnx")
    with pytest.raises(UserError, match="version 9"):
        ExportInfo.from_json(first.to_json().replace('"version": 1', '"version": 9'), source="x")


def test_detections_come_from_decoded_boxes():
    model = RuntimeModel(FakeRuntime())
    pixels = torch.stack([torch.full((3, 32, 64), 100, dtype=torch.uint8), torch.zeros((3, 32, 64), dtype=torch.uint8)])
    found = model.predict(model(model.preprocess.normalise(pixels)), Context.of(pixels))["detection"]
    assert found.counts.tolist() == [1, 1]
    assert found.labels[:, 0].tolist() == [2, 2]
    assert found.boxes[0, 0].tolist() == [20, 5, 40, 25]
    assert found.scores[:, 0].tolist() == pytest.approx([1 / (1 + np.exp(-1)), 0.5])


@pytest.mark.parametrize(("batch", "calls"), [(None, [3]), (1, [1, 1, 1]), (2, [2, 2]), (4, [4])])
def test_batches_are_cut_to_what_the_file_takes(batch, calls):
    runtime = FakeRuntime(batch=batch)
    model = RuntimeModel(runtime)
    pixels = torch.arange(3, dtype=torch.uint8)[:, None, None, None].expand(3, 3, 32, 64) * 50
    output = model(pixels)["detection"]
    assert [shape[0] for shape, _ in runtime.seen] == calls
    assert output.class_logits[:, 1, 2].tolist() == pytest.approx([0, 0.5, 1])


def test_pixels_are_normalised_once():
    pixels = torch.full((1, 3, 32, 64), 100, dtype=torch.uint8)
    for normalise, dtype in ((True, np.uint8), (False, np.float32)):
        runtime = FakeRuntime(normalise=normalise)
        model = RuntimeModel(runtime)
        model(model.preprocess.normalise(pixels))
        assert runtime.seen == [((1, 3, 32, 64), dtype)]


def test_another_size_needs_a_file_for_any_size():
    wide = torch.zeros((1, 3, 32, 96), dtype=torch.uint8)
    with pytest.raises(UserError, match="takes only 32 × 64; export it with dynamic_size=true"):
        RuntimeModel(FakeRuntime())(wide)
    assert RuntimeModel(FakeRuntime(dynamic_size=True))(wide)


def test_settings_may_be_changed_as_far_as_the_graph_leaves_them_open():
    model = RuntimeModel(FakeRuntime(nms=True))
    pixels = torch.zeros((2, 3, 32, 64), dtype=torch.uint8)
    found = model.predict(model(pixels), Context.of(pixels))["detection"]
    assert isinstance(found, Detections)
    assert found.counts.tolist() == [2, 2]
    cut = model.adjusted({"score_threshold": 0.5})
    assert cut.predict(cut(pixels), Context.of(pixels))["detection"].counts.tolist() == [1, 1]
    for changes, said in (
        ({"score_threshold": 0.01}, "score_threshold=0.01: the file has its NMS inside, with score_threshold=0.1"),
        ({"nms_iou": 0.6}, "nms=false"),
        ({"max_detections": 5}, "max_detections=3"),
        ({"nms_threshold": 0.6}, "is not a setting"),
    ):
        with pytest.raises(UserError, match=said):
            model.adjusted(changes)
    assert RuntimeModel(FakeRuntime(), {"score_threshold": 0.01, "nms_iou": 0.6}).settings.nms_iou == 0.6


def test_other_settings_share_the_thread_of_post_processing():
    """A setting that is replaced (``score_threshold=``) leaves no idle thread behind."""

    def threads():
        return [thread for thread in threading.enumerate() if thread.name.startswith("post-process")]

    before = set(threads())  # of other tests, which may end meanwhile
    model = RuntimeModel(FakeRuntime())
    pixels = np.zeros((32, 64, 3), np.uint8)
    predict = Predictor(model, score_threshold=0.2, max_detections=2)
    for use in (predict, predict.keeping(50), Predictor(model, score_threshold=0.3)):
        assert len(use(pixels)) == 1
    assert len(set(threads()) - before) == 1
    assert predict.max_detections == 2 and predict.keeping(50).max_detections == 50


def test_device_and_precision_are_the_files():
    model = RuntimeModel(FakeRuntime())
    with pytest.raises(UserError, match="runs on the CPU"):
        predict_function(model, device="cuda")
    with pytest.raises(UserError, match="exported with precision=fp32"):
        predict_function(model, precision="bf16")
    predict_function(model, precision="fp32")


def test_a_backbone_of_the_users_own_is_not_needed(monkeypatch, tmp_path):
    """Only the heads are built: neither trust nor the backbone's module is asked for."""
    own = ExternalSpec("target", "Mine", {"_target_": "there_is_no_such_module.Mine"})
    described = replace(
        info(), spec=replace(SPEC, backbone=own), widths={"C5": 40, **dict.fromkeys(SPEC.neck.levels, 16)}
    )
    runtime = FakeRuntime()
    runtime.info = ExportInfo.from_json(described.to_json(), source="m.onnx")
    monkeypatch.setattr(runtime_model, "open_runtime", lambda path, threads: runtime)
    prediction = Predictor(RuntimeModel.open(tmp_path / "m.onnx"))(np.zeros((32, 64, 3), np.uint8))
    assert prediction.names == ["bus"]
    head = HeadSpec("external", {}, "there_is_no_such_module.Head")
    runtime.info = replace(described, spec=replace(described.spec, heads={"detection": head}))
    with pytest.raises(UserError, match=r"m\.onnx: imports there_is_no_such_module\.Head, .*trust=true"):
        RuntimeModel.open(tmp_path / "m.onnx")


def test_files_are_known_by_suffix(tmp_path):
    assert is_exported("a/b.ONNX") and is_exported(tmp_path / "x.pt2") and not is_exported("best.ckpt")
    with pytest.raises(UserError, match="no such file"):
        open_runtime(tmp_path / "x.pt2")
    with pytest.raises(UserError, match="not an exported file"):
        open_runtime(tmp_path / "x.pt")
    broken = tmp_path / "x.pt2"
    broken.write_bytes(b"not a zip")
    with pytest.raises(UserError, match="cannot read it"):
        open_runtime(broken)
    with pytest.raises(UserError, match="threads=0"):
        open_runtime(broken, threads=0)
