"""COCO JSON: what the reader passes over, because boxes do not need it or because it can be mended in silence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeGuard

import numpy as np

from effdet.data.coco import find_annotations
from effdet.data.coco_json import load_json
from effdet.data.doctor.issues import Issues
from effdet.data.spec import DataSpec

HULL = 3.0
"""Pixels by which a box may differ from its polygon's hull, beside a twentieth of its size."""
MOSTLY = 0.5
"""Share of boxes that must speak for it before a whole file is said to be in another form."""


def check_coco(spec: DataSpec, issues: Issues) -> None:
    """Notes what is odd in the annotation file of a split."""
    path = spec.annotations or find_annotations(spec)
    content = load_json(path)
    images = {entry["id"]: entry for entry in content["images"] if isinstance(entry, dict) and _whole(entry.get("id"))}
    _check_images(content["images"], path, spec.split, issues)
    _check_ids(content["categories"], path, spec.split, issues)
    annotations = [(place, entry) for place, entry in enumerate(content["annotations"]) if isinstance(entry, dict)]
    form = box_form(content)
    if form != "xywh":
        kind, text = {
            "corners": (
                "corners-not-sizes",
                "leaves its picture as x, y, width, height and fits as corners x1, y1, x2, y2",
            ),
            "shares": ("shares-not-pixels", "lies within 0…1: a share of the picture"),
        }[form]
        place, entry = next((place, entry) for place, entry in annotations if numbers(entry.get("bbox")) is not None)
        shown = "[" + ", ".join(f"{value:.6g}" for value in entry["bbox"]) + "]"
        text = f"box {shown} {text}, as do most of {len(annotations):,}"
        issues.note(kind, path, text, item=called(entry, place), split=spec.split)
    for place, entry in annotations:
        for kind, text in _odd(entry, images.get(_hashable(entry.get("image_id")), {})):
            issues.note(kind, path, text, item=called(entry, place), split=spec.split)


def box_form(content: dict[str, list[Any]]) -> str:
    """What the four numbers of a file's boxes are: ``xywh``, ``corners`` or ``shares``."""
    images = {entry["id"]: entry for entry in content["images"] if isinstance(entry, dict) and _whole(entry.get("id"))}
    rows, sizes = [], []
    for entry in content["annotations"]:
        box = numbers(entry.get("bbox")) if isinstance(entry, dict) else None
        image = images.get(_hashable(entry.get("image_id"))) if isinstance(entry, dict) else None
        if box is not None and image is not None and _whole(image.get("width")) and _whole(image.get("height")):
            rows.append(box)
            sizes.append((image["width"], image["height"]))
    if not rows:
        return "xywh"
    boxes, limits = np.array(rows, np.float64), np.array(sizes, np.float64)
    if ((boxes > 0).any(axis=1) & (boxes <= 1).all(axis=1)).mean() > MOSTLY and (limits > 2).all():
        return "shares"
    leaves = (boxes[:, :2] + boxes[:, 2:] > limits + 1).any(axis=1)
    # As corners every box must make sense; as sizes many must not.
    sound = ((boxes[:, 2:] > boxes[:, :2]) & (boxes[:, 2:] <= limits + 1) & (boxes[:, :2] >= -1)).all(axis=1)
    return "corners" if sound.mean() > 0.95 and leaves.mean() > 0.2 else "xywh"


def called(entry: dict[str, Any], place: int) -> str:
    """How findings call an annotation, as the reader does."""
    identity = entry.get("id")
    return f"annotation {identity}" if _whole(identity) and identity != 0 else f"annotations[{place}]"


def numbers(box: Any) -> list[float] | None:
    """Four finite numbers, or None."""
    good = isinstance(box, list) and len(box) == 4 and all(_number(value) for value in box)
    return [float(value) for value in box] if good else None


def _check_images(images: list[Any], path: Path, split: str, issues: Issues) -> None:
    unstated = []
    for entry in images:
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
            continue
        name = entry["file_name"]
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute():
            issues.note("odd-path", path, f"file_name {name!r:.120}", item=f"image {entry.get('id')}", split=split)
        if not all(_whole(entry.get(key)) and entry[key] > 0 for key in ("width", "height")):
            unstated.append(entry.get("id"))
    if unstated:
        text = f"{len(unstated):,} of {len(images):,} images state no width and height"
        issues.note("unstated-size", path, text, item=f"image {unstated[0]}", split=split)


def _check_ids(categories: list[Any], path: Path, split: str, issues: Issues) -> None:
    ids = sorted(entry["id"] for entry in categories if isinstance(entry, dict) and _whole(entry.get("id")))
    gaps = [(low, high) for low, high in pairwise(ids) if high > low + 1]
    if gaps:
        low, high = gaps[0]
        text = f"{len(ids)} ids from {ids[0]} to {ids[-1]}, with {len(gaps)} gaps: after {low} comes {high}"
        issues.note("category-gap", path, text, item=f"category {high}", split=split)


def _odd(entry: dict[str, Any], image: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(kind, text) of what is odd with one annotation beside its box."""
    box = numbers(entry.get("bbox"))
    if "iscrowd" in entry and entry["iscrowd"] not in (0, 1):
        yield "bad-crowd", f"iscrowd is {entry['iscrowd']!r:.40}"
    area = entry.get("area")
    if box is not None and min(box[2:]) > 0 and "area" in entry:
        own = box[2] * box[3]
        if not _number(area) or area <= 0 or area > 1.05 * own + 2 * (box[2] + box[3]) + 4:
            yield "wrong-area", f"area is {area!r:.40}, its box has {own:.6g}"
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, list) and segmentation:
        hull = _hull(segmentation)
        if hull is None:
            yield (
                "bad-segmentation",
                f"a polygon needs an even number of coordinates from 6 on, got {segmentation!r:.60}",
            )
        elif box is not None and not entry.get("iscrowd"):
            x, y, width, height = box
            off = max(abs(a - b) for a, b in zip(hull, (x, y, x + width, y + height), strict=True))
            if off > HULL + 0.05 * max(width, height):
                shown = ", ".join(f"{value:.5g}" for value in hull)
                yield (
                    "box-off-polygon",
                    f"box ends {off:.4g} pixels from its polygon, which spans {shown} (x1 y1 x2 y2)",
                )
    elif isinstance(segmentation, dict):
        size = segmentation.get("size")
        if "counts" not in segmentation or not isinstance(size, list) or len(size) != 2:
            yield "bad-segmentation", f"a run-length mask needs counts and size, got {segmentation!r:.60}"
        elif image and size != [image.get("height"), image.get("width")]:
            yield (
                "bad-segmentation",
                f"mask is {size} (height, width), its image {[image.get('height'), image.get('width')]}",
            )
    elif segmentation is not None and segmentation != []:
        yield "bad-segmentation", f"neither polygons nor a run-length mask: {segmentation!r:.60}"


def _hull(polygons: list[Any]) -> tuple[float, float, float, float] | None:
    """xyxy around polygons; None where one is malformed."""
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or not all(map(_number, polygon)):
            return None
    xs = [value for polygon in polygons for value in polygon[::2]]
    ys = [value for polygon in polygons for value in polygon[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def _number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and abs(value) < 1e15 and math.isfinite(value)


def _whole(value: Any) -> TypeGuard[int]:
    return type(value) is int


def _hashable(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else None
