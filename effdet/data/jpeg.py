"""JPEG pixels for training, by OpenCV: a fifth sooner than by Pillow and the same, both being libjpeg-turbo's.

Evaluation and prediction read by Pillow alone, so that their numbers hang on one library. What OpenCV would let pass
without a word (a file that is cut off) or turn by itself (EXIF) is left to :mod:`effdet.data.images` too. Of stray bytes
inside a file libjpeg may print a line of its own, where Pillow keeps quiet.
"""

from __future__ import annotations

import cv2
import numpy as np

_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_END = b"\xff\xd9"


def decode_jpeg(content: bytes, stored: tuple[int, int], at_least: tuple[int, int]) -> np.ndarray | None:
    """A whole three-channel JPEG's pixels as they are stored.

    Args:
        content: the file.
        stored: (height, width) by its header.
        at_least: (height, width) below which the result need not go: it may be 1/2, 1/4 or 1/8 of `stored`.

    Returns:
        (h, w, 3) uint8 RGB, or None for a file that is cut off or that OpenCV can't read.
    """
    if not content[-64:].rstrip(b"\0").endswith(_END):
        return None
    room = min(stored[0] // at_least[0], stored[1] // at_least[1])
    reduction = next(by for by in (8, 4, 2, 1) if by <= max(room, 1))
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), _FLAGS[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # its own bounds on size; Pillow may read the file, or says what is wrong
        return None
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
