"""Checks of what only one form of annotations can get wrong, on its files as they are.

COCO JSON: what the reader passes over, because boxes do not need it or because it can be mended in silence. VOC XML: names
that disagree, and corners that count from 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from effdet.data.checks import Findings
from effdet.data.coco import find_annotations
from effdet.data.coco_json import box_of, called, load_json, stated_size
from effdet.data.rle import hull, points, runs
from effdet.data.spec import DataSpec
from effdet.data.voc import ImageNames, layout, read_xml, xml_files
from effdet.doctor.issues import Issues
from effdet.files import FileError
from effdet.files.scalars import flag, number, truth, whole

HULL = 3.0
"""Pixels by which a box may differ from its polygon's hull, beside a twentieth of its size."""
MOSTLY = 0.5
"""Share of boxes that must speak for it before a whole file is said to be in another form."""


def check_coco(spec: DataSpec, issues: Issues) -> None:
    """Notes what is odd in the annotation file of a split."""
    path = spec.annotations or find_annotations(spec)
    content = load_json(path)
    images = images_by_id(content["images"])
    _check_images(content["images"], path, spec.split, issues)
    _check_numbers(content, path, spec.split, issues)
    _check_ids(content["categories"], path, spec.split, issues)
    annotations = [(place, entry) for place, entry in enumerate(content["annotations"]) if isinstance(entry, dict)]
    form = box_form(content)
    if form != "xywh":
        kind, text = "shares-not-pixels", "lies within 0…1: a share of the image"
        if form == "corners":
            kind, text = (
                "corners-not-sizes",
                "leaves its image as x, y, width, height and fits as corners x1, y1, x2, y2",
            )
        place, entry = next((place, entry) for place, entry in annotations if numbers(entry.get("bbox")) is not None)
        shown = "[" + ", ".join(f"{value:.6g}" for value in numbers(entry.get("bbox")) or ()) + "]"
        text = f"box {shown} {text}, as do most of {len(annotations):,}"
        issues.note(kind, path, text, item=called(entry.get("id"), place), split=spec.split)
    for place, entry in annotations:
        for kind, text in _odd(entry, images.get(whole(entry.get("image_id")), {})):
            issues.note(kind, path, text, item=called(entry.get("id"), place), split=spec.split)


def box_form(content: dict[str, list[Any]]) -> str:
    """What the four numbers of a file's boxes are: ``xywh``, ``corners`` or ``shares``."""
    images = images_by_id(content["images"])
    rows, sizes = [], []
    for entry in content["annotations"]:
        box = numbers(entry.get("bbox")) if isinstance(entry, dict) else None
        height, width = stated_size(images.get(whole(entry.get("image_id")), {})) if isinstance(entry, dict) else (0, 0)
        if box is not None and height:
            rows.append(box)
            sizes.append((width, height))
    if not rows:
        return "xywh"
    boxes, limits = np.array(rows, np.float64), np.array(sizes, np.float64)
    if ((boxes > 0).any(axis=1) & (boxes <= 1).all(axis=1)).mean() > MOSTLY and (limits > 2).all():
        return "shares"
    leaves = (boxes[:, :2] + boxes[:, 2:] > limits + 1).any(axis=1)
    # As corners every box must make sense; as sizes many must not.
    valid = ((boxes[:, 2:] > boxes[:, :2]) & (boxes[:, 2:] <= limits + 1) & (boxes[:, :2] >= -1)).all(axis=1)
    return "corners" if valid.mean() > 0.95 and leaves.mean() > 0.2 else "xywh"


def images_by_id(images: list[Any]) -> dict[int | None, dict[str, Any]]:
    """The entries of ``images`` by their ids."""
    by_id = {whole(entry.get("id")): entry for entry in images if isinstance(entry, dict)}
    by_id.pop(None, None)
    return by_id


def numbers(box: Any) -> list[float] | None:
    """Four finite numbers, or None."""
    if not isinstance(box, list) or len(box) != 4:
        return None
    values = [number(value) for value in box]
    good = all(value is not None and math.isfinite(value) and abs(value) < 1e15 for value in values)
    return [float(value) for value in values if value is not None] if good else None


def _check_images(images: list[Any], path: Path, split: str, issues: Issues) -> None:
    unstated = []
    for entry in images:
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
            continue
        name = entry["file_name"]
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute():
            issues.note("odd-path", path, f"file_name {name!r:.120}", item=f"image {entry.get('id')}", split=split)
        if not all(stated_size(entry)):
            unstated.append(entry.get("id"))
    if unstated:
        text = f"{len(unstated):,} of {len(images):,} images state no width and height"
        issues.note("unstated-size", path, text, item=f"image {unstated[0]}", split=split)


def _check_ids(categories: list[Any], path: Path, split: str, issues: Issues) -> None:
    found = (whole(entry.get("id")) for entry in categories if isinstance(entry, dict))
    ids = sorted(identity for identity in found if identity is not None)
    gaps = [(low, high) for low, high in pairwise(ids) if high > low + 1]
    if gaps:
        low, high = gaps[0]
        text = f"{len(ids)} ids from {ids[0]} to {ids[-1]}, with {len(gaps)} gaps: after {low} comes {high}"
        issues.note("category-gap", path, text, item=f"category {high}", split=split)


def _odd(entry: dict[str, Any], image: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(kind, text) of what is odd with one annotation beside its box."""
    box = numbers(box_of(entry)[0])
    if box is not None and min(box[2:]) > 0 and "area" in entry and not area_fits(entry["area"], box[2], box[3]):
        yield "wrong-area", f"area is {entry['area']!r:.40}, its box has {box[2] * box[3]:.6g}"
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, list) and segmentation:
        around = hull(segmentation) if points(segmentation) is not None else None
        if around is None:
            text = f"a polygon needs an even number of coordinates from 6 on, got {segmentation!r:.60}"
            yield "bad-segmentation", text
        elif box is not None and not flag(entry.get("iscrowd")):
            left, top, across, down = around
            edges = (left, top, left + across, top + down)
            x, y, width, height = box
            off = max(abs(a - b) for a, b in zip(edges, (x, y, x + width, y + height), strict=True))
            if off > HULL + 0.05 * max(width, height):
                shown = ", ".join(f"{value:.5g}" for value in edges)
                text = f"box ends {off:.4g} pixels from its polygon, which spans {shown} (x1 y1 x2 y2)"
                yield "box-off-polygon", text
    elif isinstance(segmentation, dict):
        size = segmentation.get("size")
        if runs(segmentation.get("counts")) is None or not isinstance(size, list) or len(size) != 2:
            yield "bad-segmentation", f"a run-length mask needs counts and size, got {segmentation!r:.60}"
        elif all(stated := stated_size(image)) and [whole(side) for side in size] != list(stated):
            yield "bad-segmentation", f"mask is {size} (height, width), its image {list(stated)}"
    elif segmentation is not None and segmentation != []:
        yield "bad-segmentation", f"neither polygons nor a run-length mask: {segmentation!r:.60}"


def area_fits(area: Any, width: float, height: float) -> bool:
    """Whether the `area` of an annotation may be that of an object in a box of this size."""
    value = number(area)
    return value is not None and 0 < value <= 1.05 * width * height + 2 * (width + height) + 4


def _check_numbers(content: dict[str, list[Any]], path: Path, split: str, issues: Issues) -> None:
    """Whole numbers that stand there as text, or as ``1.0``: read as they are meant, but not by other tools."""
    keys = {
        "images": ("id", "width", "height"),
        "categories": ("id",),
        "annotations": ("id", "image_id", "category_id", "iscrowd"),
    }
    for name, of_entry in keys.items():
        for key in of_entry:
            odd = [
                (place, entry[key])
                for place, entry in enumerate(content[name])
                if isinstance(entry, dict) and is_odd(entry.get(key), key)
            ]
            if odd:
                more = f", and {len(odd) - 1:,} more" if len(odd) > 1 else ""
                text = f"{key} is {odd[0][1]!r:.40}{more}: read as a whole number"
                issues.note("odd-number", path, text, item=f"{name}[{odd[0][0]}]", split=split)


def is_odd(value: Any, key: str) -> bool:
    """Whether a value that is read as a whole number (a truth value, for ``iscrowd``) stands there as something else."""
    if key == "iscrowd":
        return isinstance(value, (str, float)) and truth(value) is not None
    return type(value) is not int and whole(value) is not None


def check_voc(spec: DataSpec, issues: Issues) -> None:
    """Notes what is odd in the XML files of a split."""
    found = layout(spec)
    there, files = ImageNames(found.images, Findings()), xml_files(found.annotations)
    for name, count in sorted(Counter(found.lines).items()):
        if count > 1 and found.listing is not None:
            text = f"{name} stands in the list {count} times"
            issues.note("listed-twice", found.listing, text, item=name, split=spec.split)
    for stem in sorted(files.keys() & set(found.stems)):
        path = files[stem]
        try:
            root = read_xml(path)
        except FileError:
            continue  # noted by the reader
        named = (root.findtext("filename") or "").strip().replace("\\", "/").rsplit("/", 1)[-1]
        taken = there.of(stem, named)
        of_other = Path(named).stem != PurePosixPath(stem).name and Path(taken).name != named
        if named and of_other and taken in there.names:
            text = f"filename is {named!r:.80}, the file is called {path.name}: the image of the file's name is taken"
            issues.note("other-filename", path, text, item="filename", split=spec.split)
        for place, node in enumerate(root.findall("object"), start=1):
            low = [(node.findtext(f"bndbox/{corner}") or "").strip() for corner in ("xmin", "ymin")]
            if any(number(value) == 0 for value in low):
                name = (node.findtext("name") or "").strip()
                text = f"xmin, ymin are {', '.join(low)}; the first pixel is 1"
                issues.note("zero-based", path, text, item=f"object {place} ({name})", split=spec.split)


CHECKS = {"coco": check_coco, "voc": check_voc}
"""``data=NAME`` -> ``check(spec, issues)`` for one split."""

__all__ = ["CHECKS"]
