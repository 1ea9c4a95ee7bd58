"""Entries as the files that others read: COCO, CSV, MOTChallenge."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from effdet.inference.writers.journal import Entry
from heads.structures import ClassTable

_COLUMNS = ("image_id", "file", "category_id", "name", "score", "x1", "y1", "x2", "y2")
_VIDEO_COLUMNS = ("frame", "time", "track")


def coco_file(entries: Mapping[int, Entry], table: ClassTable | None) -> dict[str, Any]:
    """``images``, ``annotations`` in result form, ``categories``.

    Args:
        entries: by image id.
        table: the detector's classes; None where the model detects nothing.
    """
    images = [{"id": image_id, **_image(entry)} for image_id, entry in entries.items()]
    return {"images": images, "annotations": result_list(entries), "categories": _categories(table)}


def result_list(entries: Mapping[int, Entry]) -> list[dict[str, Any]]:
    """COCO results, as pycocotools' ``loadRes`` takes them."""
    return [
        {"image_id": image_id, **{key: value for key, value in box.items() if key != "name"}}
        for image_id, entry in entries.items()
        for box in entry.boxes
    ]


def write_csv(path: Path, entries: Mapping[int, Entry]) -> None:
    """One row a box: corners in pixels of the picture; frame, time and track where it is a video's."""
    video = any(entry.frame is not None for entry in entries.values())
    rows = (_row(image_id, entry, box, video) for image_id, entry in entries.items() for box in entry.boxes)
    header = (*_COLUMNS, *_VIDEO_COLUMNS) if video else _COLUMNS
    _replace(path, [header, *rows])


def write_mot(path: Path, entries: Iterable[Entry]) -> None:
    """MOTChallenge's result form: frame, id, left, top, width, height, confidence, -1, -1, -1; all counts from 1."""
    rows = []
    for number, entry in enumerate(entries, start=1):
        for box in entry.boxes:
            left, top, width, height = box["bbox"]
            place = (f"{left + 1:.2f}", f"{top + 1:.2f}", f"{width:.2f}", f"{height:.2f}")
            rows.append((number, box["track_id"], *place, f"{box['score']:.4f}", -1, -1, -1))
    _replace(path, rows)


def _image(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"file_name": entry.file, "height": entry.height, "width": entry.width}
    more = {"frame": entry.frame, "time": entry.time, "classes": entry.classes, "drawing": entry.drawing}
    return found | {key: value for key, value in more.items() if value is not None}


def _row(image_id: int, entry: Entry, box: Mapping[str, Any], video: bool) -> tuple[Any, ...]:
    x, y, width, height = box["bbox"]
    corners = (f"{value:.2f}" for value in (x, y, x + width, y + height))
    row = (image_id, entry.file, box["category_id"], box["name"], f"{box['score']:.4f}", *corners)
    time = "" if entry.time is None else f"{entry.time:.3f}"
    return (*row, entry.frame, time, box.get("track_id", "")) if video else row


def _categories(table: ClassTable | None) -> list[dict[str, Any]]:
    if table is None:
        return []
    rows = enumerate(zip(table.ids, table.names, strict=True))
    return [{"id": index if own is None else own, "name": name} for index, (own, name) in rows if name is not None]


def _replace(path: Path, rows: Iterable[Iterable[Any]]) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    os.replace(part, path)
