"""One line of JSON for each image or frame done, written as it is done: what a stopped run goes on from.

A folder of results may be filled by several runs of the same settings: each replaces what is there of its own files and
keeps the rest. Frames of videos are never held in memory, since a stream may run for weeks.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self, TextIO, cast

from effdet.evaluation.results import plain
from effdet.files import replacing
from effdet.inference.prediction import Prediction
from heads.structures import UserError


@dataclass(frozen=True)
class Entry:
    """What was found in one image, or in one frame of a video."""

    file: str
    """The image's path as it was given, or the video's name."""
    height: int
    width: int
    boxes: list[dict[str, Any]]
    """COCO results without `image_id`; with `name`, and `track_id` where tracked."""
    classes: list[dict[str, Any]] | None = None
    """The likeliest classes of the whole image, with their probabilities."""
    drawing: str | None = None
    """Name of the annotated image in the output folder."""
    frame: int | None = None
    """Number of the frame in its video, from 0."""
    time: float | None = None
    """Seconds since the video's zero."""
    image_id: int | None = None
    """In the tables; None where nobody gave one."""
    mask: str | None = None
    """Name of the segmentation map in the output folder."""
    other: dict[str, Any] | None = None
    """What heads of the user's own say, as their kits' ``to_dict`` gives it."""

    @classmethod
    def of(cls, prediction: Prediction, file: str, **more: Any) -> Self:
        """The entry of `prediction`; `more` are fields that a prediction does not know."""
        height, width = prediction.size
        rows = zip(prediction.to_coco(None), prediction.names, strict=True)
        boxes = [{**{k: v for k, v in row.items() if k != "image_id"}, "name": name} for row, name in rows]
        other: dict[str, Any] = {}
        for kit in prediction.all_kits().values():
            other |= {} if kit.gives else kit.to_dict(prediction)
        classes = prediction.to_dict().get("classes")
        return cls(file, height, width, boxes, classes, other=other or None, **more)


@dataclass(frozen=True)
class VideoRecord:
    """Where a video stands: written when it begins and when it ends."""

    video: str
    """The video's name, as in its entries."""
    files: tuple[str, ...]
    """What is written only of it, by name in the output folder: drawing, tracks."""
    done: bool = False
    """Whether it was predicted to its end."""
    frames: int = 0
    boxes: int = 0
    tracks: int | None = None
    """Objects followed; None where nothing tracks."""


class Journal:
    """An append-only file: the settings in its first line, then one entry a line.

    Args:
        path: of the file.
        settings: what the results depend on; a journal of other settings is not gone on with.
        files: those of this run. What an earlier run wrote of them is dropped, of others it stays.
        resume: keep what there is of `files` too: images, and videos that were finished.
        overwrite: begin anew, whatever there is.

    Raises:
        UserError: the journal was written with other settings, or is not a journal.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        *,
        files: Collection[str] = (),
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        """Images of this run, by path."""
        self.done: dict[str, VideoRecord] = {}
        """Videos of this run that are done."""
        self.owners: dict[str, str] = {}
        """Files in the output folder, folded, since some file systems take ``A.jpg`` for ``a.jpg``: whose results they are."""
        self.names: dict[str, list[str]] = {}
        """For each file of results, what is written only of it, by name in the output folder."""
        self.replaceable: set[str] = set()
        """Files in the output folder, folded, of results that are overwritten."""
        self.has_frames = False
        """Whether there is a frame of a video among the entries."""
        self.highest = 0
        """The largest image id."""
        self._settings = plain(settings)
        self._files = set(files)
        known = self._known(resume, overwrite)
        if known and resume:
            self._find_done()
        # Anew: a line that a kill cut in two goes, and the file is whole from here on.
        self._write(self._kept(resume) if known else ())

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, entry: Entry) -> Entry:
        """Write `entry`, numbered if it is not; it is safe from a kill of this process when this returns."""
        entry = self._counted(entry)
        if entry.frame is None:
            self.entries[entry.file] = entry
        self._own(asdict(entry))
        self._line(asdict(entry))
        return entry

    def record(self, video: VideoRecord) -> None:
        """Write where `video` stands."""
        self._own(asdict(video))
        self._line(asdict(video))

    def keep(self, files: Iterable[str]) -> None:
        """Of this run's images only those of `files`, in their order; the file is written anew, and takes more after them."""
        self.entries = {file: self.entries[file] for file in files if file in self.entries}
        self._file.close()
        others = (value for value in _values(self.path) if value.get("frame") is not None or not self._is_own(value))
        self._write(others)

    def offset(self, files: Iterable[str]) -> int:
        """What the ids of `files`, numbered from 1, begin after: the ids of other runs, or where a stopped run began."""
        for number, file in enumerate(files, start=1):
            if (entry := self.entries.get(file)) is not None and entry.image_id is not None:
                return entry.image_id - number
        return self.highest

    def _own(self, value: Mapping[str, Any]) -> None:
        file = str(value.get("file", value.get("video")))
        for name in _names(value):
            if self.owners.get(name.casefold()) != file:
                self.owners[name.casefold()] = file
                self.names.setdefault(file, []).append(name)

    def _line(self, value: Mapping[str, Any]) -> None:
        self._file.write(_line(value))
        self._file.flush()

    def _counted(self, entry: Entry) -> Entry:
        if entry.image_id is None:
            entry = replace(entry, image_id=self.highest + 1)
        self.highest = max(self.highest, entry.image_id or 0)
        self.has_frames |= entry.frame is not None
        return entry

    def _is_own(self, value: Mapping[str, Any]) -> bool:
        return value.get("file", value.get("video")) in self._files

    def _kept(self, resume: bool) -> Iterator[dict[str, Any]]:
        """The lines of the old file that stay; images of this run are taken up instead."""
        for value in _values(self.path):
            own = self._is_own(value)
            self._own(value)
            if "video" in value:
                if not own or value["video"] in self.done:
                    yield value
                continue
            entry = Entry(**value)
            if not own or entry.file in self.done:
                yield asdict(self._counted(entry))
            elif resume and entry.frame is None:
                self.entries[entry.file] = self._counted(entry)

    def _find_done(self) -> None:
        for value in _values(self.path):
            if value.get("done") and value["video"] in self._files:
                self.done[value["video"]] = VideoRecord(**{**value, "files": tuple(value["files"])})

    def _known(self, resume: bool, overwrite: bool) -> bool:
        """Whether there is a journal to keep entries of."""
        if not self.path.is_file():
            return False
        with self.path.open(encoding="utf-8", errors="replace") as file:
            first = _parsed(file.readline())
        if overwrite:
            self.replaceable.update(name.casefold() for value in _values(self.path) for name in _names(value))
            return False
        if first is None or not isinstance(before := first.get("settings"), dict):
            if self.path.stat().st_size == 0:
                return False
            raise UserError(f"{self.path}: not written by predict; take another out=, or overwrite=true to replace it")
        now = self._settings
        if changed := [key for key in {**before, **now} if before.get(key) != now.get(key)]:
            reported = ", ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in changed)
            if resume:
                raise UserError(
                    f"{self.path}: resume=auto goes on with the same settings only ({reported}); take another out="
                )
            raise UserError(
                f"{self.path}: holds another run's results ({reported}); take another out=, or overwrite=true to replace them"
            )
        return True

    def _write(self, others: Iterable[Mapping[str, Any]]) -> None:
        """The file anew, open for more; `others` are read from the old one, and may fill `entries`."""
        with replacing(self.path) as partial, _opened(partial, "w") as file:
            file.write(_line({"settings": self._settings}))
            file.writelines(map(_line, others))
            file.writelines(_line(asdict(entry)) for entry in self.entries.values())
        self._file = _opened(self.path, "a")


def read_entries(path: Path) -> Iterator[Entry]:
    """The entries of a journal, one at a time."""
    return (Entry(**value) for value in _values(path) if "file" in value)


def _values(path: Path) -> Iterator[dict[str, Any]]:
    """What stands behind the first line; a line that was cut in two is left out."""
    with path.open(encoding="utf-8", errors="replace") as file:
        file.readline()
        yield from (value for line in file if (value := _parsed(line)) is not None)


def _opened(path: Path, mode: str) -> TextIO:
    """For text whose names may hold bytes that are not UTF-8: JSON's escapes read back as the same name."""
    return cast(TextIO, path.open(mode, encoding="utf-8", errors="backslashreplace"))


def _names(value: Mapping[str, Any]) -> list[str]:
    """Files in the output folder that a line stands for."""
    return [name for name in (*value.get("files", ()), value.get("drawing"), value.get("mask")) if name]


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False) + "\n"


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
