"""Boxes around COCO's segmentations: polygons, and run-length masks in both of their forms.

A run-length mask (https://github.com/cocodataset/cocoapi, ``maskApi.h``) lists the lengths of runs of zeros and ones by
turns, zeros first, down the columns of a mask of ``size`` [height, width]. ``counts`` is that list, or a text in which each
count is written in groups of 5 bits from the lowest on, 32 marks a group that is followed by another one, 48 is added to
make letters, and from the third count on differences to the count before the last are written.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from effdet.files.scalars import number, whole

Box = tuple[float, float, float, float]


def hull(segmentation: Any) -> Box | None:
    """x, y, width, height around a segmentation, in pixels of the image.

    Args:
        segmentation: a list of polygons [x1, y1, x2, y2, …], one polygon that is not in a list, or a run-length mask.

    Returns:
        None where it is malformed, or covers nothing.
    """
    if isinstance(segmentation, dict):
        return _mask_hull(segmentation)
    polygons = points(segmentation)
    if polygons is None:
        return None
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def points(segmentation: Any) -> list[list[float]] | None:
    """The polygons of a segmentation as numbers; None where one is malformed, or there is none."""
    if not isinstance(segmentation, list) or not segmentation:
        return None
    nested = segmentation if isinstance(segmentation[0], list) else [segmentation]
    polygons = []
    for polygon in nested:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            return None
        values = [number(value) for value in polygon]
        if any(value is None or not math.isfinite(value) or abs(value) > 1e15 for value in values):
            return None
        polygons.append([float(value) for value in values if value is not None])
    return polygons


def _mask_hull(mask: dict[str, Any]) -> Box | None:
    size = mask.get("size")
    sides = [whole(side) for side in size] if isinstance(size, list) and len(size) == 2 else [None]
    if any(side is None or side <= 0 for side in sides):
        return None
    height, width = (side for side in sides if side is not None)
    counts = runs(mask.get("counts"))
    if counts is None or int(counts.sum()) > height * width:
        return None
    ends = np.cumsum(counts)
    first, last = (ends - counts)[1::2], ends[1::2] - 1
    first, last = first[last >= first], last[last >= first]
    if len(first) == 0:
        return None
    left, right = int(first.min()) // height, int(last.max()) // height
    # A run that goes on in the next column touches the mask's lower and upper edge.
    wraps = bool((first // height != last // height).any())
    top = 0 if wraps else int((first % height).min())
    bottom = height - 1 if wraps else int((last % height).max())
    return float(left), float(top), float(right - left + 1), float(bottom - top + 1)


def runs(counts: Any) -> np.ndarray | None:
    """(R,) int64 lengths of a mask's runs from either form of ``counts``; None where it is malformed."""
    if isinstance(counts, list):
        values = [whole(count) for count in counts]
        if any(value is None or value < 0 for value in values):
            return None
        return np.array(values, np.int64)
    if not isinstance(counts, str):
        return None
    values = []
    value = shift = 0
    for letter in counts:
        group = ord(letter) - 48
        if not 0 <= group < 64 or shift > 55:
            return None
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        values.append(value + (values[-2] if len(values) > 2 else 0))
        value = shift = 0
    return np.array(values, np.int64) if shift == 0 and all(count >= 0 for count in values) else None
