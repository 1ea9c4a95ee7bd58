"""A video to an annotated video and results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from effdet.files import refuse_overwriting
from effdet.inference.jobs.output import Job, Shown, StreamPredictor, Summary, distinct_stem
from effdet.inference.jobs.stopping import Terminated, always, deferring_signals
from effdet.inference.prediction import Prediction
from effdet.inference.sources import Frame, VideoError, VideoSource
from effdet.inference.sources.inputs import video_name
from effdet.inference.tracking import Tracker
from effdet.inference.writers import Entry, Journal, MotWriter, VideoRecord, VideoWriter
from effdet.plurals import counted
from effdet.progress import progress_bar
from heads.structures import UserError


def predict_video(
    predict: StreamPredictor, source: VideoSource, job: Job, *, tracker: Tracker | None = None
) -> Summary:
    """Predict every frame of an open source; the annotated video has the frames and times of the source.

    Whatever ends the job (Ctrl-C, SIGTERM, a fault of the source, a full disk), video and tables hold what was done until
    then.

    Args:
        predict: finds boxes from a score of `job.score_threshold` or below.
        source: an open video, camera or stream.
        job: see there.
        tracker: numbers the objects; their trails are drawn.
    """
    refuse_drawings(job, [source])
    with job.running([source.shown]) as journal:
        return _predict_into(journal, predict, source, job, tracker)


def predict_videos(
    predict: StreamPredictor,
    videos: Sequence[Path],
    job: Job,
    *,
    tracker: Callable[[VideoSource], Tracker | None] = lambda source: None,
    every: int = 1,
) -> Summary:
    """Predict several videos into the same tables, each with a drawing of its own.

    Args:
        predict: as in `predict_video`.
        videos: files, in order.
        job: see there.
        tracker: makes the tracker of a video.
        every: only every n-th frame of each.

    Raises:
        UserError: none can be read.
    """
    refuse_drawings(job, videos)
    summary, unreadable = Summary(0, 0), []
    with job.running([str(video) for video in videos]) as journal:
        for video in videos:
            if (before := journal.done.get(str(video))) is not None:
                summary = summary.joined(_as_before(before))
                continue
            try:
                with VideoSource(str(video), every=every) as source:
                    part = _predict_into(journal, predict, source, job, tracker(source))
            except VideoError as error:
                if not job.skip_unreadable:
                    raise
                unreadable.append(str(error))
                continue
            summary = summary.joined(part)
            if part.stopped:
                break
        if len(unreadable) == len(videos):
            raise UserError(f"0 of {counted(len(videos), 'video')} can be read; the first: {unreadable[0]}")
    return summary.joined(Summary(0, 0, tuple(unreadable)))


def refuse_drawings(job: Job, sources: Iterable[VideoSource | Path]) -> None:
    """Refuses an output folder in which the drawing of a video would have the name of one of the sources.

    Raises:
        UserError: it would.
    """
    videos = [source for source in sources if isinstance(source, Path) or not source.live]
    files = [source if isinstance(source, Path) else Path(source.source) for source in videos]
    drawings = [job.directory / f"{video_name(str(file))}.mp4" for file in files]
    refuse_overwriting(drawings if job.draw else [], files, key=f"out={job.directory}")


def _predict_into(
    journal: Journal, predict: StreamPredictor, source: VideoSource, job: Job, tracker: Tracker | None
) -> Summary:
    """As `predict_video`, into an open journal; the tables are written by the caller."""
    if (before := journal.done.get(source.shown)) is not None:
        return _as_before(before)
    with job.writing():
        output = _VideoOutput(journal, source, job, tracker)
    frames = _Frames(source, job)
    stopped_by = None
    total = source.frames if job.max_images is None else min(job.max_images, source.frames or job.max_images)
    try:
        with always(output.close), progress_bar("predicting", total, unit="frames") as advance:
            for prediction in predict.stream(frames.images()):
                with deferring_signals(), job.writing():
                    output.add(prediction, frames.waiting.popleft())
                advance(1)
    except KeyboardInterrupt as stop:
        stopped_by = 15 if isinstance(stop, Terminated) else 2
    fault = frames.fault
    if fault is not None and output.frames == 0:
        raise fault
    output.finish(done=fault is None and stopped_by is None)
    return Summary(
        output.frames,
        output.boxes,
        tuple(source.damaged),
        lost=source.lost,
        flawed=source.flawed,
        gaps=source.gaps,
        tracks=output.objects,
        stopped_by=stopped_by,
        faults=() if fault is None else (str(fault),),
    )


def _as_before(record: VideoRecord) -> Summary:
    return Summary(record.frames, record.boxes, resumed=record.frames, tracks=record.tracks)


class _Frames:
    """The frames of a source, up to the point where the rest is missing."""

    def __init__(self, source: VideoSource, job: Job) -> None:
        self._source, self._job = source, job
        self.waiting: deque[Frame] = deque()
        """Frames whose predictions are not there yet."""
        self.fault: VideoError | None = None
        """Why there are no more, where that is not the video's end."""

    def images(self) -> Iterator[np.ndarray]:
        try:
            for frame in islice(self._source, self._job.max_images):
                self._check()
                self.waiting.append(frame)
                yield frame.image
            self._check()
        except VideoError as error:  # raised here it would take the frames that wait for their predictions with it
            self.fault = error

    def _check(self) -> None:
        if self._source.damaged and not self._job.skip_unreadable:
            raise VideoError(f"source={self._source.damaged[0]}")


class _VideoOutput:
    """What is written of one video."""

    def __init__(self, journal: Journal, source: VideoSource, job: Job, tracker: Tracker | None) -> None:
        self._journal, self._source, self._job = journal, source, job
        self._view = Shown(job, tracker)
        self.frames = self.boxes = 0
        self._tracks: set[int] = set()
        name, directory = source.name, job.directory
        suffixes = [".mp4"] * job.draw + [".txt"] * (tracker is not None)
        stem = distinct_stem(name, suffixes, source.shown, directory, journal)
        self._files = [stem + suffix for suffix in suffixes]
        journal.record(VideoRecord(source.shown, tuple(self._files)))
        path, aspect = directory / f"{stem}.mp4", source.pixel_aspect
        self._writer = VideoWriter(path, source.rate, pixel_aspect=aspect) if job.draw else None
        self._mot = None if tracker is None else MotWriter(directory / f"{stem}.txt")
        self._first: tuple[int, int] | None = None

    @property
    def objects(self) -> int | None:
        """How many were followed; None where nothing tracks."""
        return None if self._mot is None else len(self._tracks)

    def add(self, prediction: Prediction, frame: Frame) -> None:
        """The prediction of the next frame. Where a stream changes its size, the tracker sees all in that of the first."""
        height, width = prediction.size
        self._first = self._first or (height, width)
        scale, time = np.tile([self._first[1] / width, self._first[0] / height], 2), float(frame.time)
        shown = self._view.of(prediction, scale=scale, time=time)
        entry = self._journal.add(Entry.of(shown, self._source.shown, frame=frame.index, time=round(time, 6)))
        self.frames += 1
        self.boxes += len(entry.boxes)
        if self._mot is not None:
            self._mot.add(frame.index + 1, entry)
            self._tracks.update(box["track_id"] for box in entry.boxes)
        if self._writer is not None:
            self._writer.write(np.asarray(self._view.drawn(shown, time=time)), frame.time)

    def close(self) -> None:
        """Completes the files, whatever ended the video."""
        with self._job.writing():
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
        record = VideoRecord(self._source.shown, files, done, self.frames, self.boxes, self.objects)
        self._journal.record(record)
