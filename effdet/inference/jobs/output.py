"""What jobs share: what is asked and returned, what is shown of a prediction, the files at the end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from effdet.inference.image import ImageLike
from effdet.inference.jobs.stopping import always, stop_signals
from effdet.inference.prediction import Prediction
from effdet.inference.tracking import Tracker, Trails
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
class Job:
    """What is done, and what is written of it."""

    directory: Path
    """Where to."""
    classes: ClassTable | None = None
    """Of the boxes; None where no head finds any."""
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
    resume: bool = False
    """Images that the journal in the folder has, with their drawings, and videos that were finished are not predicted again;
    a video that an earlier run was stopped in begins anew."""
    skip_unreadable: bool = True
    """Go on past what cannot be read, and name it in the summary."""
    max_images: int | None = None
    """Only the first frames of each video."""

    def image_id(self, file: str, number: int, offset: int = 0) -> int:
        """The id of the `number`-th image, counted from 1, behind `offset` of other runs."""
        if self.ids == "running":
            return offset + number
        digits = re.findall(r"\d+", Path(file).stem)
        if not digits:
            raise UserError(f"ids=name: {file}: there is no number in its name; take ids=running")
        return int(digits[-1])

    @contextmanager
    def running(self, files: Collection[str]) -> Iterator[Journal]:
        """The journal of `files`; whatever ends the block (a signal, an error, a full disk), the tables are written."""
        with stop_signals(), self.journal(files) as journal, always(lambda: self.write(journal)):
            yield journal

    def journal(self, files: Collection[str]) -> Journal:
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
            overwrite = self.overwrite and not self.resume
            path = self.directory / JOURNAL
            return Journal(path, self.settings, files=files, resume=self.resume, overwrite=overwrite)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Makes one line of a full disk, or of a folder that cannot be written to."""
        try:
            yield
        except OSError as error:
            raise UserError(f"out={self.directory}: cannot be written ({error.strerror or error})") from None

    def write(self, journal: Journal) -> None:
        """``predictions.json`` and ``predictions.csv``, of all entries of the journal."""
        entries = partial(read_entries, journal.path)
        with self.writing():
            try:
                if self.ids == "running":
                    write_coco(self.directory / TABLES[0], entries, self.classes)
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
        added = ("images", "boxes", "unreadable", "resumed", "lost", "flawed", "gaps", "faults")
        return Summary(
            **{name: getattr(self, name) + getattr(other, name) for name in added},
            tracks=sum(tracks) if tracks else None,
            stopped_by=self.stopped_by if other.stopped_by is None else other.stopped_by,
        )


class Shown:
    """What of a prediction is written and drawn: the boxes of at least the job's score; or with a tracker those of its
    objects, with a trail behind each."""

    def __init__(self, job: Job, tracker: Tracker | None) -> None:
        self._job, self._tracker, self._trails = job, tracker, Trails()

    def of(self, prediction: Prediction, *, scale: np.ndarray | float = 1.0, time: float | None = None) -> Prediction:
        """Predictions come in the order of their frames.

        Args:
            scale: of the tracker's coordinates by the prediction's.
            time: of the frame, in seconds.
        """
        if self._tracker is None:
            return prediction.above(self._job.score_threshold)
        boxes = prediction.boxes * scale
        return prediction.tracked(self._tracker.update(boxes, prediction.scores, prediction.labels, time=time))

    def drawn(self, shown: Prediction, *, time: float | None = None, legend: bool = False) -> Image.Image:
        if self._tracker is None:
            return shown.draw(score_threshold=0, alpha=self._job.alpha, legend=legend)
        return self._trails.draw(shown, alpha=self._job.alpha, time=time)


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
