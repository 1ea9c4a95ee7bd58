"""Repairing COCO JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from effdet.data.boxes import sound_boxes
from effdet.data.checks import DataError, Findings
from effdet.data.coco import find_annotations
from effdet.data.coco_json import load_json
from effdet.data.doctor.forms.coco import box_form, numbers
from effdet.data.doctor.reading import Split
from effdet.data.doctor.repair.verdict import Verdict, link, spellings
from effdet.data.images import image_sizes
from effdet.files import decode_name


def repair_coco(splits: Sequence[Split], verdict: Verdict, out: Path) -> None:
    """Writes ``annotations/instances_SPLIT.json`` beside folders of linked pictures."""
    for split in splits:
        content = load_json(split.spec.annotations or find_annotations(split.spec))
        form = box_form(content)
        classes, kept_categories = _categories(content["categories"], verdict)
        owners, kept_images = _images(content["images"], split, verdict, out)
        annotations = _annotations(content["annotations"], form, classes, owners, kept_images, verdict)
        others = {key: value for key, value in content.items() if key not in ("images", "annotations", "categories")}
        lists = {"images": list(kept_images.values()), "annotations": annotations, "categories": kept_categories}
        path = out / "annotations" / f"instances_{split.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(others | lists), encoding="utf-8")


def _categories(categories: list[Any], verdict: Verdict) -> tuple[dict[int, int], list[dict[str, Any]]]:
    """Id in the file -> id in the copy, and the entries."""
    sound, ids = [], set()
    for entry in categories:
        good = isinstance(entry, dict) and type(entry.get("id")) is int and isinstance(entry.get("name"), str)
        if good and entry["name"].strip() and entry["id"] not in ids:
            ids.add(entry["id"])
            sound.append(entry)
        else:
            verdict.done["categories left out"] += 1
    spelt = spellings([entry["name"] for entry in sound])
    first: dict[str, int] = {}
    kept = []
    for entry in sound:
        if spelt[entry["name"]] not in first:
            first[spelt[entry["name"]]] = entry["id"]
            kept.append(entry)
        else:
            verdict.done["categories merged"] += 1
    return {entry["id"]: first[spelt[entry["name"]]] for entry in sound}, kept


def _images(
    images: list[Any], split: Split, verdict: Verdict, out: Path
) -> tuple[dict[int, int], dict[int, dict[str, Any]]]:
    """Id in the file -> id in the copy, and the entries by id."""
    root = split.source.records.root
    sides = {
        decode_name(name): str(side) for name, side in zip(split.source.records.file_names, split.sides, strict=True)
    }
    owners: dict[int, int] = {}
    kept: dict[int, dict[str, Any]] = {}
    first: dict[str, int] = {}
    for entry in images:
        name = entry.get("file_name") if isinstance(entry, dict) else None
        if (
            not isinstance(name, str)
            or not name
            or "\0" in name
            or type(entry.get("id")) is not int
            or entry["id"] in owners
        ):
            verdict.done["image entries left out"] += 1
            continue
        name = name.replace("\\", "/")
        picture = root / name
        if name in first:
            owners[entry["id"]] = first[name]
            verdict.done["image entries merged"] += 1
            continue
        size = _size(picture, entry, verdict)
        if size is None or not verdict.keeps(picture, sides.get(name, split.name)):
            continue
        inside = _inside(name)
        link(picture, out / split.name / inside)
        owners[entry["id"]] = first[name] = entry["id"]
        kept[entry["id"]] = {**entry, "file_name": inside, "height": size[0], "width": size[1]}
    return owners, kept


def _size(picture: Path, entry: dict[str, Any], verdict: Verdict) -> tuple[int, int] | None:
    """(height, width) to be stated; None for a picture that is left out."""
    try:
        upright, stored = image_sizes(picture)
    except DataError:
        verdict.done["pictures left out: unusable"] += 1
        return None
    stated = entry.get("height"), entry.get("width")
    if picture in verdict.stored:
        verdict.done["sizes set to those as stored"] += 1
        return stored
    if stated in (upright, stored):
        return stored if stated == stored else upright
    if not all(type(side) is int and side > 0 for side in stated) or stated[::-1] == upright:
        verdict.done["sizes corrected"] += 1
        return upright
    verdict.done["pictures left out: unusable"] += 1  # the boxes belong to some other size
    return None


def _inside(name: str) -> str:
    """A name below the folder, whatever the entry says."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("..", "/") and not part.endswith(":")]
    return "/".join(parts)


def _annotations(
    annotations: list[Any],
    form: str,
    classes: dict[int, int],
    owners: dict[int, int],
    images: dict[int, dict[str, Any]],
    verdict: Verdict,
) -> list[dict[str, Any]]:
    kept, boxes, sizes = [], [], []
    for entry in annotations:
        box = numbers(entry.get("bbox")) if isinstance(entry, dict) else None
        owner = owners.get(_key(entry.get("image_id"))) if isinstance(entry, dict) else None
        label = classes.get(_key(entry.get("category_id"))) if isinstance(entry, dict) else None
        if box is None or owner is None or label is None:
            verdict.done["objects left out"] += 1
            continue
        size = images[owner]["height"], images[owner]["width"]
        kept.append({**entry, "image_id": owner, "category_id": label})
        boxes.append(_as_xywh(box, form, size))
        sizes.append(size)
    if not kept:
        return []
    bbox, limits = np.array(boxes, np.float64), np.array(sizes, np.int64)
    noted = Findings()
    sound = sound_boxes(bbox, limits, lambda row: ("", str(row)), noted)
    clipped = {int(finding.item) for finding in noted.items if finding.kind == "out-of-range"}
    if form != "xywh":
        verdict.done["boxes converted"] += len(kept)
    rows = [
        _written(entry, bbox[row], limits[row], row in clipped or form != "xywh", verdict)
        for row, entry in enumerate(kept)
    ]
    written = _without_repeats([row for row, good in zip(rows, sound.tolist(), strict=True) if good], verdict)
    verdict.done["objects left out"] += int((~sound).sum())
    ids = [entry.get("id") for entry in written]
    if any(type(value) is not int or value <= 0 for value in ids) or len(set(map(str, ids))) < len(ids):
        verdict.done["annotations renumbered"] += len(written)
        written = [{**entry, "id": number} for number, entry in enumerate(written, start=1)]
    return written


def _written(
    entry: dict[str, Any], box: np.ndarray, size: np.ndarray, changed: bool, verdict: Verdict
) -> dict[str, Any]:
    """The entry with its box inside the picture, and an area and a crowd flag that fit."""
    x, y, width, height = (float(value) for value in box)
    if changed:
        right, bottom = min(x + width, float(size[1])), min(y + height, float(size[0]))
        x, y = max(x, 0.0), max(y, 0.0)
        width, height = right - x, bottom - y
        verdict.done["boxes clipped"] += 1
    entry = {**entry, "bbox": [x, y, width, height] if changed else entry["bbox"]}
    area = entry.get("area")
    good = type(area) in (int, float) and 0 < area <= 1.05 * width * height + 2 * (width + height) + 4  # type: ignore[operator]
    if not good:
        entry["area"] = width * height
        verdict.done["areas set"] += 1
    if entry.get("iscrowd", 0) not in (0, 1):
        entry["iscrowd"] = 1 if entry["iscrowd"] else 0
        verdict.done["crowd flags set"] += 1
    return entry


def _without_repeats(entries: list[dict[str, Any]], verdict: Verdict) -> list[dict[str, Any]]:
    """Without the second of two boxes of one place and class."""
    seen, kept = set(), []
    for entry in entries:
        key = (entry["image_id"], entry["category_id"], *(round(float(value), 2) for value in entry["bbox"]))
        if key in seen:
            verdict.done["repeated boxes left out"] += 1
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


def _key(value: Any) -> int:
    return value if type(value) is int else -1
