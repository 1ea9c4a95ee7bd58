"""What a line of YOLO's labels is: shares of the image's width and height after the number of the class.

| numbers after the class | what |
|---|---|
| 4 | box: cx cy w h |
| 5 | box and confidence, as prediction tools write it |
| 4 + K · D, with ``kpt_shape: [K, D]`` in ``data.yaml`` | box and keypoints (one more: and confidence) |
| 6, 8, 10, …, without ``kpt_shape`` | polygon: x y of each corner; 8 are a rotated box |
"""

from __future__ import annotations

import math
from pathlib import Path

from effdet.data.checks import Findings

OVERHANG = 2.0
"""A share beyond this is no box that leaves its image but a number in pixels."""


def holds_box(count: int, keypoints: int) -> bool:
    """Whether a line with so many numbers after the class begins with cx cy w h, and is no polygon."""
    return count in (4, 5, 4 + keypoints, 5 + keypoints)


def parse_line(
    line: str, path: Path, item: str, findings: Findings, *, classes: int, keypoints: int
) -> list[float] | None:
    """Class, cx, cy, w, h as shares; None for a faulty line, whose fault is noted.

    Args:
        line: as it stands in the file.
        path: the file, and
        item: the line's name, for findings.
        findings: takes what is wrong, and a confidence that is left aside.
        classes: how many there are.
        keypoints: numbers that keypoints take after the box; 0 in a set without them.
    """
    try:
        label, *numbers = (float(text) for text in line.split())
    except ValueError:
        findings.error("bad-annotation", path, f"{line.strip()!r:.60} must be numbers: class cx cy w h", item=item)
        return None
    box = holds_box(len(numbers), keypoints)
    polygon = not box and not keypoints and len(numbers) >= 6 and len(numbers) % 2 == 0
    confidence = numbers[-1] if box and len(numbers) not in (4, 4 + keypoints) else None
    if not (box or polygon) or (confidence is not None and not 0 <= confidence <= 1):
        findings.error("bad-annotation", path, _wrong_count(len(numbers), keypoints), item=item)
        return None
    if not (label.is_integer() and 0 <= label < classes):
        text = f"class {label:g} must be a whole number from 0 to {classes - 1}"
        findings.error("unknown-category", path, text, item=item)
        return None
    shares = numbers[:4] if box else numbers
    if any(not math.isfinite(value) or abs(value) > OVERHANG for value in shares):
        text = f"{line.strip()!r:.60} must hold shares of the image from 0 to 1, not pixels"
        findings.error("not-normalised", path, text, item=item)
        return None
    if confidence is not None:
        findings.warning("label-confidence", path, f"ends with the confidence {confidence:g}: left aside", item=item)
    if polygon:
        xs, ys = shares[::2], shares[1::2]
        shares = [(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)]
    return [label, *shares]


def _wrong_count(count: int, keypoints: int) -> str:
    if keypoints:
        return (
            f"{count} numbers after the class; a box has 4 (cx cy w h), with the keypoints of kpt_shape {4 + keypoints}"
        )
    text = f"{count} numbers after the class; a box has 4 (cx cy w h), a polygon an even number from 6"
    return f"{text}; keypoints need kpt_shape in data.yaml" if count > 6 else text
