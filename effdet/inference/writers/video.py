"""Frames into a video file, at the times of the source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from effdet.files import move_into_place
from effdet.inference.sources.video import reason, require_av
from heads.structures import UserError


@dataclass(frozen=True)
class Encoding:
    """A way to write a video; which of them there are depends on how PyAV was built."""

    codec: str
    suffix: str
    """Of the file, which decides its form."""
    pixels: str = "yuv420p"
    ticks: int = 90_000
    """A second in the stream's clock: MPEG's own, which every usual rate divides."""
    options: dict[str, str] = field(default_factory=dict)


ENCODINGS = (
    Encoding("libx264", ".mp4", options={"crf": "20", "preset": "veryfast"}),
    Encoding("libopenh264", ".mp4", options={"b": "6000000"}),
    # MPEG-4 part 2 holds at most 65535 ticks a second.
    Encoding("mpeg4", ".mp4", ticks=60_000, options={"q": "4"}),
    Encoding("mjpeg", ".mkv", pixels="yuvj420p", options={"q": "3"}),
    Encoding("ffv1", ".mkv", pixels="bgr0"),
)
"""Best first."""
_LEAST = 16
"""Pixels of a side; encoders refuse smaller ones, or write what no player shows."""


class VideoWriter:
    """A video file that appears under its name when it is whole; use it in a ``with``.

    What was written before an error or an interruption is kept, as a video that plays. Where the first encoder cannot be
    had, the next one is taken; the file's name then ends as its form wants it.

    Args:
        path: of the file, ``.mp4``.
        rate: frames per second of the source.
        pixel_aspect: width by height of a pixel as it is shown.
    """

    def __init__(self, path: Path, rate: Fraction, *, pixel_aspect: Fraction = Fraction(1)) -> None:
        self.path, self.rate, self._aspect = path, rate, pixel_aspect
        self._part = path
        self._av = require_av()
        self._container: Any = None
        self._stream: Any = None
        self._first: Fraction | None = None
        self._last = -1
        self._ticks = 0
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def codec(self) -> str | None:
        """The encoder in use."""
        return None if self._stream is None else self._stream.codec.name

    def close(self) -> None:
        """Complete the file and give it its name; without a frame there is none."""
        container, self._container = self._container, None
        if container is None:
            return
        with self._writing():
            try:
                container.mux(self._stream.encode(None))
            finally:
                container.close()
            move_into_place(self._part, self.path)

    def write(self, image: np.ndarray, time: Fraction | None = None) -> None:
        """Append a frame.

        Args:
            image: (H, W, 3) uint8 RGB. A side that is odd or less than 16 pixels grows, as encoders want it. A frame of
                another size than the first is fitted into that, with bars where its shape is another.
            time: seconds; None follows the frame before by 1 / rate.
        """
        if self._size is None:
            self._size = _side(image.shape[0]), _side(image.shape[1])
            self._shape = image.shape[:2]
        if image.shape[:2] != self._shape:
            image = _fitted(image, self._shape)
        rows, columns = self._size[0] - image.shape[0], self._size[1] - image.shape[1]
        image = np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        if self._container is None:
            self._open()
        self._last = frame.pts = self._tick(time)
        frame.time_base = Fraction(1, self._ticks)
        with self._writing():
            container: Any = self._container
            container.mux(self._stream.encode(self._converted(frame)))

    def _tick(self, time: Fraction | None) -> int:
        """The frame's time in ticks, later than the one before."""
        step = max(1, round(self._ticks / self.rate))
        if time is None:
            return self._last + step if self._last >= 0 else 0
        self._first = time if self._first is None else self._first
        return max(round((time - self._first) * self._ticks), self._last + 1)

    def _open(self) -> None:
        """The first encoding that can be had: some are there by name and cannot be opened (no such device, no licence)."""
        assert self._size is not None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        tried: list[str] = []
        for encoding in ENCODINGS:
            try:
                self._try(encoding)
                return
            except (OSError, ValueError, self._av.FFmpegError) as error:
                tried.append(f"{encoding.codec}: {reason(error)}")
                self._discard()
                if isinstance(error, OSError) and not isinstance(error, self._av.FFmpegError):
                    break  # the file, not the encoder
        raise UserError(f"{self.path}: cannot be written ({'; '.join(tried)})")

    def _try(self, encoding: Encoding) -> None:
        assert self._size is not None
        path = _free(self.path, encoding.suffix)
        self._part = path.with_name(f".{path.stem}.part{path.suffix}")
        self._part.open("wb").close()  # a folder that cannot be written to is an error of the system's, with its reason
        form = {".mp4": "mp4", ".mkv": "matroska"}[encoding.suffix]
        codec = self._av.Codec(encoding.codec, "w")
        self._container = self._av.open(f"file:{self._part}", "w", format=form)
        self._stream = self._container.add_stream(codec.name, rate=self.rate, options=dict(encoding.options))
        context = self._stream.codec_context
        self._stream.height, self._stream.width = self._size
        self._stream.pix_fmt = encoding.pixels
        self._ticks = encoding.ticks
        self._stream.time_base = context.time_base = Fraction(1, encoding.ticks)
        if encoding.pixels.startswith("yuv"):
            # What `_converted` makes of RGB, so that players turn it back by the same rule.
            context.colorspace, context.color_range = _SMPTE170M, 2 if encoding.pixels == "yuvj420p" else 1
        if self._aspect != 1:
            context.sample_aspect_ratio = self._aspect
        context.open()
        self._container.start_encoding()
        self.path = path

    def _converted(self, frame: Any) -> Any:
        pixels = self._stream.pix_fmt
        if not pixels.startswith("yuv"):
            return frame
        pts, base = frame.pts, frame.time_base
        wide = "JPEG" if pixels == "yuvj420p" else "MPEG"
        frame = frame.reformat(format=pixels, dst_colorspace="SMPTE170M", dst_color_range=wide)
        frame.pts, frame.time_base = pts, base
        return frame

    def _discard(self) -> None:
        """What an encoder that could not be opened left."""
        container, self._container, self._stream = self._container, None, None
        with suppress(OSError, ValueError, self._av.FFmpegError):
            if container is not None:
                container.close()
        with suppress(OSError):
            self._part.unlink()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, self._av.FFmpegError) as error:
            raise UserError(f"{self.path}: cannot be written ({reason(error)})") from None


_SMPTE170M = 6
"""ITU-T H.273's number of the matrix of ITU-R BT.601."""


def _side(length: int) -> int:
    return max(length + length % 2, _LEAST)


def _free(path: Path, suffix: str) -> Path:
    """`path` with another suffix, and a number where such a file is there: only `path` itself may be replaced."""
    found, number = path.with_suffix(suffix), 1
    while found != path and os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.stem}_{number}{suffix}")
    return found


def _fitted(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`image` as large as fits into `shape`, in its middle, on black."""
    from PIL import Image

    height, width = shape
    scale = min(height / image.shape[0], width / image.shape[1])
    rows, columns = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    small = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)
    canvas[top : top + rows, left : left + columns] = np.asarray(small)
    return canvas
