"""Adapter: exported file behind the `VisionModel` interface, so that `Predictor` and `evaluate` take it with the same call."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from backbones.fields import check_keys
from effdet.evaluation import ModelPredictFn
from effdet.inference.exported import ExportInfo
from effdet.inference.runtimes import Runtime, open_runtime
from effdet.model.build import build, build_heads
from effdet.model.spec import ModelSpec
from effdet.plugins import check_trust, targets
from effdet.preprocess import Preprocess
from effdet.tasks import kits_of
from effdet.tasks.detection import DecodedOutput, detector
from heads.detection import PostProcess
from heads.detection.postprocess import postprocess_boxes
from heads.protocol import Context
from heads.semantic_inference import SemanticInference
from heads.structures import ClassTable, Detections, UserError


class RawPixels(Preprocess):
    """Preprocessing whose second half is in the graph."""

    @classmethod
    def of(cls, rule: Preprocess) -> Self:
        return cls(**{field.name: getattr(rule, field.name) for field in fields(rule)})

    def normalise(self, images: Tensor, *, channels_last: bool = False) -> Tensor:
        return images


class RuntimeModel(nn.Module):
    """A network that another runtime computes, with the interface of a `VisionModel` that only predicts.

    Args:
        runtime: the loaded file.
        postprocess: settings of the detection head to replace, for example ``{"score_threshold": 0.3}``.
        beside: the thread of post-processing, of another model of the same file; None starts one.

    Raises:
        UserError: a setting that the graph has fixed.
    """

    def __init__(
        self,
        runtime: Runtime,
        postprocess: Mapping[str, Any] | None = None,
        *,
        beside: ThreadPoolExecutor | None = None,
    ) -> None:
        super().__init__()
        self.runtime = runtime
        self.info: ExportInfo = runtime.info
        spec, widths = self.info.spec, self.info.widths
        self.spec: ModelSpec = spec
        self.classes: Mapping[str, ClassTable] = spec.classes
        self.preprocess = RawPixels.of(spec.preprocess) if self.info.normalise else spec.preprocess
        # Heads know how to read their own raw outputs. They are built without memory; `nn.Module.to` skips a dictionary.
        with torch.device("meta"):
            self.heads: dict[str, Any] = dict(build(spec).heads) if widths is None else build_heads(spec, widths)
        self.detector = detector(self.heads)
        self.settings = _settings(self.info, postprocess or {}, detects=self.detector is not None)
        self._kits = kits_of(self)
        table = None if self.detector is None else self.classes[self.detector]
        self._named = None if table is None else torch.tensor(table.named)
        self._beside = beside or one_threaded()

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, threads: int | None = None, trust: bool = False) -> Self:
        """See :func:`effdet.inference.runtimes.open_runtime`; `trust` imports user-defined heads that the file names."""
        runtime = open_runtime(path, threads=threads)
        spec = runtime.info.spec.to_dict()
        needed = targets(spec if runtime.info.widths is None else spec["heads"])
        check_trust(needed, origin=os.fspath(path), trust=trust, again=False)
        return cls(runtime)

    @property
    def format(self) -> str:
        """The name of the runtime."""
        return self.runtime.format

    def adjusted(self, postprocess: Mapping[str, Any] | None) -> RuntimeModel:
        """The same file with other settings of its detection head."""
        return RuntimeModel(self.runtime, postprocess, beside=self._beside) if postprocess else self

    def among(self, known: Mapping[str, Sequence[bool]]) -> RuntimeModel:
        """The same file, whose detections are only of known classes, see :meth:`effdet.evaluation.ModelPredictFn.among`.

        A file that holds its NMS has filled its `max_detections` with classes of all kinds: that is said, once.
        """
        if self._named is None or self.detector is None or self.detector not in known:
            return self
        allowed = self._named & torch.tensor(known[self.detector])
        if torch.equal(allowed, self._named):
            return self
        if self.info.nms:
            foreign = int(self._named.sum() - allowed.sum())
            warnings.warn(
                f"this file has its NMS inside: {foreign} classes that the data lacks take places of its "
                f"max_detections={self.settings.max_detections}; export it with nms=false to evaluate it without them",
                stacklevel=2,
            )
            return self
        other = copy.copy(self)
        other._named = allowed
        return other

    def forward(self, images: Tensor) -> dict[str, Any]:
        """(B, 3, H, W), uint8 or normalised as the file wants it -> {head name: its raw output}."""
        self._check(images)
        found = [self.runtime(part) for part in _batches(images.cpu().numpy(), self.info.batch)]
        outputs = {
            name: torch.from_numpy(_joined([part[name] for part in found])[: len(images)]) for name in self.info.outputs
        }
        return {name: kit.from_graph(outputs, nms=self.info.nms) for name, kit in self._kits.items()}

    def predict(self, outputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Each head's prediction in input pixels."""
        return {name: self._predicted(name, outputs, context) for name in outputs}

    def _predicted(self, name: str, outputs: Mapping[str, Any], context: Context) -> Any:
        output, head = outputs[name], self.heads[name]
        if isinstance(output, DecodedOutput):
            work = partial(postprocess_boxes, output.class_logits, output.boxes, self.settings, named=self._named)
            return self._beside.submit(work).result()
        if isinstance(output, Detections):
            return _cut(output, self.settings)
        return head.predict(output, context.reading(head, outputs))

    def _check(self, images: Tensor) -> None:
        size = (images.shape[2], images.shape[3])
        if not self.info.dynamic_size and size != self.info.spec.preprocess.size:
            fixed = " × ".join(map(str, self.info.spec.preprocess.size))
            raise UserError(
                f"image_size={size[0]}x{size[1]}: this file takes only {fixed}; export it with dynamic_size=true"
            )


def predict_function(
    model: nn.Module,
    *,
    device: str | torch.device = "cpu",
    precision: str | None = None,
    postprocess: Mapping[str, Any] | None = None,
    semantic: SemanticInference | None = None,
    all_compete: bool = False,
) -> ModelPredictFn:
    """What the evaluation loop and `Predictor` call: for a model of ours, or for an exported one.

    Args:
        model, device, precision, postprocess, semantic, all_compete: as :class:`effdet.evaluation.ModelPredictFn` takes
            them. An exported file runs on the CPU, in the precision that it was exported with.
    """
    if not isinstance(model, RuntimeModel):
        return ModelPredictFn(
            model,
            device=device,
            precision=precision,
            postprocess=postprocess or None,
            semantic=semantic,
            all_compete=all_compete,
        )
    if torch.device(device).type != "cpu":
        raise UserError(f"device={device}: an exported file runs on the CPU here; take device=cpu")
    if precision not in (None, model.info.precision):
        raise UserError(
            f"precision={precision}: this file was exported with precision={model.info.precision}; export it anew"
        )
    return ModelPredictFn(model.adjusted(postprocess), channels_last=None, semantic=semantic)


def own_postprocess(model: nn.Module) -> PostProcess | None:
    """The model's own settings of its detection head; None where it has none."""
    if isinstance(model, RuntimeModel):
        return model.settings if model.detector is not None else None
    heads = dict(getattr(model, "heads", {}).items())
    return next((head.postprocess for head in heads.values() if hasattr(head, "postprocess")), None)


def one_threaded() -> ThreadPoolExecutor:
    """A thread in which PyTorch uses no other, for post-processing, which gains nothing from a second one.

    PyTorch's threads wait by spinning, for milliseconds after each parallel piece, on the cores that the runtime's next call
    needs: a tenth of an image's time with ONNX Runtime. Their number is a setting of each thread, but one that threads born
    later take over; so it is set once, here, and at once set back for them.
    """
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(1, thread_name_prefix="post-process", initializer=torch.set_num_threads, initargs=(1,))
    pool.submit(torch.get_num_threads).result()
    torch.set_num_threads(before)
    return pool


def _batches(images: np.ndarray, size: int | None) -> list[np.ndarray]:
    """Pieces of the graph's batch; the last is filled up with its last image."""
    if size is None:
        return [images]
    missing = -len(images) % size
    if missing:
        images = np.concatenate([images, images[-1:].repeat(missing, axis=0)])
    return [images[start : start + size] for start in range(0, len(images), size)]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _settings(info: ExportInfo, changes: Mapping[str, Any], *, detects: bool) -> PostProcess:
    settings = PostProcess(**info.postprocess)
    check_keys(changes, [field.name for field in fields(settings)], what="postprocess", error=UserError)
    if changes and not detects:
        raise UserError(f"{', '.join(changes)}: this model has no detection head to set them on")
    requested = replace(settings, **changes)
    if info.nms:
        _check_fixed(settings, requested)
    return requested


def _check_fixed(own: PostProcess, requested: PostProcess) -> None:
    """What a graph with NMS has cut off cannot be brought back."""
    for name, possible in {
        "score_threshold": requested.score_threshold >= own.score_threshold,
        "max_detections": requested.max_detections <= own.max_detections,
        "nms_iou": requested.nms_iou == own.nms_iou,
    }.items():
        if not possible:
            raise UserError(
                f"{name}={getattr(requested, name)}: the file has its NMS inside, with {name}={getattr(own, name)}; "
                "export it with nms=false, or with the value you want"
            )


def _cut(found: Detections, settings: PostProcess) -> Detections:
    """Detections below the score dropped, and those past the cap; both lie at the end."""
    most = settings.max_detections
    boxes, scores, labels = found.boxes[:, :most], found.scores[:, :most], found.labels[:, :most]
    keep = (scores >= settings.score_threshold) & (labels >= 0)
    return Detections(
        boxes=boxes.masked_fill(~keep[..., None], 0.0),
        scores=scores.masked_fill(~keep, 0.0),
        labels=labels.masked_fill(~keep, -1),
        counts=keep.sum(1),
    )
