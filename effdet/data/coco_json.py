"""The three lists of a COCO annotation file, checked item by item and made into arrays.

Placeholders are categories that a tool put into the file though nobody drew them. Roboflow's exports begin with the project's
name, ``{"id": 0, "name": "cells", "supercategory": "none"}``, followed by the classes, whose supercategory it is; often the
only class has the very same name. Other tools list a background. As classes they would be logits that no example ever
trains, and a name that occurs twice is no class table at all. So a category is left out if no annotation of any split uses
it, and it is (a) the table's only entry of supercategory ``none``, or one without a supercategory that is the supercategory
of another entry, or (b) called background, or (c) of the same name as another entry. All splits are asked, so that train
and val get the same table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from effdet.data.checks import DataError, Findings
from effdet.data.listing import json_of
from effdet.data.parsed_cache import Arrays, cached_arrays
from effdet.data.records import encode_names
from effdet.data.rle import hull
from effdet.files import FileError, decode_name, read_json
from effdet.files.scalars import flag, number, truth, whole
from heads.structures import ClassTable

LISTS = ("images", "annotations", "categories")
BACKGROUND = frozenset({"background", "_background_", "__background__", "__ignore__", "_ignore_"})


def without_placeholders(
    content: dict[str, Any], path: Path, siblings: Callable[[], Collection[Path]], findings: Findings
) -> list[tuple[int, Any]]:
    """The entries of ``categories`` with their places, without placeholders, which are noted.

    Args:
        content: of the annotation file.
        path: its name.
        siblings: the annotation files of the other splits, asked for only where a category may be a placeholder.
        findings: takes a warning for each entry that is left out.
    """
    categories = list(enumerate(content["categories"]))
    keys = {place: key for place, entry in categories if (key := _category_key(entry)) is not None}
    unused = set(_candidates(content["categories"], keys))
    if unused:
        used = _used_keys(content)
        if any(keys[place] not in used for place in unused):
            for sibling in siblings():
                if sibling != path:
                    used |= _used_keys(_sibling_content(sibling))
        unused = {place for place in unused if keys[place] not in used}
    for name in {keys[place][1] for place in unused} - BACKGROUND:
        # Of equal names the used one stays; where none is used, the last: Roboflow's placeholder comes first.
        places = [place for place, key in keys.items() if key[1] == name]
        if len(places) > 1 and unused.issuperset(places):
            unused.discard(places[-1])
    if len(unused) == len(categories):
        return categories
    for place in sorted(unused):
        entry = content["categories"][place]
        text = f"{entry['name']!r} (id {entry['id']}) is a placeholder that no annotation uses: left out"
        findings.warning("placeholder-category", path, text, item=f"categories[{place}]")
    return [(place, entry) for place, entry in categories if place not in unused]


def _candidates(categories: list[Any], keys: dict[int, tuple[int, str]]) -> Iterator[int]:
    """Places of the entries that would be placeholders if nothing used them."""
    if len(keys) < 2:
        return
    above = {place: str(categories[place].get("supercategory") or "").strip().lower() for place in keys}
    parents, counts = Counter(above.values()), Counter(name for _, name in keys.values())
    for place, (_, name) in keys.items():
        others = parents[name.lower()] - (above[place] == name.lower())
        root = above[place] == "none" and parents["none"] == 1 or above[place] in ("none", "null", "") and others > 0
        if root or name.lower() in BACKGROUND or counts[name] > 1:
            yield place


def _category_key(entry: Any) -> tuple[int, str] | None:
    """(id, name) of a well-formed category."""
    identity = whole(entry.get("id")) if isinstance(entry, dict) else None
    return None if identity is None or not isinstance(entry.get("name"), str) else (identity, entry["name"].strip())


def _used_keys(content: dict[str, Any]) -> set[tuple[int, str]]:
    """(id, name) of the categories that annotations of a file use."""
    lists = {name: found if isinstance(found := content.get(name), list) else [] for name in LISTS}
    ids = {whole(entry.get("category_id")) for entry in lists["annotations"] if isinstance(entry, dict)}
    return {key for key in map(_category_key, lists["categories"]) if key is not None and key[0] in ids}


def _sibling_content(path: Path) -> dict[str, Any]:
    """The content of another split's file; nothing where it cannot be read (opening that split reports it)."""
    try:
        content = read_json(path)
    except FileError:
        return {}
    return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Images:
    """The list ``images``, sorted by id."""

    ids: np.ndarray
    """(P,) int64."""
    names: list[str]
    sizes: np.ndarray
    """(P, 2) int64 height, width; zeros where the file states none."""


@dataclass(frozen=True)
class Boxes:
    """The list ``annotations``, in the file's order; ids are as they stand there."""

    ids: np.ndarray
    image_ids: np.ndarray
    category_ids: np.ndarray
    bbox: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    places: np.ndarray
    """(N,) int64 position of each in the file's list."""


def parse_file(
    path: Path, findings: Findings, *, siblings: Callable[[], Collection[Path]] = tuple
) -> tuple[ClassTable, Images, Boxes]:
    """The three lists of a file; a large one without faults is parsed once and cached as arrays.

    Args:
        path, findings, siblings: as for :func:`without_placeholders`.
    """

    def parse() -> tuple[Arrays, bool]:
        before = len(findings.items)
        content = load_json(path)
        categories = without_placeholders(content, path, siblings, findings)
        classes = parse_classes(categories, path, findings)
        images = parse_images(content["images"], path, findings)
        boxes = parse_annotations(content["annotations"], path, findings)
        arrays = {f"boxes_{name}": values for name, values in vars(boxes).items()}
        arrays |= {"image_ids": images.ids, "image_names": encode_names(images.names), "sizes": images.sizes}
        names = [str(name) for name in classes.names]
        arrays |= {"class_ids": np.array(classes.ids, np.int64), "class_names": encode_names(names)}
        return arrays, len(findings.items) == before

    arrays = cached_arrays(path, parse)
    names = {key: [decode_name(name) for name in arrays[key].tolist()] for key in ("class_names", "image_names")}
    classes = ClassTable(tuple(names["class_names"]), tuple(arrays["class_ids"].tolist()))
    images = Images(arrays["image_ids"], names["image_names"], arrays["sizes"])
    prefix = "boxes_"
    boxes = Boxes(**{key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)})
    return classes, images, boxes


def load_json(path: Path) -> dict[str, list[Any]]:
    """The content of an annotation file: an object with the lists images, annotations and categories."""
    content = json_of(path)
    if isinstance(content, list):
        raise DataError(
            f"{path}: holds a list, which looks like COCO results; annotations are an object with images, "
            "annotations and categories",
            kind="not-coco",
            file=path,
        )
    lacking = [key for key in LISTS if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if lacking:
        text = f"{path}: no list {', '.join(repr(key) for key in lacking)}: this is not COCO annotation JSON"
        raise DataError(text, kind="not-coco", file=path)
    return content


def parse_classes(categories: list[tuple[int, Any]], path: Path, findings: Findings) -> ClassTable:
    """The `categories`, given with their places in the file's list, sorted by id; faulty ones are noted and left out. Names
    that differ in case are different classes."""
    names: dict[int, str] = {}
    seen: dict[str, int] = {}
    for position, category in categories:
        item = f"categories[{position}]"
        known = isinstance(category, dict)
        identity, name = (whole(category.get("id")), category_name(category)) if known else (None, "")
        if identity is None or not name:
            findings.error("bad-category", path, f"needs a whole-number id and a name, got {category!r:.80}", item=item)
        elif identity in names:
            findings.error("duplicate-category", path, f"id {identity} is taken by {names[identity]!r}", item=item)
        elif name in seen:
            text = (
                f"{name!r} is also the name of category {seen[name]}: rename one, or let effdet doctor join them "
                "(doctor.fix=true)"
            )
            findings.error("duplicate-category", path, text, item=item)
        else:
            names[identity], seen[name] = name, identity
    if not names and not findings.errors:
        findings.error("no-categories", path, "'categories' is empty")
    return ClassTable(tuple(names[identity] for identity in sorted(names)), tuple(sorted(names)))


def category_name(category: dict[str, Any]) -> str:
    """The name of an entry of ``categories`` without blanks at its ends, "" where it has none; a number is its digits."""
    name = category.get("name")
    if type(name) in (int, float):
        return str(name)
    return name.strip() if _is_text(name) else ""


def parse_images(images: list[Any], path: Path, findings: Findings) -> Images:
    """The images sorted by id; faulty ones are noted and left out."""
    rows: dict[int, tuple[str, int, int]] = {}
    files: set[str] = set()
    for position, image in enumerate(images):
        item = f"images[{position}]"
        identity, name = (whole(image.get("id")), image.get("file_name")) if isinstance(image, dict) else (None, None)
        if identity is None or not _is_text(name) or not name or "\0" in name:
            text = f"needs a whole-number id and a file_name, got {image!r:.80}"
            findings.error("bad-image", path, text, item=item)
            continue
        name = name.replace("\\", "/")
        if identity in rows:
            findings.error("duplicate-image-id", path, f"id {identity} is taken by {rows[identity][0]!r}", item=item)
            continue
        if name in files:
            findings.warning("duplicate-image-id", path, f"{name!r} is listed twice, with different ids", item=item)
        files.add(name)
        rows[identity] = (name, *stated_size(image))
    ids = sorted(rows)
    sizes = np.array([rows[identity][1:] for identity in ids], np.int64).reshape(-1, 2)
    return Images(np.array(ids, np.int64), [rows[identity][0] for identity in ids], sizes)


def stated_size(image: dict[str, Any]) -> tuple[int, int]:
    """(height, width) of an entry of ``images``; zeros where it does not state both."""
    height, width = whole(image.get("height")), whole(image.get("width"))
    if height is None or width is None or height <= 0 or width <= 0:
        return 0, 0
    return height, width


def box_of(annotation: dict[str, Any]) -> tuple[list[float] | None, bool]:
    """The x, y, width, height of an annotation, and whether they are its segmentation's: that stands in where ``bbox`` is
    missing, empty or all zeros. (None, False) where there is no box."""
    passed = annotation.get("bbox")
    if isinstance(passed, list) and len(passed) == 4:
        box = [value for entry in passed if (value := number(entry)) is not None]
        if len(box) == 4:
            if any(box) or (around := hull(annotation.get("segmentation"))) is None:
                return box, False
            return list(around), True
    if passed is None or passed == [] or passed == [None] * 4:
        around = hull(annotation.get("segmentation"))
        return (None, False) if around is None else (list(around), True)
    return None, False


def parse_annotations(annotations: list[Any], path: Path, findings: Findings) -> Boxes:
    """The annotations as arrays; malformed ones are noted and left out."""
    ids, image_ids, category_ids, bbox, area, crowd, places = [], [], [], [], [], [], []
    for position, annotation in enumerate(annotations):
        if not isinstance(annotation, dict):
            findings.error(
                "bad-annotation", path, f"is not an object: {annotation!r:.40}", item=f"annotations[{position}]"
            )
            continue
        box, from_mask = box_of(annotation)
        image_id, category_id = whole(annotation.get("image_id")), whole(annotation.get("category_id"))
        if box is None or image_id is None or category_id is None:
            key = "bbox" if box is None else "image_id" if image_id is None else "category_id"
            requested = "4 numbers [x, y, width, height]" if key == "bbox" else "a whole number"
            text = f"{key} must be {requested}, got {annotation.get(key)!r:.60}"
            findings.error("bad-annotation", path, text, item=called(annotation.get("id"), position))
            continue
        group, item = annotation.get("iscrowd"), called(annotation.get("id"), position)
        if from_mask:
            shown = ", ".join(f"{value:.6g}" for value in box)
            text = f"bbox is {annotation.get('bbox')!r:.40}: the box of its segmentation is taken, [{shown}]"
            findings.warning("box-from-mask", path, text, item=item)
        if truth(group) is None:
            text = f"iscrowd is {group!r:.40}: read as {int(flag(group))}"
            findings.warning("bad-crowd", path, text, item=item)
        ids.append(whole(annotation.get("id")) or 0)
        image_ids.append(image_id)
        category_ids.append(category_id)
        bbox.append(box)
        area.append(number(annotation.get("area")) or 0.0)
        crowd.append(flag(group))
        places.append(position)
    identities = np.array(ids, np.int64)
    _identified(identities, places, path, findings)
    return Boxes(
        identities,
        np.array(image_ids, np.int64),
        np.array(category_ids, np.int64),
        np.array(bbox, np.float64).reshape(-1, 4),
        np.nan_to_num(np.array(area, np.float64)),
        np.array(crowd, np.bool_),
        np.array(places, np.int64),
    )


def called(identity: Any, position: int) -> str:
    """How messages call an annotation: by its id, or by its place where the id says nothing."""
    return f"annotation {whole(identity)}" if whole(identity) else f"annotations[{position}]"


def _is_text(value: Any) -> TypeGuard[str]:
    """Text that can be written: JSON's escapes can make half a character."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _identified(ids: np.ndarray, places: list[int], path: Path, findings: Findings) -> None:
    """Notes ids that evaluation could not distinguish, the first of them by name: all are then given new ones."""
    without = np.flatnonzero(ids == 0)
    if len(without):
        more = f" ({len(without):,} such annotations)" if len(without) > 1 else ""
        text = f"has id 0, or none{more}: all are given new ids from 1, since pycocotools reads 0 as unmatched"
        findings.warning("annotation-id-0", path, text, item=f"annotations[{places[without[0]]}]")
        return
    values, first, counts = np.unique(ids, return_index=True, return_counts=True)
    if len(values) < len(ids):
        worst = int(np.argmax(counts > 1))
        others = int((counts > 1).sum()) - 1
        more = f", and {others:,} other ids occur more than once" if others else ""
        text = (
            f"id occurs {counts[worst]} times, first at annotations[{places[first[worst]]}]{more}: all are renumbered"
        )
        findings.warning("duplicate-annotation", path, text, item=f"annotation {values[worst]}")
