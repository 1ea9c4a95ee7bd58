"""The pictures of a run: a batch as the model is taught it, and what the model finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from effdet.files import replacing
from heads.structures import Batch, Detections

MOST = 16


def draw_training_batch(batch: Batch, model: nn.Module, path: Path) -> Path:
    """An augmented batch with its boxes, class maps or classes."""
    from effdet.drawing import draw_batch

    targets, tables = batch.targets, dict(getattr(model, "classes", {}))
    boxes = targets.boxes is not None and targets.boxes.shape[1] > 0
    if targets.category is not None and not boxes and targets.semantic is None:
        return _captioned(batch, model, path)
    sheet = draw_batch(
        batch.images[:MOST],
        boxes=targets.boxes,
        labels=targets.labels,
        names=tables["detection"].names if "detection" in tables else None,
        semantic=targets.semantic,
        semantic_names=tables["semantic"].names if "semantic" in tables else None,
        most=MOST,
    )
    return _save(sheet, path)


class PredictionSheet:
    """Draws what a model finds in some pictures of a set, always the same ones.

    Args:
        dataset: an `effdet.data.EvalSet`: items have `image`, uint8 on the canvas of the model.
        count: of pictures, taken at equal distances from the set.
        score: boxes below are not drawn.
    """

    def __init__(self, dataset: Any, *, count: int = 8, score: float = 0.3) -> None:
        self.dataset = dataset
        self.score = score
        self.indices = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset)), dtype=int)).tolist()

    @torch.no_grad()
    def __call__(self, model: nn.Module, path: Path) -> Path:
        from effdet.drawing import draw_batch

        device = next(model.parameters()).device
        canvases = [np.asarray(self.dataset[index].image) for index in self.indices]
        canvases = [image if image.shape[0] == 3 else image.transpose(2, 0, 1) for image in canvases]
        images = torch.from_numpy(np.stack(canvases))
        outputs = model(model.preprocess.normalise(images.to(device)))  # type: ignore[operator,union-attr]
        found: dict[str, Any] = model.predict(outputs)  # type: ignore[operator]
        height, width = images.shape[2:]
        tables = dict(getattr(model, "classes", {}))
        drawn: dict[str, Any] = {}
        if isinstance(boxes := found.get("detection"), Detections):
            labels = boxes.labels.masked_fill(boxes.scores < self.score, -1)
            drawn |= {
                "boxes": boxes.boxes,
                "labels": labels,
                "scores": boxes.scores,
                "names": tables["detection"].names,
            }
        if "semantic" in found and found["semantic"].ndim == 3:
            # The map's size is a multiple of its stride.
            maps = found["semantic"][:, :height, :width].to(torch.uint8)
            drawn |= {"semantic": maps, "semantic_names": tables["semantic"].names}
        if "classification" in found and not drawn:
            return _classes(images, found["classification"], tables["classification"].names, path)
        return _save(draw_batch(images, **drawn, most=len(images)), path)


def _captioned(batch: Batch, model: nn.Module, path: Path) -> Path:
    category = batch.targets.category
    assert category is not None
    weights = category if category.ndim == 2 else torch.nn.functional.one_hot(category.clamp(min=0))
    return _classes(batch.images[:MOST], weights[:MOST].float(), _category_names(model), path)


def _category_names(model: nn.Module) -> tuple[str | None, ...]:
    tables = dict(getattr(model, "classes", {}))
    table = tables.get("classification") or next(iter(tables.values()), None)
    return () if table is None else table.names


def _classes(images: torch.Tensor, weights: torch.Tensor, names: tuple[str | None, ...], path: Path) -> Path:
    """Pictures with their heaviest class written under each."""
    from effdet.drawing import grid

    shares, classes = weights.float().cpu().max(dim=1)
    captions = [
        f"{(names[index] if index < len(names) else None) or index} {share:.2f}"
        for share, index in zip(shares.tolist(), classes.tolist(), strict=True)
    ]
    pictures = [np.ascontiguousarray(image.cpu().numpy().transpose(1, 2, 0)) for image in images]
    return _save(grid(pictures, cell=(160, 160), captions=captions), path)


def _save(sheet: Any, path: Path) -> Path:
    """Whole or not at all: it may be looked at while it is written."""
    with replacing(path) as partial:
        sheet.save(partial)
    return path
