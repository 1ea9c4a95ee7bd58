"""An embedding: a point on the unit sphere for each image, near those of the same identity (faces, people, vehicles).

Cosine softmax (Wang et al. 2017, "NormFace"; Wojke and Bewley 2018) classifies by the angle to one prototype per identity;
ArcFace (Deng et al. 2019, equation 3) adds a margin to the angle of the true one, so that identities keep apart. The prototypes
serve only training: identities that were never seen are compared by their embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.layers import initialise
from heads.pooled import PooledHead, PooledOptions, known
from heads.prior import start_at_prior
from heads.protocol import Context
from heads.ranks import over_ranks
from heads.structures import Targets, UserError


@dataclass(frozen=True)
class EmbeddingOptions(PooledOptions):
    """Of an embedding head."""

    dropout: Annotated[float, "0..<1"] = 0.0
    dim: Annotated[int, "1.."] = 128
    """Dimensions of an embedding."""
    loss: Literal["arcface", "cosine"] = "arcface"
    margin: Annotated[float, "0..<1.5708"] = 0.3
    """ArcFace's, radians below π/2; the paper's is 0.5 with some 85,000 identities."""
    scale: Annotated[float, "0<.."] = 30.0
    """Of the cosines before the softmax; the paper's is 64."""


class EmbeddingHead(PooledHead):
    """Embeddings from the coarsest feature: 1x1 convolution, global average, dropout, linear map.

    Args:
        in_channels: width of C5.
        num_classes: identities K that training knows.
    """

    class_layers: Sequence[str] = ("prototypes",)
    prior: float | None = None

    def __init__(self, in_channels: int, num_classes: int, options: EmbeddingOptions) -> None:
        super().__init__(in_channels, num_classes, options)
        self.dim = dim = options.dim
        self.margin = options.margin if options.loss == "arcface" else 0.0
        self.scale = options.scale
        self.project = nn.Linear(options.head_channels, dim, bias=False)
        initialise(self)
        nn.init.normal_(self.project.weight, std=options.head_channels**-0.5)
        self.prototypes = nn.Linear(dim, num_classes, bias=False)  # (K, D); only their directions count
        start_at_prior(self.prototypes, self.prior)

    def forward(self, features: Mapping[str, Tensor], context: Context) -> Tensor:
        """``features["C5"]``: (B, in, h, w) -> (B, D), of any length."""
        return self.project(self.pooled(features))

    def cosines(self, output: Tensor) -> Tensor:
        """(B, D) -> (B, K) float32 cosines to the prototypes."""
        return F.normalize(output.float()) @ F.normalize(self.prototypes.weight.float()).T

    def loss(self, output: Tensor, targets: Targets, context: Context) -> dict[str, Tensor]:
        """``{"class": float32 scalar}``: the mean over the labelled images, 0 but connected where there are none.

        Args:
            output: (B, D).
            targets: ``category`` (B,) int64 identities, -1 for an image without.

        Raises:
            UserError: mixed classes: a margin is for one identity.
        """
        category = targets.category
        with torch.autocast(output.device.type, enabled=False):
            cosines = self.cosines(output)
            if category is None:
                return {"class": cosines.sum() * 0.0}
            if category.dim() != 1:
                raise UserError("an embedding learns one identity an image: set augment.mixup and augment.cutmix to 0")
            logits = self.scale * with_margin(cosines, category, self.margin)
            loss = F.cross_entropy(
                logits, category, ignore_index=-1, reduction="sum", label_smoothing=self.label_smoothing
            )
        total, parts = over_ranks(known(category).sum())
        return {"class": loss * parts / total.clamp(min=1)}

    def predict(self, output: Tensor, context: Context) -> Tensor:
        """(B, D) -> (B, D) float32 of length 1: the cosine of two is their dot product."""
        return F.normalize(output.float())


def with_margin(cosines: Tensor, category: Tensor, margin: float) -> Tensor:
    """cos(θ + m) in place of cos θ for the true identity.

    Beyond θ = π - m that would rise again; there the straight line cos θ - m sin m goes on falling (the authors' code).

    Args:
        cosines: (B, K) float32.
        category: (B,) int64; rows of -1 stay as they are.
        margin: radians.
    """
    rows = category.clamp(min=0)[:, None]
    cosine = cosines.gather(1, rows)
    sine = (1 - cosine.square()).clamp(min=1e-7).sqrt()  # the root's slope at 0 is infinite
    moved = cosine * math.cos(margin) - sine * math.sin(margin)
    moved = torch.where(cosine > -math.cos(margin), moved, cosine - margin * math.sin(margin))
    return cosines.scatter(1, rows, torch.where(category[:, None] >= 0, moved, cosine))
