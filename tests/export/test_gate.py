import math

import pytest
import torch

from effdet.export import ExportSettings, GateError, Tolerance, export_model
from effdet.export.gate import Difference, GateReport, check
from effdet.inference.exported import ExportInfo
from effdet.inference.runtime_model import RuntimeModel
from effdet.tasks.detection import ANCHORS
from heads.detection.boxes import decode
from heads.structures import UserError
from tests.export.conftest import SCORE, SIZE

FAST = ExportSettings(format="torchscript")  # the quickest to write


class Shifted:
    """The model itself as a runtime, with something added to its answers."""

    def __init__(self, model, *, logit=0.0, box=0.0):
        self.model, self.logit, self.box = model, logit, box
        self.info = ExportInfo(
            spec=model.spec, outputs=ANCHORS, precision="fp32", nms=False, normalise=True, batch=1, dynamic_size=False,
            postprocess=SCORE,
        )  # fmt: skip

    @torch.no_grad()
    def __call__(self, images):
        output = self.model(self.model.preprocess.normalise(torch.from_numpy(images)))["detection"]
        boxes = decode(output.anchors, output.box_deltas) + self.box
        return {"class_logits": (output.class_logits + self.logit).numpy(), "boxes": boxes.numpy()}


def report_of(model, images, **shift) -> GateReport:
    return check(model, RuntimeModel(Shifted(model, **shift)), images, Tolerance.of("fp32"), None)


def test_equal_outputs_pass(model, images):
    report = report_of(model, images)
    assert not report.failed
    assert (report["logit"], report["agreement"]) == (0, 1)


@pytest.mark.parametrize(
    ("shift", "name", "value"),
    [({"logit": 0.25}, "logit", 0.25), ({"box": 3.0}, "box", 3.0), ({"box": 90.0}, "agreement", 0.0)],
)
def test_what_is_shifted_is_found(shift, name, value, model, images):
    report = report_of(model, images, **shift)
    assert report[name] == pytest.approx(value, abs=1e-3)
    assert name in [difference.name for difference in report.failed]


def test_what_is_no_number_fails(model, images):
    report = report_of(model, images, logit=math.nan)
    assert "logit" in [difference.name for difference in report.failed]


def test_the_limits_can_be_changed_one_by_one():
    assert Tolerance.of("int8", {"drop": 0.5, "agreement": None}) == Tolerance(agreement=0.75, drop=0.5)
    assert not Difference("logit", math.nan, 1.0).passed
    assert Difference("logit", 5.0, None).passed
    assert Difference("agreement", 0.9, 0.9, least=True).passed


def test_past_the_tolerance_nothing_is_left(model, images, tmp_path):
    old = tmp_path / "m.torchscript"
    old.write_text("an earlier file")
    reported = []
    with pytest.raises(GateError, match="was not written: it differs from the model in agreement 1 ") as caught:
        export_model(
            model,
            old,
            FAST,
            images=images,
            postprocess=SCORE,
            tolerance=Tolerance(agreement=1.1),
            notify=reported.append,
        )
    assert caught.value.exit_code == 1
    assert reported == [caught.value.report]
    assert [file.name for file in tmp_path.iterdir()] == ["m.torchscript"]
    assert old.read_text() == "an earlier file"


def test_metrics_before_and_after_are_compared(model, images, tmp_path):
    values = iter([{"AP": 0.5, "AP50": 0.9}, {"AP": 0.49, "AP50": 0.1}])
    path = tmp_path / "m.torchscript"
    with pytest.raises(GateError, match="loss of AP 0.01 "):
        export_model(model, path, FAST, images=images, postprocess=SCORE, measure=lambda predict: next(values))
    assert not list(tmp_path.iterdir())


def test_the_input_size_may_be_another(model, images, tmp_path):
    path = tmp_path / "m.torchscript"
    wide = torch.nn.functional.pad(images, (0, 32))
    export_model(model, path, FAST, images=wide, postprocess=SCORE, image_size=(SIZE[0], SIZE[1] + 32))
    opened = RuntimeModel.open(path)
    assert opened.preprocess.size == (SIZE[0], SIZE[1] + 32)
    assert opened.classes == model.classes


def test_misuse_is_reported_before_any_work(model, images, tmp_path):
    with pytest.raises(UserError, match=r"ends in \.torchscript"):
        export_model(model, tmp_path / "m.onnx", FAST, images=images)
    with pytest.raises(UserError, match="soft_nms"):
        soft = {"soft_nms": True}
        nms = ExportSettings(format="torchscript", nms=True)
        export_model(model, tmp_path / "m.torchscript", nms, images=images, postprocess=soft)
    assert not list(tmp_path.iterdir())
