"""Which part of the report an evaluator's findings fill. A new kind of head is one line here and a file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from effdet.evaluation.evaluators import ClassificationEvaluator, DetectionEvaluator, Evaluator, SemanticEvaluator
from effdet.html import Section
from effdet.report.boxes import BoxReport
from effdet.report.categories import CategoryReport
from effdet.report.gallery import Gallery
from effdet.report.maps import MapReport
from effdet.report.statistics import Interval, Statistic


class HeadReport(Protocol):
    """What one head's evaluator found, ready to be written down. Made from the evaluator alone."""

    headline: tuple[tuple[str, str], ...]
    """(metric, name) of the key figures at the top of the page."""

    def __init__(self, evaluator: Any) -> None: ...

    @property
    def statistic(self) -> Statistic:
        """Its metrics as a function of how often each picture counts."""
        ...

    @property
    def pictures(self) -> list[str]:
        """Names of the pictures, in the order of `statistic`: those of two evaluations must agree to compare them."""
        ...

    def sections(
        self, metrics: Mapping[str, Any], intervals: Mapping[str, Interval], gallery: Gallery | None
    ) -> list[Section]:
        """Its part of the page; no pictures without a `gallery`."""
        ...


HEAD_REPORTS: dict[type, type[HeadReport]] = {
    DetectionEvaluator: BoxReport,
    SemanticEvaluator: MapReport,
    ClassificationEvaluator: CategoryReport,
}


def head_reports(evaluators: Mapping[str, Evaluator]) -> dict[str, HeadReport]:
    """By head, for the evaluators that have judged a picture and whose kind is known (a subclass counts as its parent)."""
    found: dict[str, HeadReport] = {}
    evaluator: Any
    for head, evaluator in evaluators.items():
        kind = next((HEAD_REPORTS[cls] for cls in type(evaluator).__mro__ if cls in HEAD_REPORTS), None)
        if kind is not None and evaluator.judged:
            found[head] = kind(evaluator)
    return found
