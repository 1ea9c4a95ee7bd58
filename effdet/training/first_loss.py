"""What a fresh head's first loss should be: the formula of its initialisation, against which pre-flight holds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from heads.prior import PRIOR
from heads.structures import Targets


@dataclass(frozen=True)
class FirstLoss:
    """One term's expected value."""

    term: str
    """Of the head's loss."""
    value: float
    factor: float
    """How far the real one may lie from it, either way."""
    meaning: str
    """For the complaint: "… is 3.1 where `meaning` 2.4"."""
    causes: str


def detection(head: Any, output: Any, targets: Targets) -> FirstLoss | None:
    """Class loss of a detection head whose every entry says the prior: the focal loss written out, over positives.

    Random features spread the logits around the prior, which makes some factors; a head that has lost its prior is off by
    thousands.
    """
    if targets.boxes is None or targets.labels is None or not _all_labelled(targets):
        return None
    positives = int((head.match(output, targets.boxes.float(), targets.labels) >= 0).sum())
    settings = head.loss_settings
    negative = (1 - settings.alpha) * PRIOR**settings.gamma * -math.log(1 - PRIOR)
    positive = settings.alpha * (1 - PRIOR) ** settings.gamma * -math.log(PRIOR)
    total = (output.class_logits.numel() - positives) * negative + positives * positive
    value = settings.class_weight * total / max(positives, 1)
    causes = "the head does not start at its prior, or labels lie outside the classes"
    return FirstLoss("class", value, 10.0, "the focal prior predicts", causes)


def _all_labelled(targets: Targets) -> bool:
    return targets.has_boxes is None or bool(targets.has_boxes.all())


def semantic(head: Any, output: Any, targets: Targets) -> FirstLoss | None:
    """Cross-entropy of guessing: ln K, whatever the class weights and the smoothing."""
    settings, labels = head.loss_settings, targets.semantic
    if labels is None or not settings.cross_entropy or not bool((labels != 255).any()) or head.num_classes < 2:
        return None
    value = settings.cross_entropy * math.log(head.num_classes)
    causes = "the head does not start small, or its features are far too large"
    return FirstLoss("cross_entropy", value, 2.0, f"guessing among {head.num_classes} classes gives", causes)


FIRST_LOSSES: Mapping[str, Callable[[Any, Any, Targets], FirstLoss | None]] = {
    "detection": detection,
    "semantic": semantic,
}
"""By head."""
