"""How the losses of several heads are weighed against each other.

    weights      fixed numbers, 1 for a head that is not named
    uncertainty  learned: each head's loss L becomes ``exp(-s) L + s / 2`` with s the logarithm of its variance
                 (Kendall et al., arXiv 1705.07115, equation 10, its form for a likelihood with a softmax)

A task that no image of the optimiser step is labelled for, on any process, has a loss of exactly 0. Its ``s / 2`` is left out
then: it would pull s down in every such step, and let the task outweigh the others when it comes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from heads.fields import check_fields
from heads.ranks import over_ranks
from heads.structures import UserError


@dataclass(frozen=True)
class BalanceSpec:
    """The rule and, for ``weights``, each head's weight."""

    rule: Literal["weights", "uncertainty"] = "weights"
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, "balance.")
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

    def forward(
        self,
        terms: Mapping[str, Mapping[str, Tensor]],
        labelled: Mapping[str, bool | Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The sum of what comes out is the loss; with learned weights ``HEAD/log_variance`` is among it, s / 2.

        Args:
            terms: float32 scalars by head and name.
            labelled: by head, whether anything of this process's batch is labelled for it; of a head that is missing here,
                whether its loss is above 0. A head is left out where nothing is in the whole step (:mod:`heads.ranks`).
        """
        weighed: dict[str, Tensor] = {}
        known = dict(labelled or {})
        for head in self.log_variance:
            if head not in known:
                known[head] = torch.stack([value.detach() for value in terms[head].values()]).sum() > 0
        anywhere = self.count(known)
        for head, parts in terms.items():
            if head not in self.log_variance:
                weight = self.spec.weights.get(head, 1.0)
                weighed |= {f"{head}/{name}": value if weight == 1 else value * weight for name, value in parts.items()}
                continue
            log_variance = self.log_variance[head].float()
            weighed |= {f"{head}/{name}": value * torch.exp(-log_variance) for name, value in parts.items()}
            weighed[f"{head}/log_variance"] = torch.where(anywhere[head], log_variance / 2, log_variance * 0.0)
        return weighed

    def count(self, labelled: Mapping[str, bool | Tensor]) -> dict[str, Tensor]:
        """By head with a learned weight, () bool: whether anything of the whole step is labelled for it."""
        found: dict[str, Tensor] = {}
        for head, learned in self.log_variance.items():
            flag = labelled[head]
            # Filled on the device: to copy a bool there, the host would wait for it.
            flag = flag if isinstance(flag, Tensor) else learned.new_full((), flag, dtype=torch.float32)
            found[head] = over_ranks(flag)[0] > 0
        return found
