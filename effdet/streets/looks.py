"""Identities: each thing of a set looks like one member of a fixed cast, so that the same car is met again.

An identity is a function of only (seed, split, class, member), and its number tells the split, so that identities of
`val` are never met in `train`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from effdet.streets.canvas import Colour, palette
from effdet.streets.labels import Label
from effdet.streets.rng import SPLITS, generator

CAST: dict[int, int] = {
    Label.PERSON: 240,
    Label.RIDER: 120,
    Label.CAR: 240,
    Label.TRUCK: 60,
    Label.BUS: 50,
    Label.TRAIN: 30,
    Label.MOTORCYCLE: 70,
    Label.BICYCLE: 120,
}
"""How many identities each class has in the training split; `val` and `test` have a third of them each."""


@dataclass(frozen=True)
class Look:
    """One identity: what it is and the numbers that it is drawn from."""

    label: int
    identity: int
    """split * 1,000,000 + label * 10,000 + member: unique over a set."""
    seed: int

    def rng(self, part: str) -> np.random.Generator:
        """Random numbers for a part of the look: the same each time."""
        return generator(self.seed, "look", self.identity, part)


def cast_size(label: int, split: str) -> int:
    return CAST[label] if split == "train" else max(8, CAST[label] // 3)


@lru_cache(maxsize=4096)
def look(seed: int, split: str, label: int, member: int) -> Look:
    return Look(label, SPLITS.index(split) * 1_000_000 + label * 10_000 + member, seed)


_CAR_PAINT = palette("e2e4e6 26282c 80848a b0b4b8 223e7a a41c1e 46181e 1a5442 ceba96 e0b222 d66220 588eb8")
_CAR_SHARES = np.array([0.2, 0.17, 0.15, 0.11, 0.09, 0.09, 0.03, 0.04, 0.03, 0.03, 0.02, 0.04])
"""How common each paint is."""


def car_paint(rng: np.random.Generator) -> Colour:
    base = _CAR_PAINT[int(rng.choice(len(_CAR_PAINT), p=_CAR_SHARES / _CAR_SHARES.sum()))]
    return vary(rng, base, 9)


def vary(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    """A colour near `colour`."""
    both, red, green, blue = (rng.standard_normal(4) * (spread * 0.5)).tolist()
    shift = both * 1.2
    return (
        min(255.0, max(0.0, colour[0] + shift + red)),
        min(255.0, max(0.0, colour[1] + shift + green)),
        min(255.0, max(0.0, colour[2] + shift + blue)),
    )


def pick(rng: np.random.Generator, table: Sequence[Colour], spread: float) -> Colour:
    """A colour near one of `table`."""
    return vary(rng, table[int(rng.integers(len(table)))], spread)


def tone(colour: Colour, gain: float) -> Colour:
    """Lighter or darker."""
    red, green, blue = colour
    return min(255.0, red * gain), min(255.0, green * gain), min(255.0, blue * gain)
