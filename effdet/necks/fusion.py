"""How a node sums its inputs (EfficientDet, arXiv 1911.09070, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.layers import FUSION_EPS, normalised_shares
from heads.structures import UserError

FUSIONS = ("fast", "softmax", "sum")


class Fusion(nn.Module):
    """The weighted sum of equally shaped maps.

    Rules:
        fast     w_i = relu(w_i) / (eps + sum_j relu(w_j)), the paper's fast normalised fusion, eps 1e-4
        softmax  w_i = exp(w_i) / sum_j exp(w_j)
        sum      w_i = 1, without parameters
    """

    weights: nn.Parameter | None
    constant: Tensor | None

    def __init__(self, inputs: int, rule: str) -> None:
        super().__init__()
        if rule not in FUSIONS:
            raise UserError(f"fusion {rule!r} is unknown; use one of {', '.join(FUSIONS)}")
        self.rule = rule
        self.weights = None if rule == "sum" else nn.Parameter(torch.ones(inputs))
        self.register_buffer("constant", None)

    def shares(self) -> Tensor | None:
        """(inputs,) float32 share of each input, or None for a plain sum."""
        if self.constant is not None or self.weights is None:
            return self.constant
        if self.rule == "softmax":
            return torch.softmax(self.weights.float(), dim=0)
        return normalised_shares(self.weights)

    def weights_of(self, shares: Tensor) -> Tensor:
        """Weights that give these `shares` (inputs,): the way back from :meth:`freeze`."""
        exact = shares.double()
        if self.rule == "softmax":
            return exact.clamp(min=1e-30).log().to(shares.dtype)
        rest = 1 - exact.sum()  # eps / (eps + sum of the weights)
        return (exact * (FUSION_EPS / rest if rest > 1e-7 else 1.0)).to(shares.dtype)

    def freeze(self) -> None:
        """Turn the weights into constants. For prediction alone: the module can't be trained after it."""
        shares = self.shares()
        self.constant = None if shares is None else shares.detach()
        self.weights = None

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Sequence of (B, C, H, W) -> (B, C, H, W)."""
        shares = self.shares()
        if shares is None:
            total = inputs[0] + inputs[1]
            for tensor in inputs[2:]:
                total = total + tensor
            return total
        shares = shares.to(inputs[0].dtype)
        total = inputs[0] * shares[0]
        for index, tensor in enumerate(inputs[1:], start=1):
            total = torch.addcmul(total, tensor, shares[index])
        return total
