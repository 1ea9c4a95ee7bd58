"""Entries as the files that others read: COCO, CSV, MOTChallenge.

All are written an entry at a time from the journal, and appear under their names when they are whole.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from effdet.evaluation.results import plain
from effdet.files import replacing, shown
from effdet.inference.writers.journal import Entry
from heads.structures import ClassTable

_COLUMNS = ("image_id", "file", "category_id", "name", "score", "x1", "y1", "x2", "y2")
_VIDEO_COLUMNS = ("frame", "time", "track")
Entries = Callable[[], Iterable[Entry]]
"""Gives the entries from the first one on, each time it is called."""


def write_coco(path: Path, entries: Entries, table: ClassTable | None) -> None:
    """``images``, ``annotations`` in result form, ``categories``.

    Args:
        path: of the file.
        entries: numbered ones.
        table: the detector's classes; None where the model detects nothing.
    """
    with replacing(path) as partial, partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write('{"images": ')
        _write_list(file, map(_image, entries()))
        file.write(', "annotations": ')
        _write_list(file, _results(entries))
        file.write(f', "categories": {json.dumps(_categories(table), ensure_ascii=False)}}}\n')


def write_results(path: Path, entries: Entries) -> None:
    """COCO results as a bare list, as pycocotools' ``loadRes`` takes them."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
        _write_list(file, _results(entries))
        file.write("\n")


def write_csv(path: Path, entries: Entries, *, video: bool) -> None:
    """One row a box: corners in pixels of the image; frame, time and track too where `video`."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*_COLUMNS, *_VIDEO_COLUMNS) if video else _COLUMNS)
        writer.writerows(_row(entry, box, video) for entry in entries() for box in entry.boxes)


class MotWriter:
    """MOTChallenge's result form: frame, id, left, top, width, height, confidence, -1, -1, -1; all counts from 1.

    What was added is kept when it is closed, whatever ended the work.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        self._file: TextIO = self._stack.enter_context(
            self._stack.enter_context(replacing(path)).open("w", encoding="utf-8", newline="")
        )
        self._writer = csv.writer(self._file, lineterminator="\n")

    def close(self) -> None:
        """Complete the file and give it its name."""
        self._stack.close()

    def add(self, number: int, entry: Entry) -> None:
        """The boxes of the frame `number`, counted from 1."""
        for box in entry.boxes:
            left, top, width, height = box["bbox"]
            place = (f"{left + 1:.2f}", f"{top + 1:.2f}", f"{width:.2f}", f"{height:.2f}")
            self._writer.writerow((number, box["track_id"], *place, f"{box['score']:.4f}", -1, -1, -1))


def _write_list(file: TextIO, values: Iterable[Any]) -> None:
    """A JSON list, as ``json.dump`` writes it, of values that need not be in memory together."""
    file.write("[")
    for number, value in enumerate(values):
        file.write(f"{', ' if number else ''}{json.dumps(plain(value), ensure_ascii=False, allow_nan=False)}")
    file.write("]")


def _results(entries: Entries) -> Iterator[dict[str, Any]]:
    for entry in entries():
        for box in entry.boxes:
            yield {"image_id": entry.image_id, **{key: value for key, value in box.items() if key != "name"}}


def _image(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": entry.image_id, "file_name": entry.file, "height": entry.height, "width": entry.width
    }  # fmt: skip
    more = {"frame": entry.frame, "time": entry.time, "classes": entry.classes, "drawing": entry.drawing}
    return found | {key: value for key, value in more.items() if value is not None}


def _row(entry: Entry, box: Mapping[str, Any], video: bool) -> tuple[Any, ...]:
    x, y, width, height = box["bbox"]
    corners = (f"{value:.2f}" for value in (x, y, x + width, y + height))
    row = (entry.image_id, shown(entry.file), box["category_id"], box["name"], f"{box['score']:.4f}", *corners)
    if not video:
        return row
    frame = "" if entry.frame is None else entry.frame
    return (*row, frame, "" if entry.time is None else f"{entry.time:.3f}", box.get("track_id", ""))


def _categories(table: ClassTable | None) -> list[dict[str, Any]]:
    if table is None:
        return []
    rows = enumerate(zip(table.ids, table.names, strict=True))
    return [{"id": index if own is None else own, "name": name} for index, (own, name) in rows if name is not None]
