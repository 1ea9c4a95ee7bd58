"""A progress bar on stderr, where that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(
    label: str, total: int | None, *, unit: str = "", show: bool = True
) -> Iterator[Callable[[int], None]]:
    """Gives a function that takes how many more are done; speed and time left are shown with them.

    Args:
        label: before the bar.
        total: how many there are; None where that is not known.
        unit: of the counts.
        show: false draws nothing.
    """
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
    time = TimeElapsedColumn() if total is None else TimeRemainingColumn()
    texts = (TextColumn(unit), TextColumn("{task.fields[rate]}"))
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), *texts, time)
    with Progress(*columns, console=console, transient=True, disable=not (show and console.is_terminal)) as bar:
        task = bar.add_task("", total=total, rate="")

        def advance(count: int) -> None:
            bar.advance(task, count)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:.1f}/s" if speed else "")

        yield advance
