"""Search by policy gradient: a recurrent controller writes architectures and learns from their rewards.

The controller (Zoph and Le, ICLR 2017) is an LSTM that makes one decision after the other: at step t it reads the embedding of
decision t-1 and gives the probabilities of decision t's options. It learns by REINFORCE (Williams, 1992), as in the first
architecture search, or by proximal policy optimisation (Schulman et al., 2017), as MnasNet searches (§4.2): a batch of
candidates costs hours of training, so several epochs are made over it, each decision's probability ratio clipped so that the
policy stays near the one that drew it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from effdet.search.space import Tokens


class Controller(nn.Module):
    """A policy over sequences of decisions.

    Args:
        sizes: number of options at each of the T decisions.
        hidden: width of the LSTM and of the embeddings.
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


class PolicySearch:
    """A controller that learns from rewards; subclasses say how, in :meth:`learn`.

    Args:
        sizes: number of options at each decision.
    """

    lr = 0.01
    """Of Adam."""
    entropy = 0.03
    """Weight of the entropy bonus, which keeps the controller from converging too early."""
    decay = 0.8
    """Share of the old value in the moving average of rewards that advantages are measured from."""
    hidden = 64
    """Width of the controller."""

    def __init__(self, sizes: Sequence[int], *, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.controller = Controller(sizes, hidden=self.hidden, generator=self.generator)
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=self.lr)
        self.baseline: float | None = None

    def ask(self, count: int) -> list[Tokens]:
        return [tuple(row) for row in self.controller.sample(count, self.generator).tolist()]

    def tell(self, tokens: Sequence[Tokens], rewards: Sequence[float]) -> None:
        worth = torch.tensor(rewards, dtype=torch.float64)
        mean = float(worth.mean())
        self.baseline = mean if self.baseline is None else self.decay * self.baseline + (1 - self.decay) * mean
        # Divided by their spread: rewards of different candidates differ in the second or third digit.
        spread = float(worth.std(correction=0))
        advantages = (worth - self.baseline) / (spread + 1e-8) if spread > 0 else torch.zeros_like(worth)
        self.learn(torch.tensor(tokens), advantages.clamp(-5, 5).float())

    def learn(self, tokens: Tensor, advantages: Tensor) -> None:
        """One update. `tokens`: (N, T) int64 that the controller drew since its last update; `advantages`: (N,)."""
        raise NotImplementedError

    def descend(self, loss: Tensor) -> None:
        """One step of the optimiser, its gradient clipped to length 1."""
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.controller.parameters(), 1.0)
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return copy.deepcopy(
            {
                "controller": self.controller.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(),
                "baseline": self.baseline,
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.controller.load_state_dict(state["controller"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.baseline = state["baseline"]


class Reinforce(PolicySearch):
    """One step up ``E[advantage * log p(architecture)]`` for each batch."""

    def learn(self, tokens: Tensor, advantages: Tensor) -> None:
        log_probs, entropy = self.controller.score(tokens)  # (N, T) each
        gain = (advantages.unsqueeze(1) * log_probs).mean()
        self.descend(-gain - self.entropy * entropy.mean())


class PPO(PolicySearch):
    """The clipped surrogate (eq. 7)."""

    lr = 0.003
    clip = 0.2
    """How far a probability ratio may leave 1 and still be rewarded for it."""
    epochs = 4
    """Passes over each batch."""

    def learn(self, tokens: Tensor, advantages: Tensor) -> None:
        with torch.no_grad():
            old, _ = self.controller.score(tokens)
        for _ in range(self.epochs):
            log_probs, entropy = self.controller.score(tokens)
            gain = clipped_surrogate(log_probs, old, advantages, self.clip).mean()
            self.descend(-gain - self.entropy * entropy.mean())


def clipped_surrogate(log_probs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """``min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A)`` for each decision.

    Args:
        log_probs: (N, T) of the decisions under the policy now.
        old: (N, T) under the policy that drew them.
        advantages: (N,) one for all decisions of an architecture.

    Returns:
        (N, T).
    """
    ratio = (log_probs - old).exp()
    advantages = advantages.unsqueeze(1)
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
