"""The loop over real images: targets fed back as predictions must be perfect, on the canvas and off it."""

import numpy as np
import pytest
import torch

from effdet.data import DataSpec, EvalSet, open_dataset
from effdet.evaluation import DetectionEvaluator, evaluate, same_classes
from effdet.evaluation.predict_fn import restore_detections
from effdet.preprocess import Preprocess
from heads.structures import Detections


def truth_on_the_canvas(batch):
    """The truth as a perfect network would give it: boxes in input pixels, crowds left out."""
    assert batch.images.shape[1:] == (3, 96, 128) and batch.images.dtype == torch.uint8
    most = max(len(record.boxes) for record in batch.records)
    boxes = torch.zeros(len(batch), most, 4)
    labels = torch.full((len(batch), most), -1)
    counts = []
    for row, (record, geometry) in enumerate(zip(batch.records, batch.geometries, strict=True)):
        kept = np.flatnonzero(~record.crowd)
        boxes[row, : len(kept)] = torch.from_numpy(geometry.to_canvas(record.boxes[kept]))
        labels[row, : len(kept)] = torch.from_numpy(record.labels[kept])
        counts.append(len(kept))
    found = Detections(boxes, (labels >= 0).float(), labels, torch.tensor(counts))
    return {"detection": restore_detections(found, batch.geometries)}


@pytest.mark.data
@pytest.mark.parametrize("rule", ["letterbox", "stretch"])
def test_targets_fed_back_are_perfect(data_root, rule):
    source = open_dataset(DataSpec(name="coco", root=data_root / "coco", split="val"))
    source = source.subset(range(0, len(source), 5))
    data = EvalSet(source, Preprocess((96, 128), resize=rule))
    evaluator = DetectionEvaluator(source.coco(), same_classes(source.classes), backend="hotcoco")
    found = evaluate(truth_on_the_canvas, data, evaluators={"detection": evaluator}, batch_size=16, progress=False)
    assert found.images == len(source)
    assert found.metrics["AP"] == pytest.approx(1, abs=1e-9)
    assert found.metrics["AR100"] == pytest.approx(1, abs=1e-9)
