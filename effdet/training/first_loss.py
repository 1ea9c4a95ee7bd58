"""What a fresh head's first loss is: the formula of its prior, against which pre-flight holds it.

The last layer of every head starts at its prior whatever the features are (:mod:`heads.prior`), so these formulas hold for
any batch, backbone and matcher; what is left is the noise of small first weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from heads.detection.focal import focal_loss
from heads.pooled import known
from heads.prior import PRIOR
from heads.structures import Targets

FACTOR = 1.5
"""How far a fresh head's first loss may lie from its formula, either way. Measured on COCO images with
phi -4 and b0 to b2: within 0.2 %; a head that has lost its prior is off by more than tenfold."""
NEW_ROWS = 1.2
"""How far above the prior's the class loss of new classes may start beside carried ones. Below is fine."""


@dataclass(frozen=True)
class FirstLoss:
    """One term's expected value."""

    term: str
    """Of the head's loss."""
    value: float
    meaning: str
    """For the complaint: "… is 3.1 where `meaning` 2.4"."""
    causes: str
    """What may be wrong, and what to do."""


def detection(head: Any, output: Any, targets: Targets) -> FirstLoss | None:
    """Class loss of a detection head whose every entry has the prior's probability: the focal loss written out.

    None where no image of the batch is labelled with boxes.
    """
    labels, labelled = _labels(output, targets)
    if labels is None or not labelled.any():
        return None
    assert targets.boxes is not None
    positives = int((head.match(output, targets.boxes.float(), labels) >= 0).sum())
    entries = int(labelled.sum()) * output.class_logits[0].numel()
    settings = head.loss_settings
    divisor = positives + 1 if settings.normaliser == "paper" else max(positives, 1)
    return FirstLoss(
        "class",
        settings.class_weight * _prior_sum(settings, entries, positives) / divisor,
        "the focal prior predicts",
        "the last class layer does not start at its prior, or labels lie outside the classes. A head of your own starts "
        "there by heads.prior.start_at_prior(layer, 'detection'); weights=FILE loads a head that is trained",
    )


def semantic(head: Any, output: Any, targets: Targets) -> FirstLoss | None:
    """Cross-entropy of guessing.

    It is ln K at every pixel. Label smoothing spreads a share e over all classes by their weights, and the mean over pixels
    divides by the weights of their own classes: ``ln K ((1 - e) + e mean(w) n / sum_i w_i)``.
    """
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
        "the last layer does not start near zero. A head of your own starts there by "
        "heads.prior.start_at_prior(layer, 'semantic')"
    )
    value = settings.cross_entropy * math.log(classes) * share
    return FirstLoss("cross_entropy", value, f"guessing among {classes} classes gives", causes)


def classification(head: Any, output: Tensor, targets: Targets) -> FirstLoss | None:
    """Cross-entropy of guessing: ln K, for mixed and smoothed labels too, since these sum to 1."""
    category, classes = targets.category, head.num_classes
    if category is None or classes < 2:
        return None
    if not known(category).any():
        return None
    causes = (
        "the last layer does not start near zero. A head of your own starts there by "
        "heads.prior.start_at_prior(layer, 'classification')"
    )
    return FirstLoss("class", math.log(classes), f"guessing among {classes} classes gives", causes)


FIRST_LOSSES: Mapping[str, Callable[[Any, Any, Targets], FirstLoss | None]] = {
    "detection": detection,
    "semantic": semantic,
    "classification": classification,
}
"""By head. An embedding has no prior: its first loss depends on the angles between random directions."""


def new_rows(head: Any, output: Any, targets: Targets, rows: Sequence[int]) -> tuple[float, float] | None:
    """Class loss of some classes of a detection head: (found, predicted by the focal prior), undivided sums.

    Args:
        rows: the classes, numbers in 0…K-1.

    Returns:
        None where no image of the batch is labelled with boxes.
    """
    labels, labelled = _labels(output, targets)
    if labels is None or not labelled.any():
        return None
    assert targets.boxes is not None
    matches = head.match(output, targets.boxes.float(), labels)  # (B, A)
    if labels.shape[1]:
        matched = torch.where(matches >= 0, labels.gather(1, matches.clamp(min=0)), -1)
    else:
        matched = matches
    index = torch.full((head.num_classes + 1,), -1, device=labels.device)
    index[list(rows)] = torch.arange(len(rows), device=labels.device)
    own = index[matched]  # (B, A): -1 picks the last place, which is -1
    settings = head.loss_settings
    found = focal_loss(
        output.class_logits[..., list(rows)].contiguous(),
        own,
        alpha=settings.alpha,
        gamma=settings.gamma,
        label_smoothing=settings.label_smoothing,
        weight=labelled.float(),
    )
    entries = int(labelled.sum()) * own.shape[1] * len(rows)
    return float(found.detach()), _prior_sum(settings, entries, int((own >= 0).sum()))


def _labels(output: Any, targets: Targets) -> tuple[Tensor | None, Tensor]:
    """(B, M) labels, -1 for images that are not labelled with boxes, and (B,) bool: which are."""
    batch, device = len(output.class_logits), output.class_logits.device
    if targets.boxes is None or targets.labels is None:
        return None, torch.zeros(batch, dtype=torch.bool, device=device)
    labelled = torch.ones(batch, dtype=torch.bool, device=device) if targets.has_boxes is None else targets.has_boxes
    return torch.where(labelled[:, None], targets.labels, -1), labelled


def _prior_sum(settings: Any, entries: int, positives: int) -> float:
    """Focal loss of `entries`, `positives` of which should fire, where all have the probability :data:`PRIOR`."""
    logit = torch.tensor(math.log(PRIOR / (1 - PRIOR)), dtype=torch.float64)

    def entry(x: Tensor) -> float:
        """Of an entry that should not fire; one that should has it at -x (label smoothing e moves its target by e / 2)."""
        return float(x.sigmoid() ** settings.gamma * (F.softplus(x) - settings.label_smoothing / 2 * x))

    return (entries - positives) * (1 - settings.alpha) * entry(logit) + positives * settings.alpha * entry(-logit)
