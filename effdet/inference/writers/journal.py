"""One line of JSON for each picture done, written as it is done: what a stopped run goes on from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from effdet.evaluation.results import plain
from effdet.inference.prediction import Prediction
from heads.structures import UserError


@dataclass(frozen=True)
class Entry:
    """What was found in one picture, or in one frame of a video."""

    file: str
    """The picture's path as it was given, or the video's name."""
    height: int
    width: int
    boxes: list[dict[str, Any]]
    """COCO results without `image_id`; with `name`, and `track_id` where tracked."""
    classes: list[dict[str, Any]] | None = None
    """The likeliest classes of the whole picture, with their probabilities."""
    drawing: str | None = None
    """Name of the annotated picture in the output folder."""
    frame: int | None = None
    """Number of the frame in its video, from 0."""
    time: float | None = None
    """Seconds since the video's zero."""

    @classmethod
    def of(cls, prediction: Prediction, file: str, **more: Any) -> Self:
        """The entry of `prediction`; `more` are fields that a prediction does not know."""
        height, width = prediction.size
        rows = zip(prediction.to_coco(None), prediction.names, strict=True)
        boxes = [{**{k: v for k, v in row.items() if k != "image_id"}, "name": name} for row, name in rows]
        classes = prediction.to_dict().get("classes")
        return cls(file, height, width, boxes, classes, **more)


class Journal:
    """An append-only file: the settings in its first line, then one entry a line.

    Args:
        path: of the file.
        settings: what the results depend on; a journal of other settings is not gone on with.
        resume: keep the entries that are there; else the file begins anew.

    Raises:
        UserError: the journal was written with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resume: bool = False) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        """By the picture's path."""
        settings = plain(settings)
        if resume and path.is_file():
            self._read(settings)
        self._settings = settings
        self._write()  # anew: a line that a kill cut in two goes, and the file is whole from here on

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, entry: Entry) -> None:
        """Write `entry`; it is safe from a kill of this process when this returns."""
        self.entries[entry.file] = entry
        self._file.write(_line(asdict(entry)))
        self._file.flush()

    def keep(self, files: Iterable[str]) -> None:
        """Only the entries of `files`, in their order; the file is written anew, and takes more entries after them."""
        self.entries = {file: self.entries[file] for file in files if file in self.entries}
        self._file.close()
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.part")
        lines = map(_line, [{"settings": self._settings}, *map(asdict, self.entries.values())])
        part.write_text("".join(lines), encoding="utf-8")
        os.replace(part, self.path)
        self._file = self.path.open("a", encoding="utf-8")

    def _read(self, settings: Mapping[str, Any]) -> None:
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        values = [value for line in lines if (value := _parsed(line)) is not None]
        if not values:
            return
        before = values[0].get("settings", {})
        if changed := [key for key in {**before, **settings} if before.get(key) != settings.get(key)]:
            told = ", ".join(f"{key} was {before.get(key)}, is {settings.get(key)}" for key in changed)
            raise UserError(f"{self.path}: resume=auto goes on with the same settings only ({told}); take another out=")
        for value in values[1:]:
            entry = Entry(**value)
            self.entries[entry.file] = entry


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False) + "\n"


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
