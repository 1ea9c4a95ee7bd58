"""What lies where on a sample's canvas, and how the images of a batch are read for it.

A mosaic shows four images, a mixup two. Where the partners come from the whole set (``augment.partners=set``), each costs a
decoding. RTMDet (Lyu et al. 2022, section 3.4) takes them from a cache of images that a worker read before, so that a sample
depends on the worker. Here they come from the sample's own batch (``augment.partners=batch``), which one worker loads whole:
each image is decoded once, and a sample remains a function of (seed, epoch, step, rank).

All that is random in where images lie is therefore drawn first, for the whole batch (:class:`Plan`). Then it is known how
large each image is needed at most, and it is decoded at that size for all its uses: what is read never depends on what was
read before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from effdet.data.crop import Window
from effdet.data.images import OnError
from effdet.data.records import Dataset, Record

Decoded = tuple[np.ndarray, np.ndarray | None]
"""(h, w, 3) uint8 RGB, and (h, w) uint8 segmentation map or None."""


@dataclass(frozen=True)
class Part:
    """An image of the set and where it goes."""

    index: int
    window: Window
    exact: bool = False
    """Whether evaluation's own pixels are shown there, which are resized before they are cropped."""

    @property
    def at_least(self) -> tuple[float, float] | None:
        """(y, x) pixels for each original pixel that are needed; None for all there are."""
        return None if self.exact else self.window.scale


@dataclass(frozen=True)
class Paste:
    """Objects of an image that are pasted where its part lies."""

    part: Part
    rows: np.ndarray
    """(N,) int64 positions of their boxes in the record."""


@dataclass(frozen=True)
class Plan:
    """A sample of which nothing has been read yet."""

    key: tuple[int, int, int]
    parts: tuple[Part, ...]
    """One image, or the quarters of a mosaic."""
    rng: np.random.Generator
    """Draws what comes after the images have been laid."""
    paste: Paste | None = None
    """Objects that lie over `parts`."""
    over: Part | None = None
    """The image that is mixed in."""
    share: float = 1.0
    """Of the pixels' values, what comes from `parts`; the rest from `over`."""

    @property
    def composed(self) -> bool:
        """Whether the canvas shows more than one image."""
        return len(self.parts) > 1 or self.over is not None or self.paste is not None

    @property
    def reads(self) -> tuple[Part, ...]:
        others = (None if self.paste is None else self.paste.part, self.over)
        return (*self.parts, *(part for part in others if part is not None))


class Reader:
    """Reads the image of a part as its own window needs it, each time anew."""

    def __init__(self, source: Dataset, *, on_error: OnError, masks: bool) -> None:
        self.source, self.masks = source, masks
        self.on_error: OnError = on_error

    def __call__(self, part: Part) -> Decoded:
        """
        Raises:
            DataError: the image or its mask can't be read.
        """
        return self._read(self.source.records[part.index], part.at_least)

    def _read(self, record: Record, scale: tuple[float, float] | None) -> Decoded:
        height, width = record.size
        size = None if scale is None else (int(np.ceil(height * scale[0])), int(np.ceil(width * scale[1])))
        image = self.source.read_image(record, on_error=self.on_error, at_least=size)
        return image, self.source.read_mask(record) if self.masks else None


@dataclass
class _Use:
    """What the parts of a batch need of one image."""

    scale: tuple[float, float] | None = (0.0, 0.0)
    decoded: Decoded | None = None
    left: int = 0


class BatchReader(Reader):
    """Reads each image of a batch once, as large as any of its parts needs it, and keeps it until its last use."""

    def __init__(self, source: Dataset, plans: Iterable[Plan], *, on_error: OnError, masks: bool) -> None:
        super().__init__(source, on_error=on_error, masks=masks)
        self._uses: dict[int, _Use] = {}
        for part in (part for plan in plans for part in plan.reads):
            use = self._uses.setdefault(part.index, _Use())
            use.left += 1
            use.scale = None if use.scale is None or part.at_least is None else _larger(use.scale, part.at_least)

    def __call__(self, part: Part) -> Decoded:
        use = self._uses[part.index]
        use.left -= 1
        found = use.decoded or self._read(self.source.records[part.index], use.scale)
        use.decoded = found if use.left else None
        return found


def _larger(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return max(one[0], other[0]), max(one[1], other[1])
