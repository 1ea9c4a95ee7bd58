"""A simulated landscape to compare search algorithms on, thousands of trials in seconds.

The cost is real: the MACs of the very network that the decisions describe. The accuracy is made up: a fixed random
two-layer network over the one-hot decisions and all their pairs, so that what one choice is worth depends on the others.

``accuracy = sigmoid(v . relu(W x) / sqrt(hidden / 2))``, where x has a one for each decision taken (scaled by
``1 / sqrt(2 T)``, T decisions) and for each pair of decisions taken (by ``1 / sqrt(2 T (T - 1) / 2)``), and W and v are
standard normal. So half of a hidden unit's variance comes from single decisions and half from pairs, and the sigmoid's
argument has variance 1 over landscapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbones.scaling import BackboneSpec, backbone_spec
from effdet.search.algorithms import Searcher
from effdet.search.costs import backbone_macs
from effdet.search.space import SearchSpace, Tokens
from effdet.search.study import Reward, reward_of

IMAGE_SIZE, CLASSES = 224, 1000
TARGET = 400e6
"""MACs: what EfficientNet's own search asked for (§4)."""
HIDDEN = 64


class Landscape:
    """Accuracy of any architecture, from `seed` only.

    Args:
        sizes: number of options at each decision.
        seed: of the random network.
    """

    def __init__(self, sizes: Sequence[int], *, seed: int = 0, hidden: int = HIDDEN) -> None:
        rng = np.random.default_rng(seed)
        steps, total = len(sizes), sum(sizes)
        self._offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._first, self._second = np.triu_indices(steps, 1)
        self._single = rng.standard_normal((total, hidden)) / np.sqrt(2 * steps)
        self._pair = rng.standard_normal((total * total, hidden)) / np.sqrt(2 * len(self._first))
        self._out = rng.standard_normal(hidden) / np.sqrt(hidden / 2)
        self._total = total

    def __call__(self, tokens: Tokens) -> float:
        """In (0, 1)."""
        place = self._offsets + np.asarray(tokens)  # (T,) rows of the one-hot vector that are one
        pairs = place[self._first] * self._total + place[self._second]
        hidden = np.maximum(self._single[place].sum(0) + self._pair[pairs].sum(0), 0)
        return float(1 / (1 + np.exp(-hidden @ self._out)))


@dataclass(frozen=True)
class Simulation:
    """A landscape, its space, and the reward in it."""

    space: SearchSpace
    landscape: Landscape
    reward: Reward

    def __call__(self, tokens: Tokens) -> float:
        """The reward of an architecture."""
        return self.reward(self.landscape(tokens), self.cost(tokens))

    def cost(self, tokens: Tokens) -> float:
        """MACs of the architecture as an ImageNet classifier."""
        return float(classifier_macs(self.space.decode(tokens), IMAGE_SIZE, CLASSES))


def classifier_macs(spec: BackboneSpec, image_size: int, classes: int) -> int:
    """Of the backbone with EfficientNet's classifier: a 1x1 convolution to ``head_channels`` and a dense layer."""
    side = -(-image_size // 32)  # of C5
    head = side * side * spec.channels[-1] * spec.head_channels + spec.head_channels * classes
    return backbone_macs(spec, image_size) + head


def simulation(*, seed: int = 0, variant: str = "soft") -> Simulation:
    """The space around EfficientNet-B0 at 224 pixels."""
    space = SearchSpace(backbone_spec("b0"))
    return Simulation(space, Landscape(space.sizes, seed=seed), reward_of(variant, TARGET))


def simulate(searcher: Searcher, worth: Callable[[Tokens], float], *, trials: int, batch: int) -> NDArray[np.float64]:
    """The rewards of `trials` candidates in the order in which they were asked for, (trials,)."""
    rewards: list[float] = []
    while len(rewards) < trials:
        tokens = searcher.ask(min(batch, trials - len(rewards)))
        reported = [worth(each) for each in tokens]
        searcher.tell(tokens, reported)
        rewards += reported
    return np.array(rewards)
