"""A video to an annotated video and results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from effdet.files import refuse_overwriting
from effdet.inference.jobs.output import Output, StreamPredictor, Summary, distinct_stem, progress
from effdet.inference.jobs.stopping import Terminated, always, in_one_go, stop_signals
from effdet.inference.sources import Frame, VideoError, VideoSource
from effdet.inference.sources.inputs import video_name
from effdet.inference.tracking import Tracker, Trails
from effdet.inference.writers import Entry, Journal, MotWriter, VideoRecord, VideoWriter
from heads.structures import ClassTable, UserError


def predict_video(
    predict: StreamPredictor,
    source: VideoSource,
    output: Output,
    *,
    classes: ClassTable | None,
    tracker: Tracker | None = None,
    max_images: int | None = None,
    skip_unreadable: bool = True,
    resume: bool = False,
) -> Summary:
    """Predict every frame of an open source; the annotated video has the frames and times of the source.

    Whatever ends the job (Ctrl-C, SIGTERM, a fault of the source, a full disk), video and tables hold what was done until
    then.

    Args:
        predict: finds boxes from a score of `output.score_threshold` or below.
        source: an open video, camera or stream.
        output: where to, and what.
        classes: of the detection head; None where there is none.
        tracker: numbers the objects; their trails are drawn.
        limit: only the first so many frames.
        skip_unreadable: go on past a frame that cannot be decoded, and name it in the summary.
        resume: a video that an earlier run finished is not predicted again.
    """
    refuse_drawings(output, [source])
    with (
        stop_signals(),
        output.journal([source.shown], resume=resume) as journal,
        always(lambda: output.write(journal, classes)),
    ):
        return predict_into(
            journal, predict, source, output, tracker=tracker, max_images=max_images, skip_unreadable=skip_unreadable
        )


def predict_videos(
    predict: StreamPredictor,
    videos: Sequence[Path],
    output: Output,
    *,
    classes: ClassTable | None,
    tracker: Callable[[VideoSource], Tracker | None] = lambda source: None,
    every: int = 1,
    max_images: int | None = None,
    skip_unreadable: bool = True,
    resume: bool = False,
) -> Summary:
    """Predict several videos into the same tables, each with a drawing of its own.

    Args:
        predict: as in `predict_video`.
        videos: files, in order.
        output: where to, and what.
        classes: of the detection head; None where there is none.
        tracker: makes the tracker of a video.
        every: only every n-th frame of each.
        limit: only the first so many frames of each.
        skip_unreadable: go on past a video or a frame that cannot be read, and name it in the summary.
        resume: videos that an earlier run finished are not predicted again; one that it was stopped in begins anew.

    Raises:
        UserError: none can be read.
    """
    refuse_drawings(output, videos)
    summary, unreadable = Summary(0, 0), []
    with (
        stop_signals(),
        output.journal([str(video) for video in videos], resume=resume) as journal,
        always(lambda: output.write(journal, classes)),
    ):
        for video in videos:
            if (before := journal.done.get(str(video))) is not None:
                summary = summary.joined(_as_before(before))
                continue
            try:
                with VideoSource(str(video), every=every) as source:
                    part = predict_into(
                        journal,
                        predict,
                        source,
                        output,
                        tracker=tracker(source),
                        max_images=max_images,
                        skip_unreadable=skip_unreadable,
                    )
            except VideoError as error:
                if not skip_unreadable:
                    raise
                unreadable.append(str(error))
                continue
            summary = summary.joined(part)
            if part.stopped:
                break
        if len(unreadable) == len(videos):
            raise UserError(f"none of the {len(videos)} videos can be read; the first: {unreadable[0]}")
    return summary.joined(Summary(0, 0, tuple(unreadable)))


def refuse_drawings(output: Output, sources: Iterable[VideoSource | Path]) -> None:
    """Refuses an output folder in which the drawing of a video would have the name of one of the sources.

    Raises:
        UserError: it would.
    """
    videos = [source for source in sources if isinstance(source, Path) or not source.live]
    files = [source if isinstance(source, Path) else Path(source.source) for source in videos]
    names = [f"{video_name(str(file))}.mp4" for file in files]
    refuse_overwriting(
        [output.directory / name for name in names] if output.draw else [], files, key=f"out={output.directory}"
    )


def predict_into(
    journal: Journal,
    predict: StreamPredictor,
    source: VideoSource,
    output: Output,
    *,
    tracker: Tracker | None = None,
    max_images: int | None = None,
    skip_unreadable: bool = True,
) -> Summary:
    """As `predict_video`, into an open journal; the tables are written by the caller."""
    if (before := journal.done.get(source.shown)) is not None:
        return _as_before(before)
    with output.writing():
        job = _VideoJob(journal, source, output, tracker)
    frames = _Frames(source, max_images, skip_unreadable)
    stopped_by = None
    total = source.frames if max_images is None else min(max_images, source.frames or max_images)
    try:
        with always(job.close), progress(total, "frames") as advance:
            for prediction in predict.stream(frames.images()):
                with in_one_go(), output.writing():
                    job.add(prediction, frames.waiting.popleft())
                advance()
    except KeyboardInterrupt as stop:
        stopped_by = 15 if isinstance(stop, Terminated) else 2
    fault = frames.fault
    if fault is not None and job.frames == 0:
        raise fault
    job.finish(done=fault is None and stopped_by is None)
    return Summary(
        job.frames,
        job.boxes,
        tuple(source.damaged),
        lost=source.lost,
        flawed=source.flawed,
        gaps=source.gaps,
        tracks=None if tracker is None else len(job.tracks),
        stopped_by=stopped_by,
        faults=() if fault is None else (str(fault),),
    )


def _as_before(record: VideoRecord) -> Summary:
    return Summary(record.frames, record.boxes, resumed=record.frames, tracks=record.tracks)


class _Frames:
    """The frames of a source, up to the point where the rest is missing."""

    def __init__(self, source: VideoSource, max_images: int | None, skip_unreadable: bool) -> None:
        self._source, self._limit, self._skip = source, max_images, skip_unreadable
        self.waiting: deque[Frame] = deque()
        """Frames whose predictions are not there yet."""
        self.fault: VideoError | None = None
        """Why there are no more, where that is not the video's end."""

    def images(self) -> Iterator[np.ndarray]:
        try:
            for frame in islice(self._source, self._limit):
                if self._source.damaged and not self._skip:
                    raise VideoError(f"source={self._source.damaged[0]}")
                self.waiting.append(frame)
                yield frame.image
            if self._source.damaged and not self._skip:
                raise VideoError(f"source={self._source.damaged[0]}")
        except VideoError as error:  # raised here it would take the frames that wait for their predictions with it
            self.fault = error


class _VideoJob:
    """What is written of one video."""

    def __init__(self, journal: Journal, source: VideoSource, output: Output, tracker: Tracker | None) -> None:
        self._journal, self._source, self._output, self._tracker = journal, source, output, tracker
        self.frames = self.boxes = 0
        self.tracks: set[int] = set()
        self._trails = Trails()
        name, directory = source.name, output.directory
        suffixes = [".mp4"] * output.draw + [".txt"] * (tracker is not None)
        stem = distinct_stem(name, suffixes, source.shown, directory, journal)
        self._files = [stem + suffix for suffix in suffixes]
        journal.record(VideoRecord(source.shown, tuple(self._files)))
        self._writer = (
            VideoWriter(directory / self._files[0], source.rate, pixel_aspect=source.pixel_aspect)
            if output.draw
            else None
        )
        self._mot = MotWriter(directory / self._files[-1]) if tracker is not None else None
        self._first: tuple[int, int] | None = None

    def add(self, prediction: Any, frame: Frame) -> None:
        """The prediction of the next frame."""
        shown = (
            prediction.above(self._output.score_threshold)
            if self._tracker is None
            else self._tracked(prediction, frame)
        )
        entry = self._journal.add(
            Entry.of(shown, self._source.shown, frame=frame.index, time=round(float(frame.time), 6))
        )
        self.frames += 1
        self.boxes += len(entry.boxes)
        if self._mot is not None:
            self._mot.add(frame.index + 1, entry)
            self.tracks.update(box["track_id"] for box in entry.boxes)
        if self._writer is not None:
            alpha, time = self._output.alpha, float(frame.time)
            tracked = self._tracker is not None
            drawn = (
                self._trails.draw(shown, alpha=alpha, time=time)
                if tracked
                else shown.draw(score_threshold=0, alpha=alpha)
            )
            self._writer.write(np.asarray(drawn), frame.time)

    def close(self) -> None:
        """Completes the files, whatever ended the video."""
        with self._output.writing():
            try:
                if self._writer is not None:
                    self._writer.close()
            finally:
                if self._mot is not None:
                    self._mot.close()

    def finish(self, *, done: bool) -> None:
        """Says in the journal how it ended."""
        files = tuple(self._files)
        if self._writer is not None:
            files = (self._writer.path.name, *files[1:])
        tracks = None if self._tracker is None else len(self.tracks)
        self._journal.record(VideoRecord(self._source.shown, files, done, self.frames, self.boxes, tracks))

    def _tracked(self, prediction: Any, frame: Frame) -> Any:
        """Boxes by number. Where a stream changes its size, the tracker sees all of it in that of the first frame."""
        assert self._tracker is not None
        height, width = prediction.size
        self._first = self._first or (height, width)
        scale = np.tile([self._first[1] / width, self._first[0] / height], 2)
        tracks = self._tracker.update(
            prediction.boxes * scale, prediction.scores, prediction.labels, time=float(frame.time)
        )
        return prediction.tracked(tracks)
