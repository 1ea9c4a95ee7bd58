"""Reading images: whatever the file holds, (h, w, 3) uint8 RGB comes out, or one line that names the file.

Frames. A camera may store an image lying down, with an EXIF note to turn it. The record frame is the turned image,
as people (and labelling tools) see it, with one exception: a set whose stated width and height are those of the file
*as stored*, and not of the turned one, was labelled without the note, so it is left as stored.

Pixels. Grey and palette images are widened to RGB; 16-bit ones are scaled to 8, floats in 0…1 to 255; an alpha channel is
dropped, not composited, as Pillow's ``convert("RGB")``, OpenCV and torchvision do; CMYK is converted by Pillow; of several
frames the first is taken.

Libraries. For training, JPEGs are decoded by OpenCV: a fifth sooner than by Pillow and the same pixels, both being
libjpeg-turbo's. Evaluation and prediction read by Pillow only, so that their numbers depend on one library.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from effdet.data.checks import DataError
from effdet.pixels import rgb

OnError = Literal["error", "warn"]
MAX_PIXELS = 178_956_970
"""Bound on decoded pixels (about 0.5 GB of RGB; Pillow's own bound): larger images are refused by their header."""
DECODE_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, MemoryError),
    *(NotImplementedError, RuntimeError, AttributeError, struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow's readers let out of a broken file, beside OSError: whatever their format's code met."""
_ORIENTATION, _QUARTER_TURNS = 0x0112, (5, 6, 7, 8)
_TAIL = 64
"""Bytes: a shorter run of zeros at the end of a file is padding."""
_JPEG_END = b"\xff\xd9"
_truncated_lock = threading.Lock()


def read_image(
    path: Path | str,
    *,
    size: tuple[int, int] | None = None,
    on_error: OnError = "error",
    at_least: tuple[int, int] | None = None,
    content: bytes | None = None,
) -> np.ndarray:
    """An image, decoded.

    Args:
        path: the file.
        content: its bytes, where they are at hand; `path` is then only its name.
        size: (height, width) that the set states; decides the frame (see above), and an image of another size is
            refused.
        on_error: what a cut-off file gives: ``error`` a :class:`DataError`, ``warn`` a warning and the part that is
            there.
        at_least: (height, width) below which the result need not go: a JPEG may then be decoded at 1/2, 1/4 or 1/8 of
            its size, and by OpenCV, which is faster. Training only: the result is smaller than `size`.

    Returns:
        (h, w, 3) uint8 RGB, contiguous.

    Raises:
        DataError: no such image, or none that can be read.
    """
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            _bound(image, path)
            if image.format in ("JPEG", "MPO") and zero_filled(image):
                if on_error == "error":
                    raise DataError(f"{path}: cannot be decoded (cut off: the rest of the file is zeros)")
                _warn_cut_off(path, stacklevel=3)
            stored = image.size
            orientation = int(image.getexif().get(_ORIENTATION, 1))
            rotated = orientation in _QUARTER_TURNS
            upright = stored[::-1] if rotated else stored
            if size is not None and size[::-1] not in (upright, stored):
                raise DataError(
                    f"{path}: the set says {size[1]}×{size[0]} (width × height), the file has {stored[0]}×{stored[1]}: "
                    "correct the size, or the image"
                )
            turn = orientation != 1 and (size is None or size[::-1] == upright)
            if at_least is not None:
                if not turn and (pixels := _decode_fast(image, at_least, content)) is not None:
                    return pixels
                goal = at_least if turn and rotated else (at_least[1], at_least[0])
                image.draft("RGB", goal)
            loaded = _load(image, path, on_error)
            return np.array(rgb(ImageOps.exif_transpose(loaded) if turn else loaded))
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image that can be read") from None
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: cannot be decoded ({decode_reason(error)})") from None


def decode_reason(error: BaseException) -> str:
    """What is wrong with an image, in a line, from one of :data:`DECODE_ERRORS`; of one that Pillow refuses by its header,
    whose own text speaks of attacks, also the bound and the fix."""
    if not isinstance(error, Image.DecompressionBombError):
        return (str(error).splitlines() or [type(error).__name__])[0]
    found = re.search(r"[0-9]+", str(error))
    pixels = f"{int(found[0]):,} pixels are" if found else "it has"
    return f"{pixels} more than the bound of {MAX_PIXELS:,}: make it smaller, or cut it into parts"


def image_sizes(path: Path | str) -> tuple[tuple[int, int], tuple[int, int]]:
    """((height, width) upright, (height, width) as stored) of an image, from only its header.

    Raises:
        DataError: the file is missing, no image, or larger than :data:`MAX_PIXELS`.
    """
    try:
        with Image.open(path) as image:
            _bound(image, path)
            width, height = image.size
            rotated = int(image.getexif().get(_ORIENTATION, 1)) in _QUARTER_TURNS
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: cannot be decoded ({decode_reason(error)})") from None
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: not an image that can be read ({type(error).__name__})") from None
    return ((width, height) if rotated else (height, width)), (height, width)


def _bound(image: Image.Image, path: Path | str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{path}: {width}×{height} pixels are more than the bound of {MAX_PIXELS:,}: make it smaller, or cut it into parts"
        )


def _decode_fast(image: Image.Image, at_least: tuple[int, int], content: bytes | None) -> np.ndarray | None:
    """The pixels of a JPEG in colour, or None where Pillow is to read it."""
    if not isinstance(image, ImageFile.ImageFile) or (image.format, image.mode) != ("JPEG", "RGB"):
        return None
    if content is None and image.fp is not None:
        image.fp.seek(0)
        content = image.fp.read()
    return None if content is None else decode_jpeg(content, (image.height, image.width), at_least)


def _load(image: Image.Image, path: Path | str, on_error: OnError) -> Image.Image:
    try:
        image.load()
    except (OSError, SyntaxError, EOFError):
        if on_error == "error":
            raise
        _warn_cut_off(path, stacklevel=4)
        # What a cut-off file still holds Pillow gives by a module-wide switch only, so it is set for one call.
        with _truncated_lock:
            before = ImageFile.LOAD_TRUNCATED_IMAGES
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            try:
                image.load()
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = before
    return image


def _warn_cut_off(path: Path | str, *, stacklevel: int) -> None:
    warnings.warn(f"{path}: cut off; the missing part is left grey", stacklevel=stacklevel)


def zero_filled(image: Image.Image) -> bool:
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
        return not file.read().rstrip(b"\0").endswith(_JPEG_END)
    finally:
        file.seek(place)


def decode_jpeg(content: bytes, stored: tuple[int, int], at_least: tuple[int, int]) -> np.ndarray | None:
    """The pixels of a whole three-channel JPEG as they are stored, by OpenCV.

    What OpenCV would let pass without a word (a file that is cut off) or turn by itself (EXIF) is left to Pillow. Of stray
    bytes inside a file libjpeg may print a line of its own, where Pillow keeps quiet.

    Args:
        content: the file.
        stored: (height, width) by its header.
        at_least: (height, width) below which the result need not go: it may be 1/2, 1/4 or 1/8 of `stored`.

    Returns:
        (h, w, 3) uint8 RGB, or None for a file that is cut off or that OpenCV can't read.
    """
    if not content[-_TAIL:].rstrip(b"\0").endswith(_JPEG_END):
        return None
    import cv2  # 0.1 s, which prediction does without

    flags = {1: cv2.IMREAD_COLOR}
    flags |= {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
    room = min(stored[0] // at_least[0], stored[1] // at_least[1])
    reduction = next(by for by in (8, 4, 2, 1) if by <= max(room, 1))
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # its own bounds on size; Pillow may read the file, or says what is wrong
        return None
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
