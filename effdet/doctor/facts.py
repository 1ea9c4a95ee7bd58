"""What one look at an image file tells: its form, its faults, and a fingerprint of what it shows."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from effdet.data.images import DECODE_ERRORS, MAX_PIXELS, decode_reason

THUMB = 16
"""Side of the grey thumbnail by which images are compared."""
_ORIENTATION = 0x0112
_SUFFIXES = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "PNG": (".png",), "BMP": (".bmp",), "WEBP": (".webp",)}
_SUFFIXES |= {"TIFF": (".tif", ".tiff"), "GIF": (".gif",), "MPO": (".mpo", ".jpg", ".jpeg")}


@dataclass(frozen=True, eq=False)
class Facts:
    """One image."""

    fault: str = ""
    """Kind of what makes it unusable, or nothing."""
    text: str = ""
    mode: str = ""
    """Pillow's name of its pixels: RGB, L, RGBA, P, I;16, CMYK, …"""
    orientation: int = 1
    """EXIF: 1 upright, 2-4 mirrored or upside down, 5-8 with a quarter turn."""
    stored: tuple[int, int] = (0, 0)
    """(height, width) of the pixels as they are stored."""
    frames: int = 1
    format: str = ""
    alpha: bool = False
    pixels: bytes = b""
    """16 bytes of a hash of size and pixels."""
    thumb: bytes = b""
    """THUMB × THUMB grey bytes of the upright image."""

    @property
    def rotated(self) -> bool:
        """Whether the EXIF note exchanges width and height."""
        return self.orientation in (5, 6, 7, 8)

    def misnamed(self, path: Path) -> bool:
        """Whether the name's suffix says another format."""
        known, suffix = _SUFFIXES.get(self.format), path.suffix.lower()
        return known is not None and suffix in sum(_SUFFIXES.values(), ()) and suffix not in known


def look(path: Path) -> Facts:
    """Reads and decodes an image; whatever is wrong with it is in the result."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is reported here
            return _look(path)
    except FileNotFoundError:
        return Facts("missing-image", "no such image")
    except UnidentifiedImageError:
        empty = path.is_file() and path.stat().st_size == 0
        return Facts("unreadable-image", "empty file" if empty else "not an image that can be read")
    except Image.DecompressionBombError as error:
        return Facts("decompression-bomb", decode_reason(error))
    except DECODE_ERRORS as error:
        reason = decode_reason(error)
        signs = ("truncated", "end of", "not processed", "incomplete", "unexpected eof")
        cut = any(text in reason.lower() for text in signs)
        return Facts("truncated-image" if cut else "corrupt-image", f"cannot be decoded ({reason})")


def _look(path: Path) -> Facts:
    with Image.open(path) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            text = f"{width}×{height} pixels are more than the bound of {MAX_PIXELS:,}"
            return Facts("decompression-bomb", text)
        known = Facts(
            mode=_mode(image),
            orientation=int(image.getexif().get(_ORIENTATION, 1)),
            stored=(height, width),
            frames=int(getattr(image, "n_frames", 1)),
            format=image.format or "",
            alpha="A" in image.getbands() or "transparency" in image.info,
        )
        image.seek(0)
        image.load()
        pixels, thumb = _prints(image)
        return replace(known, pixels=pixels, thumb=thumb)


def facts_of_pixels(pixels: np.ndarray) -> Facts:
    """The fingerprints of an image that is not a file: (h, w, 3) uint8."""
    digest, thumb = _prints(Image.fromarray(pixels))
    return Facts(mode="RGB", stored=(pixels.shape[0], pixels.shape[1]), pixels=digest, thumb=thumb)


def _mode(image: Image.Image) -> str:
    """Pillow's mode, but for 16-bit PNG files in colour, which it reads as 8-bit."""
    tiles = getattr(image, "tile", None)
    raw = tiles[0][3] if tiles else ""
    return f"{image.mode};16" if isinstance(raw, str) and "16" in raw and "16" not in image.mode else image.mode


def _prints(image: Image.Image) -> tuple[bytes, bytes]:
    """The hash of the pixels, and the thumbnail."""
    digest = hashlib.blake2b(f"{image.mode} {image.size}".encode(), digest_size=16)
    digest.update(image.tobytes())
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        low, high = float(values.min()), float(values.max())
        grey = Image.fromarray(np.uint8(np.clip((values - low) / max(high - low, 1e-9) * 255, 0, 255)))
    else:
        grey = image.convert("L") if image.mode != "P" else image.convert("RGB").convert("L")
    # Turned as the EXIF note says; the sides of the thumbnail are equal, so turning commutes with shrinking.
    small = grey.resize((THUMB, THUMB), Image.Resampling.BOX)
    small.info = {}  # of the note only the orientation is needed; the rest of it may be malformed
    small.getexif()[_ORIENTATION] = int(image.getexif().get(_ORIENTATION, 1))
    return digest.digest(), ImageOps.exif_transpose(small).tobytes()
