"""The classifier of EfficientNet (Table 1, stage 9): 1x1 convolution, global average, dropout, dense layer.

Loss: cross-entropy with label smoothing. The targets may be class numbers, or class weights after mixup or cutmix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.layers import initialise
from heads.distillation import class_wise, rows, too_few
from heads.pooled import PooledHead, PooledOptions, known
from heads.prior import EVEN, start_at_prior
from heads.protocol import Context, SharedClasses
from heads.pseudo_labels import PseudoLabels, confident_classes, soft_cross_entropy
from heads.ranks import over_ranks
from heads.structures import Targets


class ClassificationHead(PooledHead):
    """Class logits from the coarsest feature, see :class:`heads.pooled.PooledHead`."""

    class_layers: Sequence[str] = ("classifier",)
    prior: float | None = EVEN
    pseudo_terms: Sequence[str] = ("class",)

    def __init__(self, in_channels: int, num_classes: int, options: PooledOptions) -> None:
        super().__init__(in_channels, num_classes, options)
        self.classifier = nn.Linear(options.head_channels, num_classes)
        initialise(self)
        # The reference draws from ±1/√K, meant for 1,000 classes: ten of them would begin at a loss of 5 instead of ln 10.
        start_at_prior(self.classifier, self.prior)

    def forward(self, features: Mapping[str, Tensor], context: Context) -> Tensor:
        """``features["C5"]``: (B, in, h, w) -> (B, K) logits."""
        return self.classifier(self.pooled(features))

    def loss(self, output: Tensor, targets: Targets, context: Context) -> dict[str, Tensor]:
        """``{"class": float32 scalar}``: the mean over the labelled images, 0 but connected where there are none.

        Args:
            output: (B, K) logits.
            targets: ``category`` (B,) int64, -1 for an image without label, or (B, K) float32 weights that sum to 1,
                or are all 0 for one without.
        """
        category = targets.category
        logits = output.float()
        if category is None:
            return {"class": logits.sum() * 0.0}
        if category.dim() == 2:
            each = F.cross_entropy(logits, category.float(), reduction="none", label_smoothing=self.label_smoothing)
            loss = (each * known(category)).sum()
        else:
            smoothing = self.label_smoothing
            loss = F.cross_entropy(logits, category, ignore_index=-1, reduction="sum", label_smoothing=smoothing)
        total, parts = over_ranks(known(category).sum())
        return {"class": loss * parts / total.clamp(min=1)}

    def cannot_learn_from(self, teacher: nn.Module, shared: SharedClasses) -> str | None:
        """See :class:`heads.protocol.Distils`."""
        return too_few(shared.own) if isinstance(teacher, ClassificationHead) else f"it is a {type(teacher).__name__}"

    def distil(
        self, output: Tensor, teacher: Tensor, shared: SharedClasses, *, temperature: float
    ) -> dict[str, Tensor]:
        """``{"class"}``: :func:`heads.distillation.class_wise` over the shared classes."""
        return {"class": class_wise(rows(output, shared.own, 1), rows(teacher, shared.teacher, 1), temperature)}

    def pseudo_labels(self, output: Tensor, *, confidence: float) -> PseudoLabels:
        """See :func:`heads.pseudo_labels.confident_classes`."""
        with torch.autocast(output.device.type, enabled=False):
            return confident_classes(output, confidence)

    def pseudo_loss(self, output: Tensor, labels: PseudoLabels) -> dict[str, Tensor]:
        """``{"class"}``: :func:`heads.pseudo_labels.soft_cross_entropy`."""
        with torch.autocast(output.device.type, enabled=False):
            return {"class": soft_cross_entropy(output, labels.targets)}

    def predict(self, output: Tensor, context: Context) -> Tensor:
        """(B, K) logits -> (B, K) float32 probabilities; each row sums to 1."""
        return output.float().softmax(dim=1)
