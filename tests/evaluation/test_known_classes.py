"""Classes that the data lacks take no place of `max_detections` or `pre_nms`: 110 books at .6 before 30 cars at .5."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from effdet.evaluation import DetectionEvaluator, ModelPredictFn, evaluate, join
from effdet.inference.exported import ExportInfo
from effdet.inference.runtime_model import RuntimeModel, predict_function
from effdet.model import spec_for
from effdet.preprocess import Preprocess
from effdet.tasks.detection import ANCHORS, DETECTIONS
from heads.detection import PostProcess
from heads.detection.postprocess import postprocess
from heads.protocol import Context
from heads.structures import ClassTable, Geometry

SIDE = 480
MODEL = ClassTable(("book", "car", None), (84, 3, None))
DATA = ClassTable(("car",), (7,))
PLACES = [(x * 40, y * 40) for y in range(12) for x in range(12)]
BOXES = torch.tensor([[x, y, x + 30, y + 30] for x, y in PLACES], dtype=torch.float32)


def logits():
    values = torch.full((144, 3), -20.0)
    values[:110, 0] = torch.logit(torch.tensor(0.6))
    values[110:140, 1] = torch.logit(torch.tensor(0.5))
    values[:, 2] = 5.0  # stands for no class
    return values


class Head(nn.Module):
    def __init__(self, settings):
        super().__init__()
        self.postprocess = settings
        self.register_buffer("named_classes", torch.tensor(MODEL.named))

    def predict(self, out, context):
        return postprocess(out.class_logits, out.box_deltas, out.anchors, self.postprocess, named=self.named_classes)


class Model(nn.Module):
    """Says the same of every image: anchors are the boxes, deltas are 0."""

    def __init__(self, settings):
        super().__init__()
        self.heads = nn.ModuleDict({"detection": Head(settings)})
        self.classes = {"detection": MODEL}
        self.preprocess = Preprocess((SIDE, SIDE))

    def forward(self, images):
        count = len(images)
        raw = SimpleNamespace(
            class_logits=logits()[None].repeat(count, 1, 1), box_deltas=torch.zeros(count, 144, 4), anchors=BOXES
        )
        return {"detection": raw}

    def predict(self, outputs, context):
        return {name: self.heads[name].predict(output, context) for name, output in outputs.items()}


class File:
    """The same as an exported file."""

    def __init__(self, settings, nms=False):
        spec = spec_for(task="detection", phi=-4, classes=MODEL, image_size=SIDE)
        chosen = {"max_detections": settings.max_detections, "pre_nms": settings.pre_nms}
        self.info = ExportInfo(spec, DETECTIONS if nms else ANCHORS, "fp32", nms, True, None, False, chosen)
        self.model = Model(settings)

    def __call__(self, images):
        count = len(images)
        if not self.info.nms:
            tensors = {"class_logits": logits()[None].repeat(count, 1, 1), "boxes": BOXES[None].repeat(count, 1, 1)}
            return {name: value.numpy() for name, value in tensors.items()}
        found = self.model.predict(self.model(torch.from_numpy(images)), Context(images.shape[2:]))["detection"]
        return {name: getattr(found, name).numpy() for name in DETECTIONS}


class Images:
    def __len__(self):
        return 2

    def __getitem__(self, index):
        geometry = Geometry((SIDE, SIDE), (SIDE, SIDE))
        record = SimpleNamespace(image_id=index + 1, has_boxes=True, file_name="a")
        return SimpleNamespace(image=np.zeros((3, SIDE, SIDE), np.uint8), geometry=geometry, record=record)


def truth():
    boxes = [{"bbox": [*PLACES[110 + number], 30, 30], "area": 900, "iscrowd": 0} for number in range(30)]
    rows = [{"image_id": image, "category_id": 7, **box} for image in (1, 2) for box in boxes]
    return {
        "images": [{"id": image, "width": SIDE, "height": SIDE} for image in (1, 2)],
        "categories": [{"id": 7, "name": "car"}],
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, start=1)],
    }


def measured(predict_fn):
    evaluator = DetectionEvaluator(truth(), join(MODEL, DATA))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*more detections of score")
        return evaluate(predict_fn, Images(), evaluators={"detection": evaluator}, progress=False)


SETTINGS = [PostProcess(), PostProcess(max_detections=1000, pre_nms=100), PostProcess(multi_label=False)]


@pytest.mark.parametrize("settings", SETTINGS)
def test_only_classes_that_the_data_knows_compete(settings):
    result = measured(ModelPredictFn(Model(settings)))
    assert result.metrics["AP"] == pytest.approx(1.0)
    assert {row["category_id"] for row in result.predictions} == {7} and len(result.predictions) == 60
    changed = measured(ModelPredictFn(Model(PostProcess()), postprocess=vars(settings)))
    assert changed.predictions == result.predictions


@pytest.mark.parametrize("settings", SETTINGS[:2])
def test_exported_files(settings):
    opened = RuntimeModel(File(settings))
    result = measured(predict_function(opened))
    assert result.metrics["AP"] == pytest.approx(1.0) and len(result.predictions) == 60
    changed = measured(predict_function(opened, postprocess={"score_threshold": 0.01}))
    assert changed.predictions == result.predictions
    assert opened._named.tolist() == [True, True, False], "left as it was"


def test_a_file_with_its_nms_inside_says_so():
    with pytest.warns(UserWarning, match="NMS inside: 1 classes that the data lacks .* export it with nms=false"):
        result = measured(predict_function(RuntimeModel(File(PostProcess(), nms=True))))
    same = measured(ModelPredictFn(Model(PostProcess()), all_compete=True))
    assert result.metrics["AP"] == same.metrics["AP"] == 0, "what the parity gate compares"


def test_a_model_of_the_datas_classes_takes_the_way_it_always_took():
    predict_fn = ModelPredictFn(Model(PostProcess()))
    assert predict_fn.among({"detection": (True, True, False)})._known == {}
    assert predict_fn.among({"semantic": (True,)})._known == {}
