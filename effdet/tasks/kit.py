"""The kit of a head: all that the layers above the model know of its kind.

Every ability is optional. What a kit leaves out is missing from the report, the page and the response; it is never an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from effdet.evaluation import ClassJoin, EvalBatch, Evaluator, join
from effdet.model.spec import HeadSpec
from heads.structures import ClassTable, Targets

if TYPE_CHECKING:
    from effdet.data import Source
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


class Kit:
    """Base of the built-in kits and of a user's own (``head.NAME.kit._target_``, or a head's attribute ``kit``).

    A subclass sets the attributes and overrides the methods that its head has a use for. Built for each model anew; it
    holds nothing but the head's name.

    Args:
        name: the head's name in its model, the key of its outputs.
    """

    label: str | None = None
    """What data must label for this head to be evaluated, an entry of ``Source.labelled``; None: nothing is evaluated."""
    metric: str | None = None
    """The metric that chooses the best checkpoint where ``monitor`` is null; larger is better."""
    postprocess_keys: tuple[str, ...] = ()
    """Top-level keys of the configuration that go into the head's option ``postprocess``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def has(self, ability: str) -> bool:
        """Whether the kit brings a method of its own for `ability`."""
        return getattr(type(self), ability) is not getattr(Kit, ability)

    def classes(self, source: Source) -> ClassTable:
        """The classes that `source` labels for this head."""
        return source.classes

    def join(self, classes: ClassTable, source: Source) -> ClassJoin:
        """The model's `classes` joined with those of the data."""
        return join(classes, self.classes(source))

    def complete(self, spec: HeadSpec, source: Source) -> HeadSpec:
        """`spec` with the options that are computed from the training data."""
        return spec

    def evaluator(self, source: Source, classes: ClassJoin, *, backend: str = "pycocotools") -> Evaluator | None:
        """Gathers the head's predictions for `source`; made only where `source` labels :attr:`label`.

        Args:
            backend: library of the COCO metrics, see `effdet.evaluation.coco_metrics`.
        """
        return None

    def truth(self, batch: EvalBatch) -> Any:
        """The labels of `batch` as perfect predictions in original pixels, for the pre-flight check of the annotations."""
        raise NotImplementedError

    def has_truth(self, source: Source) -> bool:
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
