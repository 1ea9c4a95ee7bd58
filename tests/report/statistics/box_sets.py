"""Small random sets of true and detected boxes."""

from __future__ import annotations

from typing import Any

import numpy as np


def random_set(
    seed: int, *, images: int = 8, classes: int = 3, crowds: bool = True
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO truth and results: shifted copies of true boxes, some of another class, some twice, some anywhere."""
    rng = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(images):
        for _ in range(rng.integers(0, 5)):
            box = np.concatenate([rng.uniform(0, 60, 2), rng.uniform(10, 40, 2)])
            label = int(rng.integers(classes))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 + image,
                    "category_id": label + 1,
                    "bbox": box.tolist(),
                    "area": float(box[2] * box[3]),
                    "iscrowd": int(crowds and rng.random() < 0.15),
                }
            )
            for _ in range(rng.integers(0, 3)):
                moved = box + rng.normal(0, 4, 4)
                moved[2:] = np.maximum(moved[2:], 2)
                other = int(rng.integers(classes)) if rng.random() < 0.2 else label
                results.append(_result(10 + image, other + 1, moved, rng))
        for _ in range(rng.integers(0, 3)):
            box = np.concatenate([rng.uniform(0, 60, 2), rng.uniform(10, 40, 2)])
            results.append(_result(10 + image, int(rng.integers(classes)) + 1, box, rng))
    truth = {
        "images": [{"id": 10 + image, "width": 100, "height": 100} for image in range(images)],
        "categories": [{"id": label + 1, "name": f"c{label}"} for label in range(classes)],
        "annotations": annotations,
    }
    return truth, results


def truth_of(*boxes: tuple[int, int, list[float]], images: int = 1, classes: int = 2, crowd: tuple[int, ...] = ()):
    """COCO truth of ``(image, class, xywh)`` rows, both from 1; `crowd` numbers rows from 0."""
    return {
        "images": [{"id": image} for image in range(1, images + 1)],
        "categories": [{"id": label, "name": f"c{label - 1}"} for label in range(1, classes + 1)],
        "annotations": [
            {"id": index + 1, "image_id": image, "category_id": label, "bbox": box, "iscrowd": int(index in crowd)}
            for index, (image, label, box) in enumerate(boxes)
        ],
    }


def found(*rows: tuple[int, int, list[float], float]) -> list[dict[str, Any]]:
    """COCO results of ``(image, class, xywh, score)`` rows."""
    return [{"image_id": image, "category_id": label, "bbox": box, "score": score} for image, label, box, score in rows]


def repeated(truth: dict[str, Any], results: list[dict[str, Any]], counts: np.ndarray):
    """The set with image i occurring ``counts[i]`` times, under ids of their own: a bootstrap sample written out."""
    images, annotations, detections = [], [], []
    for image, count in zip(truth["images"], counts, strict=True):
        for _ in range(count):
            number = len(images) + 1
            images.append({**image, "id": number})
            annotations += [
                {**row, "image_id": number} for row in truth["annotations"] if row["image_id"] == image["id"]
            ]
            detections += [{**row, "image_id": number} for row in results if row["image_id"] == image["id"]]
    annotations = [{**row, "id": index} for index, row in enumerate(annotations, start=1)]
    return {**truth, "images": images, "annotations": annotations}, detections


def _result(image: int, category: int, box: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box.tolist(), "score": float(rng.random())}
