"""Frames of a video file, a camera or a stream, by PyAV: no ffmpeg program is needed.

What is damaged is skipped, counted and named; a video whose rest is missing gives the frames that are there, then an error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from effdet.addresses import is_address, without_credentials, without_credentials_in
from effdet.inference.sources.inputs import camera_device, is_camera, video_name
from effdet.inference.sources.packets import Clock, Extent, Gaps, Jumps, Ledger, may_jump
from heads.structures import UserError

REPORTED = 100
"""As many damaged frames are named."""
_TIMEOUT = 10.0
"""Seconds that a stream may take to open, or between two frames."""
_USUAL = Fraction(25)
"""Frames per second where nothing says how many."""
_FASTEST = 1000
"""Frames per second above which a stream states its clock's rate (90000) and not its frames'."""
_MAX_PIXELS = 178_956_970
"""Pixels of a frame, as for images: a larger one is a damaged header."""
_ATTACHED_PIC = 0x0400
"""FFmpeg's AV_DISPOSITION_ATTACHED_PIC."""
_DAMAGED_READS = 100
"""Errors of reading in a row after which a file is given up."""
_BUSY = 0.01
"""Seconds until a camera that has no frame yet is asked again."""


_Timed = tuple[Any, list[tuple[int | None, str]], int | None]
"""A frame, time and reason of each that was lost before it, and its own time by the stream."""


class VideoError(UserError):
    """Nothing of a video can be read."""


class VideoFault(VideoError):
    """The rest of a video is missing: it was cut off, or the stream broke off."""


@dataclass(frozen=True)
class Frame:
    """One image of a video."""

    index: int
    """From 0, in the order shown; frames that were lost are counted."""
    time: Fraction
    """Seconds since the video's beginning; always more than the frame before."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB, turned as players show it."""


class VideoSource:
    """A video that is open for reading; use it in a ``with``.

    Args:
        source: see `is_video`.
        every: give only every n-th frame, the first one first.
        reconnect: seconds for which a camera or stream that broke off is opened again and again; 0 ends it.
        tell: takes a line when a stream breaks off and comes back; None prints it to stderr.

    Raises:
        UserError: PyAV is missing, or there is no such video.
    """

    def __init__(
        self, source: str, *, every: int = 1, reconnect: float = 0.0, report: Callable[[str], None] | None = None
    ) -> None:
        if every < 1:
            raise UserError(f"every (={every}) must be 1 or more frames")
        self.source, self.every, self.reconnect = source, every, reconnect
        self._report = report or (lambda line: print(f"warning: {line}", file=sys.stderr))
        self._av = require_av()
        self.shown = without_credentials(source)
        """The source as it may be printed and written."""
        self.live = is_camera(source) or is_address(source)
        """Whether it may go on for ever."""
        self.damaged: list[str] = []
        """A line for each of the first frames that could not be decoded, or only with errors."""
        self.lost, self.flawed, self.gaps = 0, 0, 0
        """Frames that could not be decoded; that were decoded with errors; places where frames are missing in the file."""
        self._container: Any = None
        self._open(_TIMEOUT)

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    @property
    def name(self) -> str:
        """A name for files: the video's own without its ending, ``camera-0``, or the end of a URL's path, else its host."""
        return video_name(self.source)

    @property
    def rate(self) -> Fraction:
        """Frames per second: the average, or the stream's guess, or 25."""
        stream = self._stream
        stated = (Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate)
        return next((rate for rate in stated if 0 < rate <= _FASTEST), _USUAL)

    @property
    def frames(self) -> int | None:
        """How many frames it gives, where the file says so or its length does; None for streams."""
        count = int(self._stream.frames)
        if not count:
            if self.live or self._container.duration is None:
                return None
            count = round(float(Fraction(self._container.duration, self._av.time_base) * self.rate))
        return -(-count // self.every) or None

    @property
    def pixel_aspect(self) -> Fraction:
        """Width by height of a pixel as it is shown; 1 for nearly all videos."""
        ratio = self._stream.sample_aspect_ratio
        return Fraction(ratio) if ratio else Fraction(1)

    def __iter__(self) -> Iterator[Frame]:
        """The frames, from where it stands.

        Raises:
            VideoFault: behind the last frame, where the rest is missing.
            UserError: there is no frame.
        """
        clock = self._new_clock()
        index, due, decoded, seen, gaps = 0, 0, 0, time.monotonic(), Gaps(REPORTED)
        while True:
            fault = None
            for found in self._decoded(clock):
                if isinstance(found, str):
                    fault = found
                    break
                frame, lost, key = found
                for moment, reason in lost:
                    self._note_lost(index, self._relative(moment, key, clock), reason)
                    index += 1
                if frame.is_corrupt:
                    self._note(f"frame {index} ({_seconds(clock.last)}) was decoded with errors")
                    self.flawed += 1
                if not self.live:
                    gaps.frame(index, clock.last or Fraction(0), known=bool(lost))
                if index >= due:
                    due = index - index % self.every + self.every
                    assert clock.last is not None
                    yield Frame(index, clock.last, _upright(frame))
                index, decoded, seen = index + 1, decoded + 1, time.monotonic()
            if fault is None or not (self._endless and self._reopened(fault, seen)):
                break
            clock.restart(Fraction(time.monotonic() - seen).limit_denominator(1000))
        for behind, moment, length in gaps.found():
            self._note(
                f"{float(length):.3f} s without a frame before frame {behind} ({_seconds(moment)}): some are missing"
            )
            self.gaps += 1
        if not decoded:
            why = f" ({fault})" if fault else f" ({self.damaged[0]})" if self.damaged else ""
            raise VideoError(f"source={self.shown}: holds no frame that can be decoded{why}")
        if fault is not None:
            raise VideoFault(f"source={self.shown}: {fault} after frame {index - 1} ({_seconds(clock.last)})")

    def _decoded(self, clock: Clock) -> Iterator[_Timed | str]:
        """Frames with what was lost before each and their times by the stream; or, last, why the rest is missing."""
        stream, extent = self._stream, Extent(self._container, self._stream)
        ledger = Ledger(ordered=self._container.format.name == "avi")
        jumps, started = Jumps(self._container, 1 / self.rate), False
        for packet in self._packets():
            if isinstance(packet, str):
                yield from self._rest(ledger, clock)
                yield packet
                return
            extent.read(packet)
            if packet.stream.index != stream.index:
                continue
            if jumps.at(packet):
                # Recordings that were joined: the decoder gives the last frames of the one before it sees the next.
                yield from self._rest(ledger, clock)
                ledger = Ledger(ordered=ledger.ordered)
                stream.codec_context.flush_buffers()
            if packet.size and not packet.is_discard:
                ledger.sent(packet.dts if ledger.ordered or packet.pts is None else packet.pts)
            try:
                frames = packet.decode()
            except (OSError, ValueError, self._av.FFmpegError) as error:
                if packet.size:
                    ledger.failed(reason(error))
                continue
            for frame in frames:
                if frame.width * frame.height > _MAX_PIXELS:
                    ledger.failed(f"{frame.width}×{frame.height} pixels")
                    continue
                if not started and self.live:
                    ledger.clear_failures()  # a stream is joined anywhere, and decoded from the next key frame on
                started = True
                yield self._timed(frame, ledger, clock)
        self._note_left(ledger)
        if self._endless:
            yield "the stream ended"
        elif missing := extent.missing():
            yield missing

    def _packets(self) -> Iterator[Any]:
        """All packets; last, where reading came to an end before the video did, why."""
        streams = () if not self.live else (self._stream,)  # other streams of a file tell how long it really is
        demuxer, failures = self._container.demux(*streams), 0
        while True:
            try:
                packet = next(demuxer)
            except StopIteration:
                return
            except (OSError, ValueError, self._av.FFmpegError) as error:
                if isinstance(error, BlockingIOError):
                    time.sleep(_BUSY)
                elif self.live or not isinstance(error, self._av.error.InvalidDataError) or failures >= _DAMAGED_READS:
                    yield f"the {'stream broke off' if self.live else 'file cannot be read'} ({reason(error)})"
                    return
                else:
                    failures += 1
                    self.flawed += 1
                    self._note(f"damaged between two packets ({reason(error)})")
                demuxer = self._container.demux(*streams)
            else:
                failures = 0
                yield packet

    def _timed(self, frame: Any, ledger: Ledger, clock: Clock) -> _Timed:
        """A frame that came out of the decoder."""
        key, lost = ledger.shown(frame.pts)
        clock.time(_scaled(key, self._stream.time_base))
        return frame, lost, key

    def _rest(self, ledger: Ledger, clock: Clock) -> Iterator[_Timed]:
        """The frames that the decoder holds back; what was lost behind them is noted."""
        try:
            frames = list(self._stream.codec_context.decode(None))
        except (OSError, ValueError, self._av.FFmpegError):
            frames = []
        for frame in frames:
            yield self._timed(frame, ledger, clock)
        self._note_left(ledger)

    def _open(self, timeout: float) -> None:
        if not self.live and not Path(self.source).is_file():
            raise VideoError(f"source={self.shown}: no such video")
        # "12:30.mp4" is a file. Files know no timeouts; some of their readers refuse the option.
        name, form = camera_device(self.source) or (self.source if self.live else f"file:{self.source}", None)
        limit = timeout if is_address(self.source) else None
        options = {"rtsp_flags": "prefer_tcp"} if name.lower().startswith("rtsp") else {}  # UDP loses packets
        try:
            container = self._av.open(name, format=form, timeout=limit, options=options, metadata_errors="replace")
        except (OSError, ValueError, self._av.FFmpegError) as error:
            raise VideoError(f"source={self.shown}: cannot be opened as a video ({self._why(error)})") from None
        videos = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not videos:
            held = "cover image and audio" if container.streams.video else "audio" if container.streams.audio else ""
            container.close()
            raise VideoError(f"source={self.shown}: holds no video stream{f' (only {held})' if held else ''}")
        best = container.streams.best("video")
        self._container = container
        self._stream = best if best is not None and best in videos else videos[0]
        self._stream.thread_type = "AUTO"
        size = _size(container)
        self._endless = self.live and container.duration is None and not size

    def _why(self, error: BaseException) -> str:
        text = reason(error)
        if isinstance(error, (self._av.error.InvalidDataError, EOFError)) and not self.live:
            return "the file is empty" if Path(self.source).stat().st_size == 0 else f"{text}; no video, or cut off"
        return text

    def _reopened(self, fault: str, seen: float) -> bool:
        """Whether the stream came back within `reconnect` seconds after its last frame."""
        if self.reconnect <= 0:
            return False
        self._report(f"source={self.shown}: {fault}; trying again for {self.reconnect:g} s")
        deadline, wait = seen + self.reconnect, 0.1
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(wait, left))
            wait = min(2 * wait, 2.0)
            try:
                self._container.close()
                self._open(min(_TIMEOUT, max(left, 1.0)))
            except VideoError:
                continue
            self._report(f"source={self.shown}: is there again after {time.monotonic() - seen:.1f} s")
            return True
        return False

    def _new_clock(self) -> Clock:
        start = None
        if not self.live and self._container.start_time is not None:
            start = Fraction(self._container.start_time, self._av.time_base)
        return Clock(1 / self.rate, start=start, joined=may_jump(self._container))

    def _relative(self, key: int | None, frame: int | None, clock: Clock) -> Fraction | None:
        """The time of a lost frame, by that of the frame behind it."""
        if key is None or frame is None or clock.last is None:
            return None
        return max(clock.last - (frame - key) * self._stream.time_base, Fraction(0))

    def _note_left(self, ledger: Ledger) -> None:
        for _, why in ledger.left():
            self._note_lost(None, None, why)

    def _note_lost(self, index: int | None, moment: Fraction | None, why: str) -> None:
        self.lost += 1
        where = "a frame near the end" if index is None else f"frame {index}"
        self._note(f"{where}{f' ({_seconds(moment)})' if moment is not None else ''} cannot be decoded ({why})")

    def _note(self, line: str) -> None:
        if len(self.damaged) < REPORTED:
            self.damaged.append(f"{self.shown}: {line}")


def require_av() -> Any:
    """PyAV.

    Raises:
        UserError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise UserError("videos, cameras and streams need PyAV: pip install 'effdet-lightning[video]'") from None
    return av


def reason(error: BaseException) -> str:
    """What went wrong, without numbers and file names."""
    text = str(getattr(error, "strerror", None) or error).splitlines() or [type(error).__name__]
    return without_credentials_in(text[0])


def _is_cover(stream: Any) -> bool:
    """Whether it is the image of an audio file's cover."""
    return bool(int(getattr(stream, "disposition", 0)) & _ATTACHED_PIC)


def _size(container: Any) -> int:
    """Bytes of a file or of a download; 0 for what has no size."""
    try:
        return max(0, int(container.size))
    except (OSError, ValueError):
        return 0


def _scaled(key: int | None, time_base: Fraction | None) -> Fraction | None:
    return None if key is None or time_base is None else key * time_base


def _seconds(moment: Fraction | None) -> str:
    return f"{float(moment or 0):.3f} s"


def _upright(frame: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB; telephones store video lying down, with a note by how many degrees to turn it."""
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, k=turns)) if turns else pixels
