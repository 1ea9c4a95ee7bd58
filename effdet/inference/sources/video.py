"""Frames of a video file, a camera or a stream, by PyAV: no ffmpeg program is needed."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from effdet.addresses import is_address, is_pattern, without_credentials
from heads.structures import UserError

SUFFIXES = frozenset(
    {
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".ts",
        ".mts",
        ".wmv",
        ".flv",
        ".3gp",
        ".ogv",
        ".h264",
    }
)
_TIMEOUT = 10.0
"""Seconds that a stream may take to open, or between two frames."""
_CAMERA = re.compile(r"(?:camera:)?(\d+)|(/dev/video\d+)")


def is_video(source: str) -> bool:
    """Whether `source` is a video's name, a URL, or a camera (``0``, ``camera:0``, ``/dev/video0``)."""
    if Path(source).is_dir() or is_pattern(source):
        return False
    return is_address(source) or _CAMERA.fullmatch(source) is not None or Path(source).suffix.lower() in SUFFIXES


@dataclass(frozen=True)
class Frame:
    """One picture of a video."""

    index: int
    """From 0, in the order shown."""
    time: Fraction | None
    """Seconds since the stream's zero; None where the stream does not say."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB, turned as players show it."""


class VideoSource:
    """A video that is open for reading; use it in a ``with``.

    Args:
        source: see `is_video`.

    Raises:
        UserError: PyAV is missing, or there is no such video.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._av = require_av()
        camera = _CAMERA.fullmatch(source)
        self.shown = without_credentials(source)
        """The source as it may be printed and written."""
        self.live = bool(camera or is_address(source))
        """Whether it may go on for ever."""
        name, form = (
            _device(camera) if camera else (source if self.live else f"file:{source}", None)
        )  # "12:30.mp4" is a file
        if not self.live and not Path(source).is_file():
            raise UserError(f"source={self.shown}: no such video")
        try:
            # Files know no timeouts; some of their readers refuse the option.
            self._container: Any = self._av.open(name, format=form, timeout=_TIMEOUT if is_address(source) else None)
        except (OSError, ValueError, self._av.FFmpegError) as error:
            raise UserError(f"source={self.shown}: cannot be opened as a video ({reason(error)})") from None
        if not self._container.streams.video:
            self._container.close()
            raise UserError(f"source={self.shown}: holds no video stream")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    @property
    def name(self) -> str:
        """A name for files: the video's own without its ending, ``camera-0``, or the end of a URL's path, else its host."""
        if camera := _CAMERA.fullmatch(self.source):
            return f"camera-{camera[1] or Path(camera[2]).name}"
        host, *parts = self.shown.partition("://")[2].split("/") if is_address(self.source) else ["", self.source]
        last = next((part for part in reversed(parts) if part), None)
        stem = Path(last).stem if last is not None else host
        return re.sub(r"[^\w.-]+", "-", stem) or "stream"

    @property
    def rate(self) -> Fraction:
        """Frames per second: the average, or the stream's guess, or 25."""
        stream = self._stream
        return Fraction(stream.average_rate or stream.guessed_rate or 25)

    @property
    def frames(self) -> int | None:
        """How many frames there are, where the file says so or its length does; None for streams."""
        if self._stream.frames:
            return int(self._stream.frames)
        if self.live or self._container.duration is None:
            return None
        return round(float(Fraction(self._container.duration, 1_000_000) * self.rate)) or None

    def __iter__(self) -> Iterator[Frame]:
        """All frames from here on. A fault in the middle of a file ends it with an error of one line."""
        index = 0
        try:
            for frame in self._container.decode(self._stream):
                yield Frame(index, _seconds(frame), _upright(frame))
                index += 1
        except (OSError, ValueError, self._av.FFmpegError) as error:
            if not self.live:  # a stream that ends is no fault
                raise UserError(
                    f"source={self.shown}: cannot be decoded after frame {index} ({reason(error)})"
                ) from None
        if index == 0:
            raise UserError(f"source={self.shown}: holds no frame that can be decoded")


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
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def _device(camera: re.Match[str]) -> tuple[str, str]:
    """(name, format) as the system's capture layer wants them."""
    number = camera[1] or re.sub(r"\D", "", camera[2])
    match platform.system():
        case "Darwin":
            return number, "avfoundation"
        case "Windows":
            return f"video={number}", "dshow"
    return f"/dev/video{number}", "v4l2"


def _seconds(frame: Any) -> Fraction | None:
    return None if frame.pts is None or frame.time_base is None else Fraction(frame.pts) * frame.time_base


def _upright(frame: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB; telephones store video lying down, with a note by how many degrees to turn it."""
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, k=turns)) if turns else pixels
