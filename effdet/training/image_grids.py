"""The images of a run: a batch as the model is trained on it, and what the model finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from effdet.files import replacing
from effdet.tasks import kits_of, table_giving
from effdet.tasks.classification import class_captions
from heads.protocol import Context
from heads.structures import Batch, ClassTable

MOST = 16


def draw_training_batch(batch: Batch, model: nn.Module, path: Path) -> Path:
    """An augmented batch with its boxes, segmentation maps or classes."""
    from effdet.drawing import draw_batch

    targets = batch.targets
    boxes = targets.boxes is not None and targets.boxes.shape[1] > 0
    if targets.category is not None and not boxes and targets.semantic is None:
        return _trained_on(batch, model, path)
    image_grid = draw_batch(
        batch.images[:MOST],
        boxes=targets.boxes,
        labels=targets.labels,
        names=None if (table := _table(model, "boxes")) is None else table.names,
        semantic=targets.semantic,
        semantic_names=None if (table := _table(model, "maps")) is None else table.names,
        most=MOST,
    )
    return _save(image_grid, path)


class PredictionGrid:
    """Draws what a model finds in some images of a set, always the same ones.

    Args:
        dataset: an `effdet.data.EvalSet`: items have `image`, uint8 on the canvas of the model.
        count: of images, taken at equal distances from the set.
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
        normalised = model.preprocess.normalise(images.to(device))  # type: ignore[operator,union-attr]
        found: dict[str, Any] = model.predict(model(normalised), Context.of(normalised))  # type: ignore[operator]
        size, tables = (images.shape[2], images.shape[3]), getattr(model, "classes", {})
        drawn: dict[str, Any] = {}
        for name, kit in ((name, kit) for name, kit in kits_of(model).items() if name in found):
            drawn = kit.canvas_drawing(found[name], tables[name], size, score=self.score) | drawn
        captions = drawn.pop("captions", None)
        if captions is not None and not drawn:
            return _captioned(images, captions, path)
        return _save(draw_batch(images, **drawn, most=len(images)), path)


def _trained_on(batch: Batch, model: nn.Module, path: Path) -> Path:
    category = batch.targets.category
    assert category is not None
    weights = category if category.ndim == 2 else torch.nn.functional.one_hot(category.clamp(min=0))
    tables = dict(getattr(model, "classes", {}))
    table = _table(model, "probabilities") or next(iter(tables.values()), None)
    return _captioned(batch.images[:MOST], class_captions(weights[:MOST], table), path)


def _table(model: nn.Module, field: str) -> ClassTable | None:
    """The classes of the first head whose predictions have `field`."""
    return table_giving(field, kits_of(model), getattr(model, "classes", {}))


def _captioned(images: torch.Tensor, captions: list[str], path: Path) -> Path:
    """Images with their heaviest class written under each."""
    from effdet.drawing import grid

    arrays = [np.ascontiguousarray(image.cpu().numpy().transpose(1, 2, 0)) for image in images]
    return _save(grid(arrays, cell=(160, 160), captions=captions), path)


def _save(image_grid: Any, path: Path) -> Path:
    """Whole or not at all: it may be looked at while it is written."""
    with replacing(path) as partial:
        image_grid.save(partial)
    return path
