"""A video to an annotated video and results."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

import numpy as np

from effdet.inference.jobs.output import JOURNAL, Output, StreamPredictor, Summary, progress
from effdet.inference.sources import Frame, VideoSource
from effdet.inference.tracking import Tracker, Trails
from effdet.inference.writers import Entry, Journal, VideoWriter, write_mot
from heads.structures import ClassTable


def predict_video(
    predict: StreamPredictor,
    source: VideoSource,
    output: Output,
    *,
    classes: ClassTable | None,
    tracker: Tracker | None = None,
    limit: int | None = None,
) -> Summary:
    """Predict every frame; the annotated video has the frames and times of the source.

    Ctrl-C ends the job in order: the video and the tables hold what was done until then.

    Args:
        predict: finds boxes from a score of `output.score` or below.
        source: an open video, camera or stream.
        output: where to, and what.
        classes: of the detection head; None where there is none.
        tracker: numbers the objects; their trails are drawn.
        limit: only the first so many frames.
    """
    output.folder.mkdir(parents=True, exist_ok=True)
    name, trails = source.name, Trails(length=max(2, round(source.rate)))
    entries: list[Entry] = []
    known = source.frames
    total = limit if known is None else min(known, limit or known)
    stopped = False
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(output.folder / JOURNAL, output.settings))
        writer = stack.enter_context(VideoWriter(output.folder / f"{name}.mp4", source.rate)) if output.draw else None
        advance = stack.enter_context(progress(total, "frames"))
        try:
            waiting: deque[Frame] = deque()
            for prediction in predict.stream(_images(islice(source, limit), waiting)):
                frame = waiting.popleft()
                if tracker is None:
                    shown = prediction.above(output.score)
                else:
                    shown = prediction.tracked(tracker.update(prediction.boxes, prediction.scores, prediction.labels))
                time = None if frame.time is None else float(frame.time)
                entry = Entry.of(shown, source.shown, frame=frame.index, time=time)
                journal.add(entry)
                entries.append(entry)
                if writer is not None:
                    drawn = shown.draw(score=0, alpha=output.alpha) if tracker is None else trails.draw(shown)
                    writer.write(np.asarray(drawn), frame.time)
                advance()
        except KeyboardInterrupt:
            stopped = True
    output.write(dict(enumerate(entries, start=1)), classes)
    tracks = None
    if tracker is not None:
        write_mot(output.folder / f"{name}.txt", entries)
        tracks = len({box["track_id"] for entry in entries for box in entry.boxes})
    return Summary(len(entries), sum(len(entry.boxes) for entry in entries), tracks=tracks, stopped=stopped)


def _images(frames: Iterator[Frame], waiting: deque[Frame]) -> Iterator[np.ndarray]:
    """The pixels of `frames`, which wait in `waiting` for their predictions."""
    for frame in frames:
        waiting.append(frame)
        yield frame.image
