"""Export of models with other heads than detection."""

import numpy as np
import pytest

from effdet import Predictor
from effdet.export import ExportSettings, export_model
from effdet.export.images import canvases, street_images
from effdet.inference.runtime_model import RuntimeModel
from effdet.streets import scene
from heads.structures import ClassTable, UserError
from tests.export.conftest import CLASSES, SCORE, SIZE, small_model

STUFF = ClassTable.of(("road", "sky", "tree"))
TASKS = {
    "classification": ClassTable.of(("street", "field")),
    "segmentation": STUFF,
    "driving": {"detection": CLASSES, "semantic": STUFF},
}


@pytest.fixture(scope="module", params=TASKS)
def task_model(request):
    return small_model(task=request.param, backbone="lite0", classes=TASKS[request.param], image_size=SIZE)


@pytest.mark.parametrize("name", ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
def test_every_head_is_in_the_file(task_model, name, tmp_path):
    images = canvases(street_images(1), task_model.preprocess)
    settings = ExportSettings(format=name, batch_size=None)
    path = tmp_path / f"m{settings.kind.suffix}"
    detects = "detection" in task_model.heads
    report = export_model(task_model, path, settings, images=images, postprocess=SCORE if detects else None)
    assert not report.failed
    assert set(RuntimeModel.open(path).classes) == set(task_model.heads)
    streets = [scene(2, "val", index, (70, 90)).image for index in range(2)]
    own_settings = SCORE if detects else {}
    for own, other in zip(Predictor(task_model, **own_settings)(streets), Predictor(path)(streets), strict=True):
        if own.probabilities is not None:
            np.testing.assert_allclose(other.probabilities, own.probabilities, atol=1e-4)
        if own.semantic is not None:
            assert other.semantic.shape == (70, 90)
            assert (own.semantic == other.semantic).mean() > 0.999
        assert own.names == other.names


def test_nms_needs_a_detection_head(tmp_path):
    model = small_model(task="classification", backbone="lite0", classes=TASKS["classification"], image_size=SIZE)
    images = canvases(street_images(1), model.preprocess)
    for settings, changes in (
        (ExportSettings(format="torchscript", nms=True), None),
        (ExportSettings(format="torchscript"), SCORE),
    ):
        with pytest.raises(UserError, match="this model has none"):
            export_model(model, tmp_path / "m.torchscript", settings, images=images, postprocess=changes)
