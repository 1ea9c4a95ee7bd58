"""The one pass over all images, in parallel processes."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from effdet.data.checks import DataError
from effdet.data.records import Dataset
from effdet.doctor.coverage import CoverageSettings, Matched, match_boxes
from effdet.doctor.facts import Facts, facts_of_pixels, look
from effdet.doctor.reading import Split
from effdet.progress import progress_bar

CHUNK = 16
"""Images of a task: enough that handing it over costs nothing, few enough for a smooth bar."""
_NO_MATCH = Matched.none()


@dataclass(frozen=True, eq=False)
class Seen:
    """What the pass found of one split: for each of its images, in order."""

    facts: list[Facts]
    matched: list[Matched]


@dataclass(frozen=True, eq=False)
class _Work:
    sources: Sequence[Dataset]
    coverage: CoverageSettings | None
    covered: int
    """Which of the sources has its boxes matched."""


_work: _Work | None = None
"""Of a worker process."""


def scan_images(
    splits: Sequence[Split], *, workers: int, coverage: CoverageSettings | None, covered: int, progress: bool
) -> list[Seen]:
    """Looks at every image of every split.

    Args:
        splits: what to look at.
        workers: processes; 0 looks in this one.
        coverage: how boxes are matched with anchors; None leaves that out.
        covered: position of the split whose boxes are matched.
        progress: draw a bar on a terminal.
    """
    work = _Work([split.source for split in splits], coverage, covered)
    tasks = [
        (position, start, min(start + CHUNK, len(split.source)))
        for position, split in enumerate(splits)
        for start in range(0, len(split.source), CHUNK)
    ]
    results: dict[tuple[int, int], list[tuple[Facts, Matched]]] = {}
    total = sum(len(split.source) for split in splits)
    with progress_bar("images", total, show=progress) as advance:
        for (position, start, stop), result in _run(work, tasks, workers):
            results[position, start] = result
            advance(stop - start)
    seen = []
    for position, split in enumerate(splits):
        rows = [row for start in range(0, len(split.source), CHUNK) for row in results[position, start]]
        seen.append(Seen([facts for facts, _ in rows], [matched for _, matched in rows]))
    return seen


Task = tuple[int, int, int]
"""Split, first image, image after the last."""


def _run(work: _Work, tasks: list[Task], workers: int) -> Iterator[tuple[Task, list[tuple[Facts, Matched]]]]:
    pending = dict.fromkeys(tasks)
    if workers > 0 and len(tasks) > 1:
        try:
            with _pool(work, min(workers, len(tasks))) as pool:
                futures = {pool.submit(_look, task): task for task in tasks}
                for future in as_completed(futures):
                    result = future.result()
                    del pending[futures[future]]
                    yield futures[future], result
            return
        except BrokenProcessPool:
            pass  # an image that kills its reader: one by one from here, each in a process of its own
        for split, start, stop in pending:
            yield (split, start, stop), [_alone(work, (split, place, place + 1)) for place in range(start, stop)]
        return
    _begin(work)
    for task in tasks:
        yield task, _look(task)


def _alone(work: _Work, task: Task) -> tuple[Facts, Matched]:
    try:
        with _pool(work, 1) as pool:
            return pool.submit(_look, task).result()[0]
    except BrokenProcessPool:
        return Facts("corrupt-image", "kills the process that decodes it"), _NO_MATCH


def _pool(work: _Work, workers: int) -> ProcessPoolExecutor:
    # Forked processes share the tables; elsewhere they are sent once.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin" else "spawn"
    context = multiprocessing.get_context(method)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(work,))


def _begin(work: _Work) -> None:
    global _work
    _work = work
    if multiprocessing.parent_process() is not None:
        import torch

        torch.set_num_threads(1)  # the processes are the parallel part


def _look(task: Task) -> list[tuple[Facts, Matched]]:
    assert _work is not None
    position, start, stop = task
    source = _work.sources[position]
    reads_files = type(source).read_image is Dataset.read_image
    rows = []
    for place in range(start, stop):
        record = source.records[place]
        try:
            is_file = reads_files or record.image.is_file()  # images inside an archive or an array are not
            facts = look(record.image) if is_file else facts_of_pixels(source.read_image(record))
        except DataError as error:
            facts = Facts("corrupt-image", str(error))
        matched = _NO_MATCH
        if _work.coverage is not None and position == _work.covered:
            boxes = record.boxes[~record.crowd]
            matched = match_boxes(boxes, record.size, _work.coverage)
        rows.append((facts, matched))
    return rows
