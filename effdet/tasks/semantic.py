"""Semantic segmentation: a class for each pixel."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from effdet.drawing.colours import class_colours
from effdet.evaluation import ClassJoin, EvalBatch, SemanticEvaluator
from effdet.model.spec import HeadSpec
from effdet.report.maps import MapReport
from effdet.tasks.kit import FirstLoss, Kit, Target, class_name, hex_colour
from heads.semantic import SemanticHead
from heads.semantic_losses import balanced_weights
from heads.structures import ClassTable, Targets, UserError

if TYPE_CHECKING:
    from effdet.data import Dataset
    from effdet.inference import Prediction


class SemanticKit(Kit):
    """A segmentation map for each image."""

    head = SemanticHead
    label = "semantic"
    metric = "mIoU"
    gives = ("maps",)

    def classes(self, source: Dataset) -> ClassTable:
        return source.semantic_classes or source.classes

    def complete(self, spec: HeadSpec, source: Dataset) -> HeadSpec:
        """Numbers where the loss names a rule by which the data's classes are weighed."""
        rule = spec.options.get("loss", {}).get("class_weights")
        if not isinstance(rule, str):
            return spec
        if (pixels := source.records.class_pixels) is None:
            raise UserError(
                f"loss.class_weights={rule}: data={source.name} has no masks to count; give a list of numbers"
            )
        weights = balanced_weights(pixels.sum(0).tolist(), rule)
        loss = {**spec.options["loss"], "class_weights": [round(weight, 4) for weight in weights]}
        return replace(spec, options={**spec.options, "loss": loss})

    def evaluator(self, source: Dataset, classes: ClassJoin, *, backend: str = "pycocotools") -> SemanticEvaluator:
        return SemanticEvaluator(classes)

    def truth(self, batch: EvalBatch) -> list[np.ndarray]:
        """Each image's mask as it is, one pixel where it has none."""
        return [np.zeros((1, 1), np.uint8) if mask is None else mask for mask in batch.masks]

    def report(self, evaluator: SemanticEvaluator) -> MapReport:
        return MapReport(evaluator, self.name)

    def first_loss(self, head: Any, output: Any, targets: Targets) -> FirstLoss | None:
        """Cross-entropy of guessing.

        It is ln K at every pixel. Label smoothing spreads a share e over all classes by their weights, and the mean over
        pixels divides by the weights of their own classes: ``ln K ((1 - e) + e mean(w) n / sum_i w_i)``.
        """
        if not isinstance(head, SemanticHead):
            return None
        settings, labels, classes = head.loss_settings, targets.semantic, head.num_classes
        if labels is None or not settings.cross_entropy or classes < 2:
            return None
        own = labels[labels != 255].long()
        if settings.class_weights is None:
            total, mean = float(len(own)), 1.0
        else:
            weights = torch.tensor(settings.class_weights, device=labels.device)
            total, mean = float(weights[own].sum()), float(weights.mean())
            if settings.ohem is not None and settings.label_smoothing:
                return None  # the mean is over pixels of unlike expected losses, chosen by the loss itself
        if not len(own) or total <= 0:
            return None
        smoothing = settings.label_smoothing
        share = (1 - smoothing) + smoothing * mean * len(own) / total
        causes = (
            "the last layer does not start near zero. Your own head starts there by heads.prior.start_at_prior(layer)"
        )
        value = settings.cross_entropy * math.log(classes) * share
        return FirstLoss("cross_entropy", value, f"guessing among {classes} classes gives", causes)

    def fields(self, predicted: Any, row: int) -> dict[str, Any]:
        return {"maps": {self.name: predicted[row]}}

    def to_dict(self, prediction: Prediction) -> dict[str, Any]:
        """Each class's share of the pixels."""
        found = prediction.maps.get(self.name)
        if found is None:
            return {}
        values, counts = np.unique(found[found != 255], return_counts=True)
        names = [class_name(prediction.classes.get(self.name), int(value)) for value in values]
        return {self.name: {name: count / found.size for name, count in zip(names, counts.tolist(), strict=True)}}

    def response(self, prediction: Prediction, *, masks: bool) -> dict[str, Any]:
        """Class shares with their colours; the map as a PNG data URL where asked for."""
        found = prediction.maps.get(self.name)
        if found is None:
            return {}
        names, shares = prediction.classes[self.name].names, self.to_dict(prediction)[self.name]
        colours = [hex_colour(colour) for colour in class_colours(names)]
        classes = [
            {"name": name, "colour": colours[index], "share": shares[name]}
            for index, name in enumerate(names)
            if name in shares
        ]
        return {self.name: {"classes": classes} | ({"map": _map_url(found, colours)} if masks else {})}

    def schema(self) -> dict[str, Any]:
        parts = {"name": {"type": "string"}, "colour": {"type": "string"}, "share": {"type": "number"}}
        url = {"type": "string", "description": "Data URL of a palette PNG; pixel values are classes."}
        classes = {"type": "array", "items": {"type": "object", "properties": parts}}
        return {self.name: {"type": "object", "properties": {"classes": classes, "map": url}}}

    def drawing(self, prediction: Prediction) -> dict[str, Any]:
        if self.name not in prediction.maps:
            return {}
        return {
            "semantic": prediction.maps[self.name],
            "semantic_names": prediction.classes[self.name].names,
        }

    def canvas_drawing(
        self, predicted: Tensor, classes: ClassTable, size: tuple[int, int], *, score: float
    ) -> dict[str, Any]:
        if predicted.ndim != 3:
            return {}
        maps = predicted[:, : size[0], : size[1]].to(torch.uint8)  # the map's size is a multiple of its stride
        return {"semantic": maps, "semantic_names": classes.names}

    def explained(
        self, head: Any, output: Tensor, classes: ClassTable, *, most: int, score: float
    ) -> list[Target] | None:
        """The classes of most pixels, each by its mean logit over them."""
        winners = output[0].detach().argmax(0)  # (h, w)
        counts = torch.bincount(winners.flatten(), minlength=output.shape[1])
        targets = []
        for label in counts.argsort(descending=True)[:most].tolist():
            if counts[label]:
                region = winners == label
                share = float(counts[label]) / winners.numel()
                targets.append(Target(class_name(classes, label), share, _mean_logit(self.name, label, region)))
        return targets

    def graph_outputs(self, head: Any, *, nms: bool) -> tuple[str, ...] | None:
        return (self.name,) if isinstance(head, SemanticHead) else None


def _mean_logit(name: str, label: int, region: Tensor) -> Callable[[Mapping[str, Any]], Tensor]:
    return lambda outputs: outputs[name][0, label][region].mean()


def _map_url(classes: np.ndarray, colours: list[str]) -> str:
    """(H, W) uint8 classes -> a palette PNG whose pixel values are the classes; 255 is clear."""
    image = Image.fromarray(classes)
    palette = [int(colour[at : at + 2], 16) for colour in colours for at in (1, 3, 5)]
    # All 256 colours, so that 255 is one of them, and can be clear.
    image.putpalette(palette + [0] * (768 - len(palette)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=255, compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
