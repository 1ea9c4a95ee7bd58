"""Which packets of a stream became frames: how frames that are lost are found, numbered and named.

A decoder says that a packet is damaged when it gets to it, some frames late where it works in several threads, and frames
are shown in another order than they are stored in. So errors are counted, and belong to those packets whose time passes
without a frame.
"""

from __future__ import annotations

from bisect import bisect_left, insort

_MOST = 512
"""Packets that may wait for their frames; decoders hold back some dozens at most."""


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
