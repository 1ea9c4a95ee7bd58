"""What heads for a whole image begin with (EfficientNet, Table 1, stage 9): 1x1 convolution, global average, dropout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from backbones.layers import ConvNormAct, LayerConventions
from heads.fields import check_fields
from heads.protocol import Context
from heads.ranks import over_ranks
from heads.structures import Targets, UserError


@dataclass(frozen=True)
class PooledOptions(LayerConventions):
    """Of a head for a whole image."""

    head_channels: Annotated[int, "1.."]
    """Width of the 1x1 convolution (1280 for B0 and all of Lite)."""
    dropout: Annotated[float, "0..<1"] = 0.2
    """Of the pooled vector."""
    label_smoothing: Annotated[float, "0..<1"] = 0.0
    """Share of the target that is spread over all classes (the paper trains with 0.1)."""

    def __post_init__(self) -> None:
        check_fields(self, "head: ")


class PooledHead(nn.Module):
    """One vector an image, from the coarsest feature.

    Args:
        in_channels: width of C5.
        num_classes: K, at least 1.
    """

    in_levels: Sequence[str] = ("C5",)
    in_heads: Sequence[str] = ()

    def __init__(self, in_channels: int, num_classes: int, options: PooledOptions) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"num_classes must be at least 1, got {num_classes}")
        self.num_classes = num_classes
        self.label_smoothing = options.label_smoothing
        self.conv_head = ConvNormAct(in_channels, options.head_channels, 1, conventions=options)
        self.dropout = nn.Dropout(options.dropout)

    counts_predictions = False
    """What the loss counts, the labelled images, does not depend on the predictions."""

    def count(self, output: Tensor, targets: Targets, context: Context) -> None:
        """What the loss counts (:mod:`heads.ranks`)."""
        if targets.category is not None:
            over_ranks(known(targets.category).sum())

    def labelled(self, targets: Targets) -> bool | Tensor:
        """Whether an image of the batch is labelled: False or () bool."""
        return False if targets.category is None else known(targets.category).any()

    def pooled(self, features: Mapping[str, Tensor]) -> Tensor:
        """``features["C5"]``: (B, in, h, w) -> (B, head)."""
        return self.dropout(self.conv_head(features["C5"]).mean((2, 3)))


def known(category: Tensor) -> Tensor:
    """(B,) bool: which images have a class. `category` is (B,) int64, -1 for none, or (B, K) weights, all 0 for none."""
    return category >= 0 if category.dim() == 1 else category.sum(1) > 0
