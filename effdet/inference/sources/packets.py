"""Bookkeeping of a video's packets: the times of its frames, which frames are lost, whether the file is whole.

A stream's clock may begin anywhere, jump where recordings were joined, be given to frames in the wrong order, or be missing.
Players cope with all of that; so do tables whose times others compute with: here time begins at 0 and always grows.

A decoder says that a packet is damaged when it gets to it, some frames late where it works in several threads, and frames
are shown in another order than they are stored in. So errors are counted, and belong to those packets whose time passes
without a frame.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from fractions import Fraction
from typing import Any

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

    def clear_failures(self) -> None:
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


_STATED = ("mov", "matroska", "flv", "asf")
"""Forms whose header states how long the video is; others estimate it."""


_MAY_JUMP = 0x0200
"""FFmpeg's AVFMT_TS_DISCONT."""


def may_jump(container: Any) -> bool:
    """Whether the container's form may be joined of several recordings, whose clocks begin anew."""
    return bool(int(container.format.flags) & _MAY_JUMP)


class Jumps:
    """Where one recording ends in a file and the next begins.

    Args:
        container: PyAV's.
        step: seconds between two frames.
    """

    def __init__(self, container: Any, step: Fraction) -> None:
        self._joined = may_jump(container)
        self._longest = longest_step(step)
        self._last: Fraction | None = None

    def at(self, packet: Any) -> bool:
        """Whether the clock jumped before this packet of the video; packets come in the order of decoding."""
        if not self._joined or packet.dts is None or packet.time_base is None:
            return False
        last, now = self._last, packet.dts * packet.time_base
        self._last = now
        return last is not None and not last <= now <= last + self._longest


class Extent:
    """How far a video was read.

    Args:
        container: PyAV's, before its first packet.
        stream: the video's.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        name = str(container.format.name)
        self._joined = may_jump(container)  # where recordings were joined, a packet is marked too
        self._stated: Fraction | None = None
        if container.duration is not None and any(form in name for form in _STATED):
            # Forms differ in whether what is before the first frame counts; so does this, in favour of the file.
            self._stated = Fraction(container.duration + min(container.start_time or 0, 0), 1_000_000)
        self._frames = int(stream.frames) if name == "avi" else 0
        self._step = 1 / Fraction(stream.average_rate) if stream.average_rate else Fraction(1, 25)
        self._stream, self._packets, self._reached = stream.index, 0, Fraction(0)
        self._cut = False

    def read(self, packet: Any) -> None:
        """A packet of any stream was read."""
        if not packet.size:
            return
        if packet.stream.index == self._stream:
            self._packets += 1
            self._cut = bool(packet.is_corrupt) and not self._joined
        start = packet.pts if packet.pts is not None else packet.dts
        if start is not None and packet.time_base is not None:
            self._reached = max(self._reached, (start + (packet.duration or 0)) * packet.time_base)

    def missing(self) -> str | None:
        """What is missing at the end, in words; None where the video is whole."""
        if self._stated is not None:
            missing = self._stated - self._reached
            if missing > max(Fraction(1, 5), 3 * self._step, self._stated / 100):
                return f"the file is cut off, {float(missing):.1f} of its {float(self._stated):.1f} s are missing,"
        if self._frames and self._packets < self._frames - 1 - self._frames // 100:
            return f"the file is cut off, {self._frames - self._packets} of its {self._frames} frames are missing,"
        return "the file is cut off" if self._cut else None
