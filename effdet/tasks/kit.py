"""The kit of a head: all that the layers above the model know of its kind.

Every ability is optional. What a kit leaves out is missing from the report, the page and the response; it is never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from effdet.evaluation import ClassJoin, EvalBatch, Evaluator, join
from effdet.model.spec import HeadSpec
from heads.structures import ClassTable, Targets, UserError

if TYPE_CHECKING:
    from effdet.data import Dataset
    from effdet.inference import Prediction
    from effdet.report import HeadReport


@dataclass(frozen=True)
class FirstLoss:
    """The value that one term of a fresh head's loss has before training, by the formula of its prior."""

    term: str
    """Of the head's loss."""
    value: float
    meaning: str
    """For the error: "… is 3.1 where `meaning` 2.4"."""
    causes: str
    """What may be wrong, and what to do."""


@dataclass(frozen=True)
class Target:
    """One thing that a head says of one image, to be explained."""

    name: str
    """Of its class."""
    score: float
    """How sure the model is, 0…1."""
    number: Callable[[Mapping[str, Any]], Tensor]
    """Raw outputs of all heads -> the scalar whose gradient explains it."""
    layer: str = "C5"
    """Where to look by default."""
    method: str = "grad"
    """``grad`` or ``hires``, by default."""
    box: tuple[float, float, float, float] | None = None
    """xyxy in input pixels."""


class Kit:
    """Base of the built-in kits and of a user's own (``head.NAME.kit._target_``, or a head's attribute ``kit``).

    A subclass sets the attributes and overrides the methods that its head has a use for. It is built for each model anew,
    called with the head's name first and then with the arguments of its ``_target_``.

    Args:
        name: the head's name in its model, the key of its outputs.
    """

    head: type | None = None
    """Class of heads that have this kit where they bring none."""
    label: str | None = None
    """What data must label for this head to be evaluated, an entry of ``Dataset.labelled``; None: nothing is evaluated."""
    metric: str | None = None
    """The metric that chooses the best checkpoint where ``monitor`` is null; larger is better."""
    postprocess_keys: tuple[str, ...] = ()
    """Top-level keys of the configuration that go into the head's option ``postprocess``."""
    gives: tuple[str, ...] = ()
    """Fields of `effdet.inference.Prediction` that :meth:`fields` fills."""

    def __init__(self, name: str) -> None:
        self.name = name

    def has(self, ability: str) -> bool:
        """Whether the kit overrides the method `ability`."""
        return getattr(type(self), ability) is not getattr(Kit, ability)

    def classes(self, source: Dataset) -> ClassTable:
        """The classes that `source` labels for this head: by :attr:`label`, those of its masks or of its boxes and images."""
        own = source.semantic_classes if self.label == "semantic" else None
        return source.classes if own is None else own

    def join(self, classes: ClassTable, source: Dataset) -> ClassJoin:
        """The model's `classes` joined with those of the data."""
        return join(classes, self.classes(source))

    def complete(self, spec: HeadSpec, source: Dataset) -> HeadSpec:
        """`spec` with the options that are computed from the training data."""
        return spec

    def evaluator(self, source: Dataset, classes: ClassJoin, *, backend: str = "pycocotools") -> Evaluator | None:
        """Gathers the head's predictions for `source`; made only where `source` labels :attr:`label`.

        Args:
            backend: library of the COCO metrics, see `effdet.evaluation.coco_metrics`.
        """
        return None

    def truth(self, batch: EvalBatch) -> Any:
        """The labels of `batch` as perfect predictions in original pixels, for the pre-flight check of the annotations."""
        raise NotImplementedError

    def has_truth(self, source: Dataset) -> bool:
        """Whether `source` holds anything that :meth:`truth` could be scored on."""
        return True

    def report(self, evaluator: Any) -> HeadReport | None:
        """The head's part of ``report.html``, from what its evaluator gathered (one image at least)."""
        return None

    def first_loss(self, head: Any, output: Any, targets: Targets) -> FirstLoss | None:
        """What the loss of a fresh head must be on this batch; None where the batch says nothing."""
        return None

    def new_rows(self, head: Any, output: Any, targets: Targets, rows: tuple[int, ...]) -> tuple[float, float] | None:
        """Class loss of new classes beside loaded ones: (found, predicted by the prior), sums.

        Args:
            rows: the new classes, numbers in 0…K-1.
        """
        return None

    def fields(self, predicted: Any, row: int) -> dict[str, Any]:
        """What a `Prediction` says of image `row`.

        Args:
            predicted: of a batch, in original pixels; what the head's ``predict`` gave.

        Returns:
            Fields of `Prediction` by name, and entries of its ``extra`` by any other name.
        """
        return {}

    def to_dict(self, prediction: Prediction) -> dict[str, Any]:
        """The head's entries of ``Prediction.to_dict()`` and, of a head of the user's own, of ``predictions.jsonl``."""
        return {}

    def response(self, prediction: Prediction, *, masks: bool) -> dict[str, Any]:
        """Entries of the server's response, where they say more than :meth:`to_dict`.

        Args:
            masks: segmentation maps are asked for.
        """
        return {}

    def schema(self) -> dict[str, Any]:
        """JSON schema of the head's entries of the server's response, by name."""
        return {}

    def drawing(self, prediction: Prediction) -> dict[str, Any]:
        """Arguments of `effdet.drawing.draw` that show what was found."""
        return {}

    def paint(self, image: Image.Image, prediction: Prediction) -> Image.Image:
        """Draws on the finished image what `effdet.drawing.draw` cannot."""
        return image

    def canvas_drawing(
        self, predicted: Any, classes: ClassTable, size: tuple[int, int], *, score: float
    ) -> dict[str, Any]:
        """Arguments of `effdet.drawing.draw_batch` that show predictions in input pixels; or ``captions`` of the images.

        Args:
            predicted: what the head's ``predict`` gave.
            size: (height, width) of the canvas.
            score: detections below are not shown.
        """
        return {}

    def explained(self, head: Any, output: Any, classes: ClassTable, *, most: int, score: float) -> list[Target] | None:
        """What the head says of the first image; None where there is no way to explain it.

        Args:
            output: raw, of the head.
            most: things at most.
            score: boxes below are left out.
        """
        return None

    def graph_outputs(self, head: Any, *, nms: bool) -> tuple[str, ...] | None:
        """Names of the tensors of :meth:`to_graph`; None: as many as the raw output holds, see :func:`raw_tensors`."""
        return None

    def to_graph(self, output: Any, suppress: Callable[[Tensor, Tensor], tuple[Tensor, ...]] | None) -> list[Tensor]:
        """The tensors that an exported graph gives for `output`, the head's raw one.

        Args:
            suppress: (logits, decoded boxes) -> what a graph with its NMS inside gives.
        """
        values = raw_tensors(self.name, output).values()
        return [value.float() if value.is_floating_point() else value for value in values]

    def from_graph(self, tensors: Mapping[str, Tensor], *, nms: bool) -> Any:
        """The head's raw output from all `tensors` of an exported graph. Dataclasses come back as dictionaries."""
        return _nested(_below(tensors, self.name), self.name)


def raw_tensors(name: str, output: Any) -> dict[str, Tensor]:
    """The tensors inside `output` (a tensor, or mappings, sequences and dataclasses of them), as ``name.key``.

    Raises:
        UserError: it holds anything else.
    """
    if isinstance(output, Tensor):
        return {name: output}
    if isinstance(output, Mapping):
        parts = dict(output)
    elif isinstance(output, tuple | list):
        parts = dict(enumerate(output))
    elif is_dataclass(output):
        parts = {field.name: getattr(output, field.name) for field in fields(output)}
    else:
        kind = type(output).__name__
        raise UserError(f"head.{name}: a {kind} in its output has no place in an exported file; return tensors")
    return {key: value for part, inner in parts.items() for key, value in raw_tensors(f"{name}.{part}", inner).items()}


def _nested(tensors: Mapping[str, Tensor], name: str) -> Any:
    """The inverse of :func:`raw_tensors`."""
    if name in tensors:
        return tensors[name]
    keys = dict.fromkeys(key[len(name) + 1 :].partition(".")[0] for key in tensors)
    parts = {key: _nested(_below(tensors, f"{name}.{key}"), f"{name}.{key}") for key in keys}
    return tuple(parts.values()) if list(parts) == [str(index) for index in range(len(parts))] else parts


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in tensors.items() if f"{key}.".startswith(f"{name}.")}


def table_giving(field: str, kits: Mapping[str, Kit], classes: Mapping[str, ClassTable]) -> ClassTable | None:
    """The classes of the first head whose predictions have `field`; None where none has."""
    return next((classes[name] for name, kit in kits.items() if field in kit.gives), None)


def class_name(classes: ClassTable | None, label: int) -> str:
    """The name of class `label`; its number where it has none."""
    name = classes.names[label] if classes is not None and label < len(classes) else None
    return str(label) if name is None else name


def hex_colour(colour: tuple[int, int, int]) -> str:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
