"""What both jobs share: what they are asked, what they tell, the files at their end, the bar while they work."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from effdet.inference.image import ImageLike
from effdet.inference.prediction import Prediction
from effdet.inference.writers import Journal, read_entries, write_coco, write_csv, write_results
from heads.structures import ClassTable, UserError

JOURNAL = "predictions.jsonl"
TABLES = ("predictions.json", "predictions.csv")


class StreamPredictor(Protocol):
    """A `Predictor`, or what is called like one."""

    @property
    def batch_size(self) -> int: ...

    def stream(
        self, images: Iterable[ImageLike], *, unreadable: Callable[[ImageLike, UserError], None] | None = None
    ) -> Iterator[Prediction]: ...


@dataclass(frozen=True)
class Output:
    """What is written."""

    directory: Path
    score_threshold: float = 0.3
    """Boxes below are not written; the predictor may find weaker ones, for a tracker."""
    draw: bool = True
    """Annotated images or video."""
    alpha: float = 0.5
    """Cover of a segmentation map in drawings."""
    ids: str = "running"
    """``running``: images are numbered from 1; ``name``: an image's id is the number in its name, as in COCO's sets."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the results depend on; a folder with results of others is refused."""
    overwrite: bool = False
    """Replace whatever results are in the folder."""

    def image_id(self, file: str, number: int, offset: int = 0) -> int:
        """The id of the `number`-th image, counted from 1, behind `offset` of other runs."""
        if self.ids == "running":
            return offset + number
        digits = re.findall(r"\d+", Path(file).stem)
        if not digits:
            raise UserError(f"ids=name: {file}: there is no number in its name; take ids=running")
        return int(digits[-1])

    def journal(self, files: Collection[str], *, resume: bool = False) -> Journal:
        """The folder's journal, open for the results of `files`; those of other files stay.

        Raises:
            UserError: the folder holds results of other settings, or tables that are not of this command.
        """
        if not self.overwrite and not (self.directory / JOURNAL).is_file():
            if foreign := next((name for name in TABLES if (self.directory / name).exists()), None):
                raise UserError(
                    f"out={self.directory}: {foreign} is there and not of predict; take another out=, or overwrite=true"
                )
        with self.writing():
            self.directory.mkdir(parents=True, exist_ok=True)
            return Journal(
                self.directory / JOURNAL,
                self.settings,
                files=files,
                resume=resume,
                overwrite=self.overwrite and not resume,
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Makes one line of a full disk, or of a folder that cannot be written to."""
        try:
            yield
        except OSError as error:
            raise UserError(f"out={self.directory}: cannot be written ({error.strerror or error})") from None

    def write(self, journal: Journal, table: ClassTable | None) -> None:
        """``predictions.json`` and ``predictions.csv``, of all entries of the journal."""
        entries = partial(read_entries, journal.path)
        with self.writing():
            try:
                if self.ids == "running":
                    write_coco(self.directory / TABLES[0], entries, table)
                else:
                    write_results(self.directory / TABLES[0], entries)
            finally:  # what goes wrong with one is no reason to leave out the other
                write_csv(self.directory / TABLES[1], entries, video=journal.has_frames)


@dataclass(frozen=True)
class Summary:
    """What a job did."""

    images: int
    """Images or frames in the results, those of an earlier run included."""
    boxes: int
    unreadable: tuple[str, ...] = ()
    """One line for each image that could not be read."""
    resumed: int = 0
    """Images taken over from an earlier run."""
    tracks: int | None = None
    """Objects followed; None where nothing tracks."""
    lost: int = 0
    """Frames that could not be decoded."""
    flawed: int = 0
    """Frames that were decoded with errors."""
    gaps: int = 0
    """Places in videos of a constant rate where frames are missing."""
    stopped_by: int | None = None
    """Number of the signal that ended it, with all files whole: Ctrl-C's or SIGTERM's."""
    faults: tuple[str, ...] = ()
    """One line for each video whose rest is missing."""

    @property
    def stopped(self) -> bool:
        """Whether a signal ended it."""
        return self.stopped_by is not None

    def joined(self, other: Summary) -> Summary:
        """Of two jobs."""
        tracks = [each.tracks for each in (self, other) if each.tracks is not None]
        return Summary(
            self.images + other.images,
            self.boxes + other.boxes,
            self.unreadable + other.unreadable,
            resumed=self.resumed + other.resumed,
            tracks=sum(tracks) if tracks else None,
            lost=self.lost + other.lost,
            flawed=self.flawed + other.flawed,
            gaps=self.gaps + other.gaps,
            stopped_by=self.stopped_by if other.stopped_by is None else other.stopped_by,
            faults=self.faults + other.faults,
        )


def distinct_from_others(names: Sequence[str], files: Sequence[str], directory: Path, journal: Journal) -> list[str]:
    """`names` for what is written of `files`, none of which is a file of the user's or belongs to other results.

    What an earlier run wrote of a file keeps its name; else ``_2``, ``_3``, … stands behind the stem where need be.
    """
    asked = {name.casefold() for name in names}
    found = []
    for name, file in zip(names, files, strict=True):
        stem, suffix = os.path.splitext(name)
        before = [other for other in journal.names.get(file, ()) if other.endswith(suffix)]
        number, other = 1, name
        while not before and (
            not _is_free(other, file, directory, journal) or (number > 1 and other.casefold() in asked)
        ):
            number += 1
            other = f"{stem}_{number}{suffix}"
        other = before[-1] if before else other
        asked.add(other.casefold())
        found.append(other)
    return found


def distinct_stem(stem: str, suffixes: Sequence[str], file: str, directory: Path, journal: Journal) -> str:
    """As `distinct_from_others`: the stem of several files, each of which has one of `suffixes`."""
    number, other = 1, stem
    while not all(_is_free(other + suffix, file, directory, journal) for suffix in suffixes):
        number += 1
        other = f"{stem}_{number}"
    return other


def _is_free(name: str, file: str, directory: Path, journal: Journal) -> bool:
    low = name.casefold()
    if (owner := journal.owners.get(low)) is not None:
        return owner == file
    return low in journal.replaceable or not os.path.lexists(directory / name)


@contextmanager
def progress(total: int | None, unit: str) -> Iterator[Callable[[], None]]:
    """A bar on stderr with speed and time left, where that is a terminal; gives a function to call after each image."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("predicting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn() if total is None else TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total, rate="")

        def advance() -> None:
            bar.advance(task)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:.1f}/s" if speed else "")

        yield advance
