"""Files that several rows share: logits, ground truth and results of a large set. Written once a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

ROOT_ASPECTS = ((1.0, 1.0), (2**0.5, 2**-0.5), (2**-0.5, 2**0.5))
PAPER_ASPECTS = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))


def synthetic_logits(path: Path) -> None:
    """One image's logits of a D0 at 512 px: N(-6, 1.5) and deltas N(0, 0.2)."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((1, 49_104, 90), np.float32) * np.float32(1.5) - 6
    deltas = rng.standard_normal((1, 49_104, 4), np.float32) * np.float32(0.2)
    np.savez(path, logits=logits, deltas=deltas, aspects=np.array(PAPER_ASPECTS), scale=4.0)


def real_logits(path: Path, coco: Path, weights: Path, *, count: int = 16) -> None:
    """Raw outputs of Google's EfficientDet-Lite0 on images of COCO."""
    import effdet
    from effdet.data import read_image
    from effdet.model import fold
    from heads.detection import DetectionHead

    model = effdet.create_model("efficientdet_lite0", weights=str(weights)).eval()
    folded = fold(model)
    logits, deltas = [], []
    with torch.no_grad():
        for file in sorted((coco / "val2017").glob("*.jpg"))[:count]:
            canvas, _ = model.preprocess.geometry(read_image(file))
            images = model.preprocess.normalise(torch.tensor(canvas).permute(2, 0, 1)[None])
            out = folded(images)["detection"]
            logits.append(out.class_logits[0].numpy())
            deltas.append(out.box_deltas[0].numpy())
    head = model.heads["detection"]
    assert isinstance(head, DetectionHead)
    spec = head.anchor_spec
    np.savez(path, logits=np.stack(logits), deltas=np.stack(deltas), aspects=np.array(spec.factors), scale=spec.scale)


def large_set(truth: Path, results: Path, *, count: int = 5000, boxes: int = 7, found: int = 100) -> None:
    """A set of COCO's size: `found` results an image, of which some lie on the true boxes."""
    rng = np.random.default_rng(0)
    annotations, rows = [], []
    for image in range(1, count + 1):
        low = rng.uniform(0, 400, (boxes, 2))
        true = np.concatenate([low, rng.uniform(5, 200, (boxes, 2))], 1).round(2)
        classes = rng.integers(1, 81, boxes)
        for box, category in zip(true.tolist(), classes.tolist(), strict=True):
            area = box[2] * box[3]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": area,
                    "iscrowd": 0,
                }
            )
        near = rng.integers(0, boxes, found)
        guesses = (true[near] + rng.normal(0, 12, (found, 4))).clip(1).round(2)
        labels = np.where(rng.random(found) < 0.7, classes[near], rng.integers(1, 81, found))
        scores = rng.random(found).round(4)
        rows += [
            {"image_id": image, "category_id": int(label), "bbox": box, "score": score}
            for box, label, score in zip(guesses.tolist(), labels.tolist(), scores.tolist(), strict=True)
        ]
    images = [{"id": image, "width": 640, "height": 640, "file_name": f"{image}.jpg"} for image in range(1, count + 1)]
    categories = [{"id": index, "name": f"class {index}"} for index in range(1, 81)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    truth.write_text(json.dumps(document), encoding="utf-8")
    results.write_text(json.dumps(rows), encoding="utf-8")
