"""The recurrent controller (Zoph and Le, ICLR 2017): an LSTM that writes an architecture, one decision after the other.

At step t it reads the embedding of decision t-1 and gives the probabilities of decision t's options.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Controller(nn.Module):
    """A policy over sequences of decisions.

    Args:
        sizes: number of options at each of the T decisions.
        hidden: width of the LSTM and of the embeddings.
        generator: draws the initial weights.
    """

    mask: Tensor
    offsets: Tensor

    def __init__(self, sizes: Sequence[int], *, hidden: int = 64, generator: torch.Generator | None = None) -> None:
        super().__init__()
        steps, most = len(sizes), max(sizes)
        self.sizes = tuple(sizes)
        self.embed = nn.Embedding(1 + sum(sizes), hidden)  # row 0 begins the sequence
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.weight = nn.Parameter(torch.empty(steps, hidden, most))  # each decision has its own output layer
        self.bias = nn.Parameter(torch.empty(steps, most))
        offsets = torch.tensor([1, *sizes]).cumsum(0)[:-1]
        absent = torch.arange(most) >= torch.tensor(sizes).unsqueeze(1)
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("mask", absent, persistent=False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.1, 0.1, generator=generator)
            self.weight.zero_()  # every option is as likely as the others at first
            self.bias.zero_()

    def forward(self, tokens: Tensor) -> Tensor:
        """Log-probabilities of all options, given the decisions before.

        Args:
            tokens: (N, T) int64 decisions.

        Returns:
            (N, T, most options) float32; -inf where a decision has fewer options.
        """
        read = torch.cat([torch.zeros_like(tokens[:, :1]), (tokens + self.offsets)[:, :-1]], 1)  # (N, T)
        states, _ = self.lstm(self.embed(read))  # (N, T, hidden)
        logits = torch.einsum("nth,tho->nto", states, self.weight) + self.bias
        return logits.masked_fill(self.mask, -torch.inf).log_softmax(-1)

    def score(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of each decision taken, and the entropy of the choice it was taken from; both (N, T)."""
        log_probs = self(tokens)
        entropy = -(log_probs.exp() * log_probs.masked_fill(self.mask, 0)).sum(-1)
        return log_probs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1), entropy

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, T) int64 decisions drawn from the policy."""
        read = torch.zeros(count, 1, dtype=torch.int64)
        state: tuple[Tensor, Tensor] | None = None
        taken = []
        for step in range(len(self.sizes)):
            output, state = self.lstm(self.embed(read), state)  # output: (count, 1, hidden)
            logits = output[:, 0] @ self.weight[step] + self.bias[step]
            probabilities = logits.masked_fill(self.mask[step], -torch.inf).softmax(-1)
            token = torch.multinomial(probabilities, 1, generator=generator)  # (count, 1)
            taken.append(token)
            read = token + self.offsets[step]
        return torch.cat(taken, 1)
