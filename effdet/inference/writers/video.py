"""Frames into a video file, at the times of the source."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from effdet.inference.sources.video import reason, require_av
from heads.structures import UserError

_CODECS = (("libx264", {"crf": "20", "preset": "veryfast"}), ("libopenh264", {"b": "6000000"}), ("mpeg4", {"q": "4"}))
"""Best first; which of them there are depends on how PyAV was built."""
_TICKS = 90_000
"""A second in the file's clock: MPEG's own, which every usual rate divides."""


class VideoWriter:
    """An mp4 file that appears under its name when it is whole; use it in a ``with``.

    What was written before an error or an interruption is kept, as a video that plays.

    Args:
        path: of the file, ``.mp4``.
        rate: frames per second of the source.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path, self.rate = path, rate
        self._part = path.with_name(f".{path.stem}.part{path.suffix}")
        self._av = require_av()
        self._container: Any = None
        self._stream: Any = None
        self._first: Fraction | None = None
        self._last = -1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *error: object) -> None:
        container: Any = self._container
        if container is None:
            return
        container.mux(self._stream.encode(None))
        container.close()
        os.replace(self._part, self.path)

    @property
    def codec(self) -> str | None:
        """The encoder in use."""
        return None if self._stream is None else self._stream.codec.name

    def write(self, image: np.ndarray, time: Fraction | None = None) -> None:
        """Append a frame.

        Args:
            image: (H, W, 3) uint8 RGB; all of one size. An odd side grows by one pixel, as the usual pixel format wants it.
            time: seconds; None follows the frame before by 1 / rate.
        """
        image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
        stream = self._opened(image.shape[0], image.shape[1])
        if image.shape[:2] != (stream.height, stream.width):
            raise UserError(
                f"{self.path}: a frame has {image.shape[1]}×{image.shape[0]} pixels, the first had "
                f"{stream.width}×{stream.height}: a video has frames of one size"
            )
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self._last = frame.pts = self._tick(time)
        frame.time_base = Fraction(1, _TICKS)
        self._container.mux(stream.encode(frame))

    def _tick(self, time: Fraction | None) -> int:
        """The frame's time in ticks, later than the one before."""
        step = round(_TICKS / self.rate)
        if time is None:
            return self._last + step if self._last >= 0 else 0
        self._first = time if self._first is None else self._first
        return max(round((time - self._first) * _TICKS), self._last + 1)

    def _opened(self, height: int, width: int) -> Any:
        """The stream, opened by the first frame."""
        if self._stream is not None:
            return self._stream
        self.path.parent.mkdir(parents=True, exist_ok=True)
        known = self._av.codec.codecs_available
        name, options = next((name, options) for name, options in _CODECS if name in known)
        try:
            self._container = self._av.open(f"file:{self._part}", "w", format="mp4")
            self._stream = self._container.add_stream(name, rate=self.rate, options=dict(options))
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
            self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, _TICKS)
        except (OSError, ValueError, self._av.FFmpegError) as error:
            raise UserError(f"{self.path}: cannot be written ({reason(error)})") from None
        return self._stream
