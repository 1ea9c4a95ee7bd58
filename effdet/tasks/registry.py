"""Which kit belongs to a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from effdet.evaluation import EvalBatch, Evaluator, PredictFn
from effdet.evaluation.loss import SUFFIX as LOSS
from effdet.model.spec import EXTERNAL
from effdet.plugins import instantiate, is_target
from effdet.report import HeadReport
from effdet.tasks.classification import ClassificationKit
from effdet.tasks.detection import DetectionKit
from effdet.tasks.embedding import EmbeddingKit
from effdet.tasks.kit import Kit
from effdet.tasks.semantic import SemanticKit
from heads.structures import UserError

KITS: Mapping[str, type[Kit]] = {
    "detection": DetectionKit,
    "semantic": SemanticKit,
    "classification": ClassificationKit,
    "embedding": EmbeddingKit,
}
"""Built-in, by kind of head."""


def kit_for(name: str, head: Any = None) -> Kit:
    """The kit of the head called `name`.

    Args:
        head: the head, or its entry in a model's description. Its own ``kit`` (a :class:`Kit`, a subclass, or a mapping
            with the ``_target_`` of one) comes first, then the built-in kit of its class or kind; for a head
            of the user's own, that of the kind with its name.

    Returns:
        An empty :class:`Kit` for a head that is not known and brings none.

    Raises:
        UserError: its ``kit`` is not one.
    """
    own = getattr(head, "kit", None)
    if own is not None:
        return _checked(own, name)
    of_kind = getattr(head, "kind", EXTERNAL)
    by_name = KITS.get(name if of_kind == EXTERNAL else of_kind, Kit)
    return next((kit for kit in KITS.values() if kit.head and isinstance(head, kit.head)), by_name)(name)


def _checked(kit: Any, name: str) -> Kit:
    if is_target(kit):
        made = instantiate(kit, name)
    else:
        made = kit(name) if isinstance(kit, type) and issubclass(kit, Kit) else kit
    if not isinstance(made, Kit):
        raise UserError(f"head.{name}.kit: must be an effdet.tasks.Kit, and is {made!r}; derive its class from it")
    return made


def kits_of(model: Any) -> dict[str, Kit]:
    """By head name, the kits of a `VisionModel`, `FoldedModel` or `RuntimeModel`."""
    heads = dict(getattr(model, "heads", {}).items())
    return {name: kit_for(name, heads.get(name)) for name in getattr(model, "classes", heads)}


def head_reports(kits: Mapping[str, Kit], evaluators: Mapping[str, Evaluator]) -> dict[str, HeadReport]:
    """By head, for the evaluators that have gathered an image and whose kit writes a report."""
    reports = {
        name: kits[name].report(evaluator)
        for name, evaluator in evaluators.items()
        if getattr(evaluator, "evaluated", 0)
    }
    return {name: report for name, report in reports.items() if report is not None}


def truth_predict_fn(kits: Mapping[str, Kit]) -> PredictFn:
    """The perfect predictor: the labels themselves, for the heads whose kit can give them. What it doesn't score is lost to
    every model."""

    def predict(batch: EvalBatch) -> dict[str, Any]:
        return {name: kit.truth(batch) for name, kit in kits.items() if kit.has("truth")}

    return predict


def chief_metrics(kits: Mapping[str, Kit]) -> Sequence[str]:
    """The metrics by which the best checkpoint is chosen: one of each head that has one; their losses where none has."""
    metrics = tuple(kit.metric for kit in kits.values() if kit.metric is not None)
    return metrics or tuple(f"{name}{LOSS}" for name in kits)
