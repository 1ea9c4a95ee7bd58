"""The time of a frame in seconds of its video: it begins at 0 and always grows, whatever the stream's clock does.

A stream's clock may begin anywhere, jump where recordings were joined, be given to frames in the wrong order, or be
missing. Players cope with all of that; so do tables whose times others compute with.
"""

from __future__ import annotations

from fractions import Fraction

_JUMP = Fraction(1)
"""Seconds: in a stream that may be joined of several, a larger step between two frames is a jump of the clock."""


def longest_step(step: Fraction) -> Fraction:
    """Seconds from frame to frame above which the clock of a joined stream jumped; `step` is the usual time."""
    return max(_JUMP, 10 * step)


class Clock:
    """Seconds since the video's first instant, for frames in the order shown.

    Args:
        step: seconds between two frames, where their times do not say.
        start: the first instant by the stream's clock; None, or one that lies behind the first frame, takes that frame's.
        joined: whether the stream's form allows jumps (MPEG transport streams); else a long step is a long step.
    """

    def __init__(self, step: Fraction, *, start: Fraction | None = None, joined: bool = False) -> None:
        self._step, self._start = step, start
        self._longest = longest_step(step) if joined else None
        self._offset: Fraction | None = None
        self._older: Fraction | None = None
        self._gap = Fraction(0)
        self.last: Fraction | None = None
        """Time of the last frame."""

    def time(self, raw: Fraction | None) -> Fraction:
        """The time of the next frame.

        Args:
            raw: seconds by the stream's clock; None where it gives none.
        """
        self.last = self._next(raw)
        return self.last

    def restart(self, gap: Fraction) -> None:
        """The stream begins anew, with another clock, `gap` seconds after the last frame."""
        self._offset, self._older, self._start, self._gap = None, None, None, gap

    def _next(self, raw: Fraction | None) -> Fraction:
        last = self.last
        follows = Fraction(0) if last is None else last + max(self._step, self._gap)
        if raw is None:
            self._gap = Fraction(0)
            return follows
        if self._offset is None:
            if last is None and self._start is not None and self._start <= raw:
                follows = raw - self._start
            self._offset, self._gap = follows - raw, Fraction(0)
            return follows
        time = raw + self._offset
        if last is None:
            return time
        if self._older is not None and last < raw + self._older <= last + 2 * self._step:
            # It was one frame's time that was wrong, not the clock that jumped.
            self._offset, self._older = self._older, None
            return raw + self._offset
        if time <= last or (self._longest is not None and time - last > self._longest):
            self._older, self._offset = self._offset, follows - raw
            return follows
        return time
