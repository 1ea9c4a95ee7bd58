"""A model as the function that the evaluation loop calls; and from input pixels back to original ones, a batch at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.fields import check_keys
from effdet.evaluation.batch import EvalBatch
from heads.protocol import Context, Restores
from heads.ranks import alone
from heads.semantic_inference import SemanticInference, probabilities
from heads.structures import Detections, Geometry, Targets, UserError


def restore_detections(detections: Detections, geometries: Sequence[Geometry]) -> Detections:
    """Boxes in input pixels -> original pixels, clipped to each image.

    Boxes that lie wholly outside the image (in the padding) are dropped; the order by score stays. Runs on the device
    of `detections`, without a loop over images.
    """
    device = detections.boxes.device
    frames = [(*g.offset[::-1] * 2, *g.scale[::-1] * 2, *g.original[::-1] * 2) for g in geometries]  # x, y, x, y each
    offset, scale, size = torch.tensor(frames, dtype=torch.float32, device=device).reshape(-1, 3, 1, 4).unbind(1)
    boxes = torch.minimum(((detections.boxes.float() - offset) / scale).clamp_(min=0), size)
    real = torch.arange(boxes.shape[1], device=device) < detections.counts[:, None]
    real &= (boxes[..., 2:] > boxes[..., :2]).all(-1)  # (B, N)
    order = (~real).to(torch.uint8).argsort(dim=1, stable=True)
    real = real.gather(1, order)
    return Detections(
        boxes=boxes.gather(1, order[..., None].expand(-1, -1, 4)) * real[..., None],
        scores=detections.scores.gather(1, order) * real,
        labels=detections.labels.gather(1, order).masked_fill(~real, -1),
        counts=real.sum(1),
        capped=detections.capped,
    )


def restore_heat(maps: Tensor, geometries: Sequence[Geometry]) -> list[np.ndarray]:
    """Maps of numbers in the images' own sizes, resampled bilinearly.

    Args:
        maps: (B, h, w) float, of any size that covers the canvas.
        geometries: one an image.

    Returns:
        (height, width) float32 for each image.
    """
    pairs = zip(maps, geometries, strict=True)
    return [torch.cat([*_strips(values[None], geometry, 512)], dim=1)[0].cpu().numpy() for values, geometry in pairs]


def _strips(scores: Tensor, geometry: Geometry, rows_at_once: int) -> Iterator[Tensor]:
    """(K, h, w) -> (K, rows, W) float32 strips of the original image, from the top."""
    height, width = geometry.original
    y = _normalised(height, geometry.scale[0], geometry.offset[0], geometry.canvas[0], scores.device)
    x = _normalised(width, geometry.scale[1], geometry.offset[1], geometry.canvas[1], scores.device)
    for strip in y.split(rows_at_once):
        grid = torch.stack(torch.broadcast_tensors(x[None, :], strip[:, None]), dim=-1)[None]  # (1, rows, W, [x, y])
        yield F.grid_sample(scores[None].float(), grid, padding_mode="border", align_corners=False)[0]


def _normalised(length: int, scale: float, offset: float, canvas: int, device: torch.device) -> Tensor:
    """Centres of original pixels in `grid_sample`'s frame, where -1…1 spans the canvas."""
    centres = (torch.arange(length, device=device, dtype=torch.float32) + 0.5) * scale + offset
    return centres * (2 / canvas) - 1


PRECISIONS = {None: None, "fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_FORMATS = {True: torch.channels_last, False: torch.contiguous_format, None: torch.preserve_format}


class ModelPredictFn:
    """uint8 canvases -> device -> normalise -> model -> predict -> original pixels.

    Args:
        model: a `VisionModel` or `FoldedModel`; moved to `device`. It is in evaluation mode while it predicts, and in
            the mode it was in afterwards.
        precision: None or ``fp32``, ``bf16``, ``fp16`` (autocast).
        channels_last: lay the images out with channels last, which convolutions like best; None leaves them as they
            come.
        postprocess: settings of the detection head to replace, for example ``{"score_threshold": 0.3}``.
        semantic: windows, mirror images and scales for segmentation maps; None takes one pass over the canvas.
        all_compete: every class that the model names competes for `pre_nms` and `max_detections`, whatever the data knows:
            for a comparison with a file that holds its NMS.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        device: str | torch.device = "cpu",
        precision: str | None = None,
        channels_last: bool | None = True,
        postprocess: Mapping[str, Any] | None = None,
        semantic: SemanticInference | None = None,
        all_compete: bool = False,
    ) -> None:
        if precision not in PRECISIONS:
            known = ", ".join(str(name) for name in PRECISIONS if name)
            raise UserError(f"precision must be one of {known} or null, got {precision!r}")
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.dtype = PRECISIONS[precision]
        self.memory_format = _FORMATS[channels_last]
        self.postprocess = _settings(model, postprocess) if postprocess else None
        self.semantic = semantic or SemanticInference()
        self._heads: dict[str, Any] = dict(getattr(model, "heads", {}).items())
        self.all_compete = all_compete
        self._targets: dict[str, Callable[[EvalBatch], Targets]] = {}
        """By head that gives its loss, the labels of a batch."""
        self._known: dict[str, Tensor] = {}
        """By detection head: (K,) bool, which logits may detect; heads that are not named here decide by themselves."""
        self._maps = {name: head for name, head in self._heads.items() if hasattr(head, "class_maps")}
        if not self.semantic.plain and not self._maps:
            raise UserError("semantic.*: this model has no semantic head, whose maps these settings are for")

    def among(self, known: Mapping[str, Sequence[bool]]) -> ModelPredictFn:
        """The same function whose detections are only of known classes: no other takes a place of `pre_nms` and
        `max_detections`, or suppresses.

        Args:
            known: by head, for each logit whether the data has its class.
        """
        if self.all_compete:
            return self
        restricted = getattr(self.model, "among", None)
        other = copy.copy(self)
        if restricted is not None:  # an exported file does its own post-processing
            other.model = restricted(known)
            return other
        heads: Mapping[str, Any] = getattr(self.model, "heads", {})
        for name, requested in known.items():
            named = getattr(heads[name], "named_classes", None) if name in heads else None
            if named is None:
                continue
            allowed = named.cpu() & torch.tensor(requested)
            if not torch.equal(allowed, named.cpu()):
                other._known = other._known | {name: allowed.to(self.device)}
        return other

    def with_losses(self, targets: Mapping[str, Callable[[EvalBatch], Targets]]) -> ModelPredictFn:
        """The same function, which gives the loss terms of some heads, by name, in place of their predictions.

        Args:
            targets: by head, the labels of a batch in input pixels.
        """
        if not hasattr(self.model, "loss"):
            kind = type(self.model).__name__
            raise UserError(f"head {next(iter(targets))}: a {kind} has no loss to evaluate it by; take a checkpoint")
        other = copy.copy(self)
        other._targets = dict(targets)
        return other

    @torch.no_grad()
    def __call__(self, batch: EvalBatch) -> dict[str, Any]:
        """Predictions of every head: Detections in original pixels; segmentation maps, a list of (H, W) uint8; (B, K)
        scores."""
        images = batch.images.to(self.device, non_blocking=True, memory_format=self.memory_format)
        autocast = nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)
        with evaluating(self.model), autocast:
            normalised = self.model.preprocess.normalise(images)  # type: ignore[operator,union-attr]
            outputs = dict(self.model(normalised))
            context = replace(Context.of(normalised), outputs=dict(outputs))
            scores = {name: self._scores(name, outputs.pop(name), normalised, batch) for name in self._maps}
            losses = {name: self._loss(name, outputs, context, batch) for name in self._targets}
        outputs = {name: output for name, output in outputs.items() if name not in losses}
        predictions = self._predict(outputs, context)  # outside of autocast: boxes are decoded in float32
        found = {name: self._restored(name, value, batch) for name, value in predictions.items()}
        # Segmentation maps skip the canvas: they are taken from the logits straight in each image's own pixels.
        for name, head in self._maps.items():
            maps = head.class_maps(scores[name], batch.geometries)
            found[name] = [classes.cpu().numpy() for classes in maps]
        return found | losses

    def _loss(self, name: str, outputs: Mapping[str, Any], context: Context, batch: EvalBatch) -> dict[str, Tensor]:
        targets = self._targets[name](batch).to(self.device)
        with alone():  # processes have different batches, and not equally many
            terms = self.model.loss({**context.outputs, **outputs}, targets, context)  # type: ignore[operator]
        return {term: value for term, value in terms.items() if term.startswith(f"{name}/")}

    def _scores(self, name: str, logits: Tensor, images: Tensor, batch: EvalBatch) -> Tensor:
        """`logits` of the pass over the whole canvas, or the mean probabilities of the passes that the settings ask for."""
        if self.semantic.plain:
            return logits
        columns = [_columns(geometry) for geometry in batch.geometries]
        return probabilities(lambda part: self.model(part)[name], images, self.semantic, columns=columns)

    def _predict(self, outputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
        if self.postprocess is None and not self._known:
            return self.model.predict(outputs, context)  # type: ignore[operator]
        from heads.detection.postprocess import postprocess

        heads: Mapping[str, Any] = self.model.heads  # type: ignore[assignment]
        predictions = {}
        for name in outputs:
            head = heads[name]
            out, settings = outputs[name], (self.postprocess or {}).get(name)
            if settings is None and name not in self._known:
                predictions[name] = head.predict(out, context.reading(head, outputs))
                continue
            predictions[name] = postprocess(
                out.class_logits,
                out.box_deltas,
                out.anchors,
                settings or head.postprocess,
                named=self._known.get(name, head.named_classes),
            )
        return predictions

    def _restored(self, name: str, value: Any, batch: EvalBatch) -> Any:
        """A prediction in input pixels -> original pixels; what has no place in an image stays as it is."""
        head = self._heads.get(name)
        if isinstance(head, Restores):
            return head.restore(value, batch.geometries)
        return restore_detections(value, batch.geometries) if isinstance(value, Detections) else value


def _columns(geometry: Geometry) -> tuple[int, int]:
    """First and last column (excluded) of an image on its canvas, in input pixels."""
    left = geometry.offset[1]
    right = left + geometry.scale[1] * geometry.original[1]
    return max(round(left), 0), min(round(right), geometry.canvas[1])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every module is in the mode it was in (frozen BatchNorm stays frozen)."""
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _settings(model: nn.Module, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """{head: its post-processing with `overrides`} for the heads that have one."""
    heads: Mapping[str, Any] = getattr(model, "heads", {})
    settings = {name: head.postprocess for name, head in heads.items() if hasattr(head, "postprocess")}
    if not settings:
        raise UserError(f"{', '.join(overrides)}: this model has no detection head to set them on")
    for name, value in settings.items():
        check_keys(overrides, [field.name for field in fields(value)], what="postprocess", error=UserError)
        settings[name] = replace(value, **overrides)
    return settings
