"""Which files are images by their name: those whose suffix Pillow can decode, whatever the case."""

from __future__ import annotations

import os
from functools import lru_cache

NOT_IMAGES = frozenset(
    {
        *(".mpg", ".mpeg"),  # videos, of which Pillow reads the size only
        *(".bufr", ".grib", ".h5", ".hdf", ".wmf", ".emf"),  # read by a handler that nobody has installed
        *(".eps", ".ps"),  # programs, run by Ghostscript
    }
)
"""Suffixes that Pillow registers without being able to decode such files by itself."""
ALWAYS = frozenset({".mpo"})
"""Suffixes that Pillow registers for writing only, of formats that it reads."""


@lru_cache(maxsize=1)
def image_suffixes() -> frozenset[str]:
    """Suffixes of images in lower case, with the dot: what this installation's Pillow reads (AVIF from 11.3 on)."""
    from PIL import Image

    Image.init()
    known = {suffix.lower() for suffix, form in Image.registered_extensions().items() if form in Image.OPEN}
    return frozenset(known - NOT_IMAGES | ALWAYS)


def is_image(name: str | os.PathLike[str]) -> bool:
    """Whether a file of this name is taken for an image when its folder is listed."""
    return os.path.splitext(os.fspath(name))[1].lower() in image_suffixes()
