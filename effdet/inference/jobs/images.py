"""Images to annotated images and results, from where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from PIL import Image

from effdet.files import distinct_names, refuse_overwriting, replacing, shown
from effdet.inference.image import ImageLike
from effdet.inference.jobs.output import Job, Shown, StreamPredictor, Summary, distinct_from_others
from effdet.inference.jobs.stopping import always, deferring_signals, stop_signals
from effdet.inference.tracking import Tracker
from effdet.inference.writers import Entry, Journal, MotWriter, VideoRecord
from effdet.plurals import counted
from effdet.progress import progress_bar
from heads.structures import UserError

MASKS = "masks"
"""Folder of the segmentation maps, whose values are the ids of the classes' owner."""


def predict_images(
    predict: StreamPredictor, images: Sequence[Path], job: Job, *, tracker: Tracker | None = None
) -> Summary:
    """Predict all of `images`; batches are formed by position, so that a resumed run gives the same to the bit.

    Args:
        predict: finds boxes from a score of `job.score_threshold` or below.
        images: in order.
        job: see there.
        tracker: takes the images for the frames of one video.

    Raises:
        UserError: nothing could be read; with `job.skip_unreadable` false, anything could not.
    """
    files = [str(path) for path in images]
    drawn_as = distinct_names(images, ".jpg")
    _refuse_overwriting(images, drawn_as, job)
    _ids(files, job)  # what is wrong with a name is said before work
    unreadable: dict[str, str] = {}

    def reported(image: ImageLike, error: UserError) -> None:
        if not job.skip_unreadable:
            raise error
        unreadable[str(image)] = str(error)

    followed = f"tracks of {files[0] if files else job.directory}"
    with stop_signals(), job.journal([*files, followed]) as journal:
        names = distinct_from_others(drawn_as, files, job.directory, journal)
        drawings = dict(zip(files, names, strict=True))
        maps = [f"{MASKS}/{Path(name).stem}.png" for name in names]
        masks = dict(zip(files, distinct_from_others(maps, files, job.directory, journal), strict=True))
        offset = journal.offset(files)  # before entries are dropped
        todo = _todo(files, journal, job, predict.batch_size)
        ids = _ids(files, job, offset)
        mot = job.directory / distinct_from_others(["tracks.txt"], [followed], job.directory, journal)[0]

        def tracks() -> None:
            numbers = {file: number for number, file in enumerate(files, start=1)}
            with closing(MotWriter(mot)) as writer:
                for file, entry in journal.entries.items():
                    writer.add(numbers[file], entry)

        def tables() -> None:
            journal.keep(files)  # a run that went on leaves the same file as one that was not stopped
            job.write(journal)

        if tracker is not None:
            journal.record(VideoRecord(followed, (mot.name,)))
        view = Shown(job, tracker)
        ends = [tables] if tracker is None else [tables, tracks]
        with always(*ends), progress_bar("predicting", len(todo), unit="images") as advance:
            for prediction in predict.stream([Path(file) for file in todo], unreadable=reported):
                file, shown = str(prediction.path), view.of(prediction)
                drawing = drawings[file] if job.draw else None
                mask = None if shown.semantic is None else masks[file]
                with deferring_signals(), job.writing():
                    # The line comes first: a drawing without one would be taken for a file of the user's.
                    journal.add(Entry.of(shown, file, drawing=drawing, image_id=ids[file], mask=mask))
                    if drawing is not None:
                        _save(view.drawn(shown, legend=mask is not None), job.directory / drawing)
                    if mask is not None:
                        _save(Image.fromarray(shown.semantic_ids()), job.directory / mask)
                advance(1)
            if not any(file in journal.entries for file in files):
                first = next(iter(unreadable.values()), "no images")
                raise UserError(f"0 of {counted(len(files), 'image')} can be read; the first: {first}")
        found = list(journal.entries.values())
    count = None if tracker is None else len({box["track_id"] for entry in found for box in entry.boxes})
    boxes = sum(len(entry.boxes) for entry in found)
    return Summary(len(found), boxes, tuple(unreadable.values()), resumed=len(files) - len(todo), tracks=count)


def _ids(files: Sequence[str], job: Job, offset: int = 0) -> dict[str, int]:
    """Each image's id, behind `offset` of other runs.

    Raises:
        UserError: two images would have the same.
    """
    ids: dict[str, int] = {}
    first: dict[int, str] = {}
    for number, file in enumerate(files, start=1):
        ids[file] = job.image_id(file, number, offset)
        if (other := first.setdefault(ids[file], file)) != file:
            raise UserError(
                f"ids=name: {shown(other)} and {shown(file)} both have the number {ids[file]}: take ids=running, which "
                "numbers them by their paths"
            )
    return ids


def _todo(files: Sequence[str], journal: Journal, job: Job, batch_size: int) -> list[str]:
    """The images of all batches that are not wholly done."""
    missing: list[str] = []
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        if not all(_done(journal.entries.get(file), job) for file in batch):
            missing += batch
    again = set(missing)
    journal.keep(file for file in files if file not in again)
    return missing


def _done(entry: Entry | None, job: Job) -> bool:
    if entry is None:
        return False
    return not job.draw or entry.drawing is not None and (job.directory / entry.drawing).is_file()


def _save(image: Image.Image, path: Path) -> None:
    """Whole or not at all: what is there is taken for done."""
    with replacing(path) as part:
        if path.suffix == ".png":
            image.save(part, "PNG")
        else:
            image.save(part, "JPEG", quality=92)


def _refuse_overwriting(images: Sequence[Path], names: Sequence[str], job: Job) -> None:
    """Before any work: no drawing and no segmentation map may have the name of an image of the source, by whatever path or
    link."""
    targets = [job.directory / MASKS / f"{Path(name).stem}.png" for name in names]
    targets += [job.directory / name for name in names] if job.draw else []
    refuse_overwriting(targets, images, key=f"out={job.directory}")
