"""What a teacher says of images without labels, as targets: dense, so that no threshold decides on boxes.

Detectors follow Dense Teacher (:mod:`heads.detection.soft_targets`). Where the classes of an image or pixel exclude each other,
the soft probabilities are the target wherever the best of them reaches a confidence, and nothing is learnt elsewhere (FixMatch,
Sohn et al., arXiv 2001.07685, equation 4, with soft labels); the sum is divided by all places, so that an image of which little
is certain weighs little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class PseudoLabels:
    """The targets of a batch, and what they were; nothing in it carries a gradient."""

    targets: Any
    """What the head's loss reads."""
    counts: Tensor
    """(K,) float32, how much of each class: anchors by their scores, images, or pixels as shares of an image."""
    confidence: Tensor
    """() float32: sum of the confidences of all that is a target."""
    number: Tensor
    """() float32: how many there are."""


@torch.no_grad()
def confident_classes(logits: Tensor, confidence: float) -> PseudoLabels:
    """Soft labels of images (B, K) or pixels (B, K, h, w); those below `confidence` are zero throughout."""
    probabilities = logits.float().softmax(1)
    best, index = probabilities.max(1)  # (B, …)
    chosen = best >= confidence
    places = best[0].numel()
    counts = probabilities.new_zeros(logits.shape[1])
    counts.index_add_(0, index.flatten(), chosen.flatten().float() / places)
    return PseudoLabels(
        probabilities * chosen[:, None], counts, (best * chosen).sum() / places, chosen.sum().float() / places
    )


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy with soft labels, the mean over images and pixels; targets that are zero throughout add nothing.

    Args:
        logits: (B, K) or (B, K, h, w).
        targets: of the same shape, float32.
    """
    return -(targets * logits.float().log_softmax(1)).sum(1).mean()
