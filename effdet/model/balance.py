"""How the losses of several heads are weighed against each other.

    weights      fixed numbers, 1 for a head that is not named
    uncertainty  learned: each head's loss L becomes ``exp(-s) L + s / 2`` with s the logarithm of its variance
                 (Kendall et al., arXiv 1705.07115, equation 10, its form for a likelihood with a softmax)

A task that no picture of the batch is labelled for has a loss of exactly 0. Its ``s / 2`` is left out then: it would pull s
down in every such batch, and let the task outweigh the others when it comes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

from heads.structures import UserError

RULES = ("weights", "uncertainty")


@dataclass(frozen=True)
class BalanceSpec:
    """The rule and, for ``weights``, each head's weight."""

    rule: str = "weights"
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UserError(f"balance.rule={self.rule!r} is unknown; use one of {', '.join(RULES)}")
        if bad := [name for name, weight in self.weights.items() if weight <= 0]:
            raise UserError(
                f"balance.weights.{bad[0]}={self.weights[bad[0]]} must be above 0; a head can't be left out"
            )
        if self.rule == "uncertainty" and set(self.weights.values()) - {1}:
            raise UserError("balance.rule=uncertainty learns the weights; leave balance.weights out")

    def to_dict(self) -> dict[str, Any]:
        return {"rule": self.rule, "weights": dict(self.weights)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(values["rule"], values["weights"])


class LossBalance(nn.Module):
    """Loss terms by head -> weighed terms by ``HEAD/TERM``.

    Args:
        spec: the rule.
        heads: names of the heads.

    Attributes:
        log_variance: s by head, learned; empty where the weights are fixed.
    """

    def __init__(self, spec: BalanceSpec, heads: Sequence[str]) -> None:
        super().__init__()
        if stray := sorted(set(spec.weights) - set(heads)):
            raise UserError(f"balance.weights names {stray[0]!r}; the model has heads {', '.join(heads)}")
        self.spec = spec
        learned = heads if spec.rule == "uncertainty" and len(heads) > 1 else ()
        self.log_variance = nn.ParameterDict({head: nn.Parameter(torch.zeros(())) for head in learned})

    def forward(self, terms: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The sum of what comes out is the loss; with learned weights ``HEAD/log_variance`` is among it, s / 2."""
        weighed: dict[str, Tensor] = {}
        for head, parts in terms.items():
            if head not in self.log_variance:
                weight = self.spec.weights.get(head, 1.0)
                weighed |= {f"{head}/{name}": value if weight == 1 else value * weight for name, value in parts.items()}
                continue
            log_variance = self.log_variance[head].float()
            labelled = torch.stack([value.detach() for value in parts.values()]).sum() > 0
            weighed |= {f"{head}/{name}": value * torch.exp(-log_variance) for name, value in parts.items()}
            weighed[f"{head}/log_variance"] = torch.where(labelled, log_variance / 2, log_variance * 0.0)
        return weighed
