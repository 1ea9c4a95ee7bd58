"""Mask files: one value a pixel, and what the values mean.

A mask is an 8-bit picture with one channel, grey or with a palette (whose colours mean nothing). Colours and 16 bits are
refused: what they mean is not in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from effdet.data.checks import DataError
from effdet.data.images import DECODE_ERRORS, decode_reason
from effdet.data.records import IGNORED

SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".pgm")
"""File names that are taken for masks; JPEG and GIF are not among them: their writers change
values."""
MOST_CLASSES = 254
UNKNOWN = 254
"""In :attr:`MaskValues.table`: a value that the set does not list."""
_WIDENED = {"L;2": 85, "L;4": 17}
"""Pillow multiplies the values of grey PNG files with fewer than 8 bits, so that their brightest is 255."""


@dataclass(frozen=True, eq=False)
class MaskValues:
    """What the values of a set's masks mean."""

    table: np.ndarray
    """(256,) uint8: value in the file -> class 0…K-1, ``IGNORED``, or ``UNKNOWN``."""
    void: int
    """The value that a written mask has where it says none of the classes."""

    @classmethod
    def of(cls, classes: Mapping[int, int], *, ignored: Iterable[int] = (IGNORED,), void: int = IGNORED) -> MaskValues:
        """
        Args:
            classes: value in the file -> class.
            ignored: values that are neither taught nor counted.
            void: see the attribute.
        """
        table = np.full(256, UNKNOWN, np.uint8)
        for value in ignored:
            table[_byte(value)] = IGNORED
        for value, label in classes.items():
            if not 0 <= label < MOST_CLASSES:
                raise DataError(f"class {label} of mask value {value} must lie within 0…{MOST_CLASSES - 1}")
            table[_byte(value)] = label
        return cls(table, void)

    def unknown(self, counts: np.ndarray) -> list[int]:
        """Values that occur in a mask with (256,) `counts` of pixels, and that the set does not list."""
        return np.flatnonzero((counts > 0) & (self.table == UNKNOWN)).tolist()

    def class_pixels(self, counts: np.ndarray, classes: int) -> np.ndarray:
        """(P, 256) pixels by value -> (P, K) pixels by class."""
        pixels = np.zeros((len(counts), 256), np.int64)
        np.add.at(pixels.T, self.table, counts.T)
        return pixels[:, :classes]


def _byte(value: int) -> int:
    if not 0 <= value <= 255:
        raise DataError(f"mask value {value} must lie within 0…255: a mask has 8 bits a pixel")
    return value


def read_values(path: Path | str) -> np.ndarray:
    """(h, w) uint8 values of a mask as its file holds them; a palette is left aside.

    Raises:
        DataError: no such file, not decodable, or not one channel of 8 bits.
    """
    try:
        with Image.open(path) as image:
            raw = image.tile[0][3] if image.tile else None
            factor = _WIDENED.get(raw) if isinstance(raw, str) else None
            if image.mode not in ("1", "L", "P"):
                raise DataError(f"{path}: {_wrong_mode(image.mode)}")
            values = np.array(image).astype(np.uint8, copy=False)
            return values if factor is None else values // np.uint8(factor)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such mask") from None
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: not a mask that can be read ({decode_reason(error)})") from None


def _wrong_mode(mode: str) -> str:
    if mode.startswith(("I", "F")):
        return f"16 bits a pixel or more (mode {mode}) where class ids of 8 bits are expected"
    return f"colours (mode {mode}) where class ids are expected: write it with one channel, an id a pixel"


def read_instances(path: Path | str) -> np.ndarray:
    """(h, w) int32 values of an instance map of 8 or 16 bits.

    Raises:
        DataError: no such file, not decodable, or more than one channel.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P") and not image.mode.startswith("I"):
                raise DataError(f"{path}: colours (mode {image.mode}) where instance ids are expected")
            return np.array(image).astype(np.int32)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such instance map") from None
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: not an instance map that can be read ({decode_reason(error)})") from None


def values_of(classes: Sequence[str], values: Sequence[int] | None) -> tuple[list[str], dict[int, int]]:
    """Class names, and value -> class, of a list of names with the value of each.

    Names that repeat share a class: ``[road, road, car]`` with ``[7, 8, 26]`` makes two classes of three values.

    Args:
        classes: a name for each value.
        values: None counts 0, 1, 2, …
    """
    numbers = list(range(len(classes))) if values is None else list(values)
    if len(numbers) != len(classes):
        raise DataError(
            f"data.values has {len(numbers)} numbers for the {len(classes)} names of data.classes: one each"
        )
    if len(set(numbers)) != len(numbers):
        twice = next(value for value in numbers if numbers.count(value) > 1)
        raise DataError(f"data.values names {twice} twice: a value has one class")
    names = list(dict.fromkeys(classes))
    return names, {value: names.index(name) for value, name in zip(numbers, classes, strict=True)}
