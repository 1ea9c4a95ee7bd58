"""Which packets of a stream became frames: how frames that are lost are found, numbered and named.

A decoder says that a packet is damaged when it gets to it, some frames late where it works in several threads, and frames
are shown in another order than they are stored in. So errors are counted, and belong to those packets whose time passes
without a frame.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from fractions import Fraction

_MOST = 512
"""Packets that may wait for their frames; decoders hold back some dozens at most."""


_KINDS = 64
"""Different steps from frame to frame; with more of them the rate is a variable one."""
_REGULAR = 0.95
"""Share of steps that must be of one length, before a longer one is a gap."""
_FEWEST = 10
"""Steps before anything can be said."""


class Gaps:
    """Where frames are missing in a video of a constant rate, whose file says nothing of it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._last: Fraction | None = None
        self._counts: Counter[int] = Counter()
        self._first: dict[int, list[tuple[int, Fraction]]] = {}

    def frame(self, index: int, time: Fraction, *, known: bool) -> None:
        """A frame came; `known`: what is missing before it was said."""
        last, self._last = self._last, time
        if last is None or known or len(self._counts) > _KINDS:
            return
        step = round(1000 * (time - last))
        self._counts[step] += 1
        if len(first := self._first.setdefault(step, [])) < self._most:
            first.append((index, time))

    def found(self) -> list[tuple[int, Fraction, Fraction]]:
        """(index and time of the frame behind, length in seconds) of the first gaps, by time."""
        steps = sum(self._counts.values())
        if steps < _FEWEST or len(self._counts) > _KINDS:
            return []
        usual = self._counts.most_common(1)[0][0]
        regular = sum(count for step, count in self._counts.items() if abs(step - usual) <= 1 + usual / 10)
        if regular < _REGULAR * steps:
            return []
        long = [step for step in self._counts if step > 1.7 * usual]
        return sorted((index, time, Fraction(step, 1000)) for step in long for index, time in self._first[step])


class Ledger:
    """Packets sent to a decoder, by their times in the stream's clock.

    Args:
        ordered: frames come in the order of the packets' times, and their own times are not to be relied on (AVI, which
            stores none).
    """

    def __init__(self, *, ordered: bool = False) -> None:
        self.ordered = ordered
        self._waiting: list[int] = []
        self._failures: list[str] = []

    def sent(self, time: int | None) -> None:
        """A packet goes to the decoder."""
        if time is not None:
            insort(self._waiting, time)
            del self._waiting[:-_MOST]

    def failed(self, reason: str) -> None:
        """The decoder could not decode a packet."""
        self._failures.append(reason)

    def forgive(self) -> None:
        """What failed until here is of no interest, as where a stream was joined between two key frames."""
        self._failures.clear()

    def shown(self, time: int | None) -> tuple[int | None, list[tuple[int | None, str]]]:
        """A frame came.

        Args:
            time: the frame's own.

        Returns:
            The frame's time, and time and reason of each frame that was lost before it.
        """
        if self.ordered or time is None:
            if time is None and not self._waiting:
                return None, [(None, reason) for reason in self._taken(len(self._failures))]
            passed = self._waiting[: len(self._failures)]
            del self._waiting[: len(passed)]
            time = self._waiting.pop(0) if self._waiting else time
        else:
            at = bisect_left(self._waiting, time)
            passed = self._waiting[:at]
            del self._waiting[: at + (self._waiting[at : at + 1] == [time])]
        reasons = self._taken(len(passed))
        return time, list(zip(passed[len(passed) - len(reasons) :], reasons, strict=True))

    def left(self) -> list[tuple[int | None, str]]:
        """Time and reason of what was lost behind the last frame."""
        reasons = self._taken(len(self._failures))
        times: list[int | None] = [*self._waiting[: len(reasons)]]
        return list(zip(times + [None] * (len(reasons) - len(times)), reasons, strict=True))

    def _taken(self, count: int) -> list[str]:
        taken, self._failures = self._failures[:count], self._failures[count:]
        return taken
