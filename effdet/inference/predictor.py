"""The one object for using a model: images in, predictions out."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import nn

from effdet.evaluation import EvalBatch
from effdet.evaluation.predict_fn import PRECISIONS
from effdet.inference.image import ImageLike, as_array
from effdet.inference.prediction import Prediction
from effdet.inference.runtime_model import RuntimeModel, own_postprocess, predict_function
from effdet.inference.runtimes import is_exported
from effdet.model import VisionModel, fold
from effdet.tasks import kits_of, table_giving
from heads.semantic_inference import SemanticInference
from heads.structures import ClassTable, Geometry, UserError


class Predictor:
    """Calls a model on images of any kind and size.

    Example::

        predict = Predictor("runs/x", device="cuda")
        p = predict("street.jpg")
        p.draw().save("out.jpg")

    Args:
        model: a model, a path that `effdet.load` reads, or an exported file. A `VisionModel` is left as it is: a folded copy of
            it predicts (BatchNorm inside the convolutions, fusion weights constant), which does not see what the model learns
            later. A model of another kind is moved to `device`.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: None or ``fp32``, ``bf16``, ``fp16``.
        image_size: run on another canvas than the model's own: an int for a square, or (height, width).
        batch_size: images in one pass when a list is given.
        score: drop detections under this score; None keeps the model's own threshold (0.001 as evaluation wants it).
        nms_iou: of two boxes of one class that overlap by more, the better stays; None keeps the model's own.
        max_detections: per image; None keeps the model's own.
        semantic: windows, mirror images and scales for segmentation maps; None takes one pass over the canvas.
        threads: of an exported file's runtime; None takes as many as torch. (PyTorch's own are ``torch.set_num_threads``.)
    """

    def __init__(
        self,
        model: nn.Module | str | os.PathLike[str],
        device: str | torch.device = "cpu",
        *,
        precision: str | None = None,
        image_size: int | tuple[int, int] | None = None,
        batch_size: int = 8,
        score_threshold: float | None = None,
        nms_iou: float | None = None,
        max_detections: int | None = None,
        semantic: SemanticInference | None = None,
        threads: int | None = None,
        trust: bool = False,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size (={batch_size}) must be 1 or more")
        network: Any = _loaded(model, threads, trust) if isinstance(model, (str, os.PathLike)) else model
        overrides = {"score_threshold": score_threshold, "nms_iou": nms_iou, "max_detections": max_detections}
        overrides = {key: value for key, value in overrides.items() if value is not None}
        if isinstance(network, VisionModel):
            network = fold(network, autocast=PRECISIONS.get(precision)).to(memory_format=torch.channels_last)
        self.model: nn.Module = network
        self.batch_size = batch_size
        self.preprocess = network.preprocess if image_size is None else network.preprocess.fitted(image_size)
        self._overrides = overrides
        self._function = partial(predict_function, device=device, precision=precision, semantic=semantic)
        self._predict = self._function(network, postprocess=overrides)
        self.classes: dict[str, ClassTable] = dict(network.classes)
        self.kits = kits_of(network)

    @property
    def boxed_classes(self) -> ClassTable | None:
        """The classes of the first head whose kit gives boxes; None where none does."""
        return table_giving("boxes", self.kits, self.classes)

    @property
    def max_detections(self) -> int | None:
        """Most boxes of an image; None where the model sets no bound."""
        return self._overrides.get("max_detections", getattr(own_postprocess(self.model), "max_detections", None))

    def keeping(self, most: int | None) -> Predictor:
        """The same predictor, sharing the network, which leaves at least `most` boxes of an image where it can.

        It never leaves fewer than the model does by itself, and never more than an exported file with its NMS inside holds.
        """
        own = getattr(own_postprocess(self.model), "max_detections", None)
        requested = own if own is None or most is None else max(own, most)
        if isinstance(self.model, RuntimeModel) and self.model.info.nms:
            requested = own
        if requested is None or requested == self.max_detections:
            return self
        other = copy.copy(self)
        other._overrides = self._overrides | {"max_detections": requested}
        other._predict = self._function(self.model, postprocess=other._overrides)
        return other

    @overload
    def __call__(self, images: ImageLike) -> Prediction: ...
    @overload
    def __call__(self, images: Sequence[ImageLike]) -> list[Prediction]: ...
    def __call__(self, images: Any) -> Prediction | list[Prediction]:
        """Predict one image, or a list of them (see `as_array` for what an image may be)."""
        if isinstance(images, (list, tuple)):
            return list(self.stream(images))
        return next(self._batch([self._prepare(images)]))

    def stream(
        self,
        images: Iterable[ImageLike],
        *,
        unreadable: Callable[[ImageLike, UserError], None] | None = None,
    ) -> Iterator[Prediction]:
        """Predictions of `images` in their order, a batch at a time: for more images than fit into memory.

        The next batch is read and resized in threads while the model works.

        Args:
            images: see `as_array`.
            unreadable: receives of an image that cannot be read, which is then left out: its batch is smaller, and those
                behind it hold the same images as ever. None raises.
        """
        source = iter(images)
        with ThreadPoolExecutor(max_workers=min(self.batch_size, os.cpu_count() or 1, 8)) as pool:
            upcoming = [(image, pool.submit(self._prepare, image)) for image in islice(source, self.batch_size)]
            while upcoming:
                waiting = upcoming
                upcoming = [(image, pool.submit(self._prepare, image)) for image in islice(source, self.batch_size)]
                readable = []
                for image, future in waiting:
                    try:
                        readable.append(future.result())
                    except UserError as error:
                        if unreadable is None:
                            raise
                        unreadable(image, error)
                if readable:
                    yield from self._batch(readable)

    def _prepare(self, image: ImageLike) -> tuple[Prediction, np.ndarray, Geometry]:
        """An empty prediction that holds the image, its canvas, and how it lies there."""
        pixels = as_array(image)
        canvas, geometry = self.preprocess.geometry(pixels)
        path = os.fspath(image) if isinstance(image, (str, Path)) else None
        none = np.zeros(0, np.float32)
        about = {"classes": self.classes, "kits": self.kits, "path": path}
        return Prediction(pixels, none.reshape(0, 4), none, none.astype(np.int64), **about), canvas, geometry

    def _batch(self, prepared: Sequence[tuple[Prediction, np.ndarray, Geometry]]) -> Iterator[Prediction]:
        batch = EvalBatch(
            images=torch.from_numpy(_stacked([canvas for _, canvas, _ in prepared])).permute(0, 3, 1, 2),
            geometries=tuple(geometry for _, _, geometry in prepared),
            records=(None,) * len(prepared),
            indices=tuple(range(len(prepared))),
        )
        outputs = self._predict(batch)
        for row, (prediction, _, _) in enumerate(prepared):
            for name, kit in prediction.kits.items():
                if name in outputs:
                    prediction = prediction.with_fields(kit.fields(outputs[name], row))
            yield prediction


def _loaded(path: str | os.PathLike[str], threads: int | None, trust: bool) -> nn.Module:
    if is_exported(path):
        return RuntimeModel.open(path, threads=threads, trust=trust)
    from effdet.weights import load

    return load(os.fspath(path), trust=trust)


def _stacked(canvases: list[np.ndarray]) -> np.ndarray:
    """(B, H, W, 3). A single canvas is not copied, unless it is read-only, as Pillow's are: tensors want to be written to."""
    if len(canvases) == 1 and canvases[0].flags.writeable:
        return canvases[0][None]
    return np.stack(canvases)
