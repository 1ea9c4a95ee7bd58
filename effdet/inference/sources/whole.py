"""Whether a video file is whole: what its header promises, against what could be read."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from effdet.inference.sources.clock import longest_step

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
