"""Reading pictures: whatever the file holds, (h, w, 3) uint8 RGB comes out, or one line that names the file.

Frames. A camera may store a picture lying down, with an EXIF note to turn it. The record frame is the turned picture,
as people (and labelling tools) see it, with one exception: a set whose stated width and height are those of the file
*as stored*, and not of the turned one, was labelled without the note, so it is left as stored.

Pixels. Grey and palette pictures are widened to RGB; 16-bit ones are scaled to 8, floats in 0…1 to 255; an alpha channel is
dropped, not composited, as Pillow's ``convert("RGB")``, OpenCV and torchvision do; CMYK is converted by Pillow; of several
frames the first is taken.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from effdet.data.checks import DataError

Policy = Literal["error", "warn"]
MAX_PIXELS = 178_956_970
"""Bound on decoded pixels (about 0.5 GB of RGB; Pillow's own bound): larger pictures are refused by their header."""
DECODE_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, MemoryError),
    *(NotImplementedError, RuntimeError, AttributeError, struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow's readers let out of a broken file, beside OSError: whatever their format's code met."""
_ORIENTATION, _QUARTER_TURNS = 0x0112, (5, 6, 7, 8)
_TAIL = 64
"""Bytes: a shorter run of zeros at the end of a file is padding."""
_truncated_lock = threading.Lock()


def read_image(
    path: Path | str,
    *,
    size: tuple[int, int] | None = None,
    policy: Policy = "error",
    at_least: tuple[int, int] | None = None,
    content: bytes | None = None,
) -> np.ndarray:
    """A picture, decoded.

    Args:
        path: the file.
        content: its bytes, where they are at hand; `path` is then only its name.
        size: (height, width) that the set states; decides the frame (see above), and a picture of another size is
            refused.
        policy: what a cut-off file gives: ``error`` a :class:`DataError`, ``warn`` a warning and the part that is
            there.
        at_least: (height, width) below which the result need not go: a JPEG may then be decoded at 1/2, 1/4 or 1/8 of
            its size, and by OpenCV, which is faster. Training only: the result is smaller than `size`.

    Returns:
        (h, w, 3) uint8 RGB, contiguous.

    Raises:
        DataError: no such picture, or none that can be read.
    """
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            _bound(image, path)
            if image.format in ("JPEG", "MPO") and _zero_filled(image):
                if policy == "error":
                    raise DataError(f"{path}: cannot be decoded (cut off: the rest of the file is zeros)")
                _warn_cut_off(path, stacklevel=3)
            stored = image.size
            orientation = int(image.getexif().get(_ORIENTATION, 1))
            turned = orientation in _QUARTER_TURNS
            upright, exact = _frame(stored, turned, size)
            if not exact and size is not None:
                raise DataError(
                    f"{path}: the set says {size[1]}×{size[0]} (width × height), the file has {stored[0]}×{stored[1]}: "
                    "correct the size, or the picture"
                )
            turn = upright and orientation != 1
            if at_least is not None:
                if not turn and (pixels := _quickly(image, at_least, content)) is not None:
                    return pixels
                goal = at_least if turn and turned else (at_least[1], at_least[0])
                image.draft("RGB", goal)
            picture = _load(image, path, policy)
            return np.array(rgb(ImageOps.exif_transpose(picture) if turn else picture))
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such picture") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a picture that can be read") from None
    except DECODE_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: cannot be decoded ({reason})") from None


def image_sizes(path: Path | str) -> tuple[tuple[int, int], tuple[int, int]]:
    """((height, width) upright, (height, width) as stored) of a picture, from its header alone.

    Raises:
        DataError: the file is missing, no picture, or larger than :data:`MAX_PIXELS`.
    """
    try:
        with Image.open(path) as image:
            _bound(image, path)
            width, height = image.size
            turned = int(image.getexif().get(_ORIENTATION, 1)) in _QUARTER_TURNS
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such picture") from None
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: not a picture that can be read ({type(error).__name__})") from None
    return ((width, height) if turned else (height, width)), (height, width)


def _frame(stored: tuple[int, int], turned: bool, size: tuple[int, int] | None) -> tuple[bool, bool]:
    """(whether the EXIF turn is applied, whether the result has the stated size); `stored` is (width, height)."""
    seen = stored[::-1] if turned else stored
    if size is None or size[::-1] == seen:
        return True, True
    return (False, True) if size[::-1] == stored else (True, False)


def _bound(image: Image.Image, path: Path | str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f"{path}: {width}×{height} pixels are more than the bound of {MAX_PIXELS:,}: make it smaller")


def _quickly(image: Image.Image, at_least: tuple[int, int], content: bytes | None) -> np.ndarray | None:
    """The pixels of a JPEG in colour, or None where Pillow is to read it."""
    if not isinstance(image, ImageFile.ImageFile) or (image.format, image.mode) != ("JPEG", "RGB"):
        return None
    from effdet.data.jpeg import decode_jpeg

    if content is None and image.fp is not None:
        image.fp.seek(0)
        content = image.fp.read()
    return None if content is None else decode_jpeg(content, (image.height, image.width), at_least)


def _load(image: Image.Image, path: Path | str, policy: Policy) -> Image.Image:
    try:
        image.load()
    except (OSError, SyntaxError, EOFError):
        if policy == "error":
            raise
        _load_partly(path, image)
    return image


def _load_partly(path: Path | str, image: Image.Image) -> None:
    """Loads what a cut-off file still holds; Pillow allows that by a module-wide switch only, so it is set for one
    call."""
    _warn_cut_off(path, stacklevel=5)
    with _truncated_lock:
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            image.load()
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB: the one rule, for files, for images in memory, and for what a server is sent."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        grey = _from_deep(np.asarray(image))
        return Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2))
    if image.mode == "La":  # grey multiplied by its alpha; Pillow goes from there to LA only
        image = image.convert("LA")
    if image.mode in ("P", "PA", "RGBa") or "transparency" in image.info:
        # Through RGBA, so that Pillow does not paint the palette's transparent entry by a rule of its own.
        image = image.convert("RGBA")
    return image.convert("RGB")


def rgb_array(values: np.ndarray) -> np.ndarray:
    """The same rule for arrays.

    Args:
        values: (h, w), or (h, w, C) with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels; uint8, uint16, bool,
            or float in 0…1. Alpha is dropped.

    Returns:
        (h, w, 3) uint8, contiguous.

    Raises:
        DataError: another shape or type.
    """
    channels = 1 if values.ndim == 2 else values.shape[2] if values.ndim == 3 else 0
    if channels not in (1, 2, 3, 4) or 0 in values.shape:
        hint = "; is it (3, H, W)? transpose it" if values.ndim == 3 and values.shape[0] == 3 else ""
        raise DataError(
            f"a numpy image must be (H, W, 3) RGB, (H, W, 4) RGB with alpha or (H, W) grey, got {values.shape}{hint}"
        )
    values = values.reshape(*values.shape[:2], channels)[:, :, : 1 if channels < 3 else 3]
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        values = values * np.uint8(255)
    elif kind == "u" and size == 2:
        # Grey as it is read from files; of three channels Pillow keeps the upper byte.
        values = _from_deep(values) if channels < 3 else (values >> 8).astype(np.uint8)
    elif kind == "f":
        low, high = (float(values.min()), float(values.max()))
        if not (low >= 0 and high <= 1):  # NaN fails too
            raise DataError(
                f"a float image must lie in 0…1, got {low:.3g}…{high:.3g}: pass it as it was before normalising"
            )
        values = _from_deep(values)
    elif not (kind == "u" and size == 1):
        raise DataError(
            f"a numpy image must be uint8, uint16, bool or float in 0…1, got {values.dtype}: convert it first"
        )
    return np.ascontiguousarray(np.repeat(values, 3, axis=2) if channels < 3 else values)


def _from_deep(values: np.ndarray) -> np.ndarray:
    """16-bit, 32-bit or float values of any shape -> uint8. Integers above 255 are taken as 16-bit, floats in 0…1 as such."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values.astype(np.float32))
        scaled = values * 255 if values.size and values.min() >= 0 and values.max() <= 1 else values
    else:
        deep = (values.dtype.kind, values.dtype.itemsize) == ("u", 2)  # in either order of its bytes
        scaled = values / 257 if deep or (values.size > 0 and values.max() > 255) else values
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _warn_cut_off(path: Path | str, *, stacklevel: int) -> None:
    warnings.warn(f"{path}: cut off; the missing part is left grey", stacklevel=stacklevel)


def _zero_filled(image: Image.Image) -> bool:
    """Whether a JPEG ends in zeros without its end marker before them: a copy or download whose place was reserved, and
    which libjpeg reads as a grey image without a word."""
    file = getattr(image, "fp", None)
    if file is None:
        return False
    place = file.tell()
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(size - _TAIL, 0))
        if file.read().strip(b"\0"):
            return False
        file.seek(0)
        return not file.read().rstrip(b"\0").endswith(b"\xff\xd9")
    finally:
        file.seek(place)
