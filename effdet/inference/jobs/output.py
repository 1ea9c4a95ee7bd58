"""What both jobs share: what they are asked, what they tell, the files at their end, the bar while they work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from effdet.evaluation.results import write_json
from effdet.inference.picture import PictureLike
from effdet.inference.prediction import Prediction
from effdet.inference.writers import Entry, coco_file, result_list, write_csv
from heads.structures import ClassTable, UserError

JOURNAL = "predictions.jsonl"


class StreamPredictor(Protocol):
    """A `Predictor`, or what is called like one."""

    @property
    def batch_size(self) -> int: ...

    def stream(
        self, pictures: Iterable[PictureLike], *, unreadable: Callable[[PictureLike, UserError], None] | None = None
    ) -> Iterator[Prediction]: ...


@dataclass(frozen=True)
class Output:
    """What is written."""

    folder: Path
    score: float = 0.3
    """Boxes below are not written; the predictor may find weaker ones, for a tracker."""
    draw: bool = True
    """Annotated pictures or video."""
    alpha: float = 0.5
    """Cover of a class map in drawings."""
    ids: str = "running"
    """``running``: pictures are numbered from 1; ``name``: a picture's id is the number in its name, as in COCO's sets."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the results depend on; a journal of others is not gone on with."""

    def image_id(self, file: str, number: int) -> int:
        """The id of the `number`-th picture, counted from 1."""
        if self.ids == "running":
            return number
        digits = re.findall(r"\d+", Path(file).stem)
        if not digits:
            raise UserError(f"ids=name: {file}: there is no number in its name; take ids=running")
        return int(digits[-1])

    def write(self, entries: Mapping[int, Entry], table: ClassTable | None) -> None:
        """``predictions.json`` and ``predictions.csv``."""
        running = self.ids == "running"
        write_json(self.folder / "predictions.json", coco_file(entries, table) if running else result_list(entries))
        write_csv(self.folder / "predictions.csv", entries)


@dataclass(frozen=True)
class Summary:
    """What a job did."""

    pictures: int
    """Pictures or frames in the results, those of an earlier run included."""
    boxes: int
    unreadable: tuple[str, ...] = ()
    """One line for each picture that could not be read."""
    resumed: int = 0
    """Pictures taken over from an earlier run."""
    tracks: int | None = None
    """Objects followed; None where nothing tracks."""
    stopped: bool = False
    """Ended by Ctrl-C, with all files whole."""


@contextmanager
def progress(total: int | None, unit: str) -> Iterator[Callable[[], None]]:
    """A bar on stderr with speed and time left, where that is a terminal; gives a function to call after each picture."""
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
