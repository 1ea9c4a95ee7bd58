"""Repairing COCO JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from effdet.data.boxes import valid_boxes
from effdet.data.checks import DataError, Findings
from effdet.data.coco import annotation_files, find_annotations, find_images
from effdet.data.coco_json import box_of, category_name, load_json, stated_size, without_placeholders
from effdet.data.images import image_sizes
from effdet.data.spec import DataSpec
from effdet.doctor.formats import area_fits, box_form, is_odd, numbers
from effdet.doctor.reading import Split
from effdet.doctor.repair.plan import RepairPlan
from effdet.files import decode_name
from effdet.files.scalars import flag, number, truth, whole


def repair_coco(splits: Sequence[Split], plan: RepairPlan) -> None:
    """Links the images and writes the annotation files at the places that they have in the set; a file without faults is
    copied byte for byte. What the user named apart goes where a set of the official layout has it."""
    for split in splits:
        source = split.spec.annotations or find_annotations(split.spec)
        content = load_json(source)
        form = box_form(content)
        classes, kept_categories = _categories(content, source, split, plan)
        owners, kept_images = _images(content["images"], source, split, plan)
        annotations = _annotations(content["annotations"], form, classes, owners, kept_images, plan)
        lists = {"images": list(kept_images.values()), "annotations": annotations, "categories": kept_categories}
        written = json.dumps(content | lists)
        unchanged = written == json.dumps(content)
        place = plan.copy.claim(source, _target_of(source, split, plan))
        plan.copy.write(place, source.read_bytes() if unchanged else written.encode())


def _target_of(source: Path, split: Split, plan: RepairPlan) -> PurePosixPath:
    """Where the annotation file goes: to its own place, if it is found there without being named."""
    own = plan.copy.inside(source)
    if own is not None and split.spec.annotations is not None:
        try:
            found = find_annotations(_unnamed(split.spec, "annotations"))
        except DataError:
            found = None
        own = own if found is not None and found.absolute() == source.absolute() else None
    return own or PurePosixPath("annotations", f"instances_{split.name}.json")


def _dir_of(root: Path, source: Path, split: Split, names: Sequence[str], plan: RepairPlan) -> PurePosixPath:
    """Where the folder of the images goes, likewise."""
    own = plan.copy.inside(root)
    named = split.spec.images is not None or split.spec.annotations is not None
    if own is not None and named:
        spec = _unnamed(_unnamed(split.spec, "images"), "annotations")
        try:
            found = find_images(spec, spec.need_root() / _target_of(source, split, plan), names)[0]
        except DataError:
            found = None
        own = own if found is not None and found.absolute() == root.absolute() else None
    return PurePosixPath(split.name) if own is None else own


def _unnamed(spec: DataSpec, part: str) -> DataSpec:
    """`spec` without the path of its ``images`` or ``annotations``."""
    return replace(spec, **{f"{spec.file_split}_{part}": None})


def _categories(
    content: dict[str, Any], source: Path, split: Split, plan: RepairPlan
) -> tuple[dict[int, int], list[dict[str, Any]]]:
    """Id in the file -> id in the copy, and the entries. Equal names are joined; those that differ in case are not."""
    entries = without_placeholders(content, source, lambda: annotation_files(split.spec), Findings())
    if lacking := len(content["categories"]) - len(entries):
        plan.done["placeholder categories left out"] += lacking
    ids: dict[int, int] = {}
    first: dict[str, int] = {}
    kept = []
    for _, entry in entries:
        identity, name = (whole(entry.get("id")), category_name(entry)) if isinstance(entry, dict) else (None, "")
        if identity is None or not name or identity in ids:
            plan.done["categories left out"] += 1
        elif name in first:
            ids[identity] = first[name]
            plan.done["categories merged"] += 1
        else:
            ids[identity] = first[name] = identity
            kept.append(_plain(entry, ("id",), plan))
    return ids, kept


def _plain(entry: dict[str, Any], keys: Sequence[str], plan: RepairPlan) -> dict[str, Any]:
    """The entry with whole numbers in place of what stands there for them, such as ``"1"`` and ``1.0``."""
    odd = {key: whole(entry[key]) for key in keys if is_odd(entry.get(key), key)}
    plan.done["numbers rewritten"] += len(odd)
    return entry | odd


def _images(
    images: list[Any], source: Path, split: Split, plan: RepairPlan
) -> tuple[dict[int, int], dict[int, dict[str, Any]]]:
    """Id in the file -> id in the copy, and the entries by id."""
    sides = {
        decode_name(name): str(side) for name, side in zip(split.source.records.file_names, split.sides, strict=True)
    }
    named: dict[int, tuple[str, dict[str, Any]]] = {}
    for entry in images:
        name, identity = (entry.get("file_name"), whole(entry.get("id"))) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not name or "\0" in name or identity is None or identity in named:
            plan.done["image entries left out"] += 1
        else:
            named[identity] = name.replace("\\", "/"), entry
    names = [name for name, _ in named.values()]
    root, paths = find_images(split.spec, source, names)
    directory = _dir_of(root, source, split, names, plan)
    for path in paths:  # a path that stays goes before one that is rewritten
        if _inside(path).as_posix() == path:
            plan.copy.claim(root / path, directory / path)
    owners: dict[int, int] = {}
    kept: dict[int, dict[str, Any]] = {}
    first: dict[str, int] = {}
    for (identity, (name, entry)), path in zip(named.items(), paths, strict=True):
        image = root / path
        plan.copy.use(image)
        if name in first:
            owners[identity] = first[name]
            plan.done["image entries merged"] += 1
            continue
        size = _size(image, entry, plan)
        if size is None or not plan.keeps(image, sides.get(name, split.name)):
            continue
        place = plan.copy.claim(image, directory / _inside(path))
        plan.copy.link(image, place)
        inside = place.relative_to(directory).as_posix()
        owners[identity] = first[name] = identity
        entry = _plain(entry, ("id", "height", "width"), plan)
        if inside != entry["file_name"]:
            plan.done["image paths rewritten"] += 1
        kept[identity] = {**entry, "file_name": inside, "height": size[0], "width": size[1]}
    return owners, kept


def _size(image: Path, entry: dict[str, Any], plan: RepairPlan) -> tuple[int, int] | None:
    """(height, width) to be stated; None for an image that is left out."""
    try:
        upright, stored = image_sizes(image)
    except DataError:
        plan.done["images left out: unusable"] += 1
        return None
    stated = stated_size(entry)
    if image in plan.stored:
        plan.done["sizes set to those as stored"] += 1
        return stored
    if stated in (upright, stored):
        return stored if stated == stored else upright
    if not all(stated) or stated[::-1] == upright:
        plan.done["sizes corrected"] += 1
        return upright
    plan.done["images left out: unusable"] += 1  # the boxes belong to some other size
    return None


def _inside(name: str) -> PurePosixPath:
    """A path below the folder, whatever the entry says."""
    return PurePosixPath(
        *(part for part in PurePosixPath(name).parts if part not in ("..", "/") and not part.endswith(":"))
    )


def _annotations(
    annotations: list[Any],
    form: str,
    classes: dict[int, int],
    owners: dict[int, int],
    images: dict[int, dict[str, Any]],
    plan: RepairPlan,
) -> list[dict[str, Any]]:
    kept, boxes, sizes = [], [], []
    for entry in annotations:
        entry = entry if isinstance(entry, dict) else {}
        passed, from_mask = box_of(entry)
        box, owner = numbers(passed), _of(owners, entry.get("image_id"))
        label = _of(classes, entry.get("category_id"))
        if box is None or owner is None or label is None:
            plan.done["objects left out"] += 1
            continue
        size = images[owner]["height"], images[owner]["width"]
        entry = _plain(entry, ("id", "image_id", "category_id"), plan)
        if from_mask:
            plan.done["boxes taken from segmentations"] += 1
        if from_mask or any(isinstance(value, str) for value in entry["bbox"]):
            entry = {**entry, "bbox": box}
        kept.append({**entry, "image_id": owner, "category_id": label})
        # A box of a segmentation is x, y, width, height whatever the others are.
        boxes.append(box if from_mask else _as_xywh(box, form, size))
        sizes.append(size)
    if not kept:
        return []
    bbox, limits = np.array(boxes, np.float64), np.array(sizes, np.int64)
    noted = Findings()
    valid = valid_boxes(bbox, limits, lambda row: ("", str(row)), noted)
    clipped = {int(finding.item) for finding in noted.items if finding.kind == "out-of-range"}
    if form != "xywh":
        plan.done["boxes converted"] += len(kept)
    changed = [row in clipped or form != "xywh" for row in range(len(kept))]
    rows = [_written(entry, bbox[row], limits[row], changed[row], plan) for row, entry in enumerate(kept)]
    written = _without_repeats([row for row, good in zip(rows, valid.tolist(), strict=True) if good], plan)
    plan.done["objects left out"] += int((~valid).sum())
    ids = [entry.get("id") for entry in written]
    if any(type(value) is not int or value <= 0 for value in ids) or len(set(map(str, ids))) < len(ids):
        plan.done["annotations renumbered"] += len(written)
        written = [{**entry, "id": place} for place, entry in enumerate(written, start=1)]
    return written


def _written(
    entry: dict[str, Any], box: np.ndarray, size: np.ndarray, changed: bool, plan: RepairPlan
) -> dict[str, Any]:
    """The entry with its box inside the image, and an area and a crowd flag that fit."""
    x, y, width, height = (float(value) for value in box)
    if changed:
        right, bottom = min(x + width, float(size[1])), min(y + height, float(size[0]))
        x, y = max(x, 0.0), max(y, 0.0)
        width, height = right - x, bottom - y
        plan.done["boxes clipped"] += 1
    entry = {**entry, "bbox": [x, y, width, height] if changed else entry["bbox"]}
    if not area_fits(entry.get("area"), width, height):
        entry["area"] = width * height
        plan.done["areas set"] += 1
    elif isinstance(entry["area"], str):
        entry["area"] = number(entry["area"])
        plan.done["numbers rewritten"] += 1
    group = entry.get("iscrowd")
    if is_odd(group, "iscrowd"):
        entry["iscrowd"] = int(flag(group))
        plan.done["numbers rewritten"] += 1
    elif truth(group) is None and number(group) is not None:
        # Words that say neither are left as they are: what they mean is not in the file.
        entry["iscrowd"] = int(flag(group))
        plan.done["crowd flags set"] += 1
    return entry


def _without_repeats(entries: list[dict[str, Any]], plan: RepairPlan) -> list[dict[str, Any]]:
    """Without the second of two boxes of one place and class."""
    seen, kept = set(), []
    for entry in entries:
        key = (entry["image_id"], entry["category_id"], *(round(float(value), 2) for value in entry["bbox"]))
        if key in seen:
            plan.done["repeated boxes left out"] += 1
        else:
            seen.add(key)
            kept.append(entry)
    return kept


def _as_xywh(box: list[float], form: str, size: tuple[int, int]) -> list[float]:
    if form == "corners":
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    if form == "shares":
        return [box[0] * size[1], box[1] * size[0], box[2] * size[1], box[3] * size[0]]
    return box


def _of(ids: dict[int, int], value: Any) -> int | None:
    identity = whole(value)
    return None if identity is None else ids.get(identity)
