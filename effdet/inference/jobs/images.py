"""Images to annotated images and results, from where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from effdet.files import distinct_names, refuse_overwriting, replacing, shown
from effdet.inference.image import ImageLike
from effdet.inference.jobs.output import Output, StreamPredictor, Summary, distinct_from_others, progress
from effdet.inference.jobs.stopping import always, in_one_go, stop_signals
from effdet.inference.prediction import Prediction
from effdet.inference.tracking import Tracker, Trails
from effdet.inference.writers import Entry, Journal, MotWriter, VideoRecord
from heads.structures import ClassTable, UserError

MASKS = "masks"
"""Folder of the segmentation maps, whose values are the ids of the classes' owner."""


def predict_images(
    predict: StreamPredictor,
    images: Sequence[Path],
    output: Output,
    *,
    classes: ClassTable | None,
    resume: bool = False,
    skip_unreadable: bool = True,
    tracker: Tracker | None = None,
) -> Summary:
    """Predict all of `images`; batches are formed by position, so that a resumed run gives the same to the bit.

    Args:
        predict: finds boxes from a score of `output.score_threshold` or below.
        images: in order.
        output: where to, and what.
        classes: of the detection head; None where there is none.
        resume: images that the journal in the folder has, with their drawings, are not predicted again.
        skip_unreadable: go on past an image that cannot be read, and name it in the summary.
        tracker: takes the images for the frames of one video.

    Raises:
        UserError: nothing could be read; with `skip_unreadable` false, anything could not.
    """
    files = [str(path) for path in images]
    drawn_as = distinct_names(images, ".jpg")
    _refuse_overwriting(images, dict(zip(files, drawn_as, strict=True)), output)
    _ids(files, output)  # what is wrong with a name is said before work
    unreadable: dict[str, str] = {}
    trails = Trails()

    def reported(image: ImageLike, error: UserError) -> None:
        if not skip_unreadable:
            raise error
        unreadable[str(image)] = str(error)

    followed = f"tracks of {files[0] if files else output.directory}"
    with stop_signals(), output.journal([*files, followed], resume=resume) as journal:
        names = distinct_from_others(drawn_as, files, output.directory, journal)
        drawings = dict(zip(files, names, strict=True))
        maps = [f"{MASKS}/{Path(name).stem}.png" for name in names]
        masks = dict(zip(files, distinct_from_others(maps, files, output.directory, journal), strict=True))
        offset = journal.offset(files)  # before entries are dropped
        todo = _todo(files, journal, output, predict.batch_size)
        resumed = len(files) - len(todo)
        ids = _ids(files, output, offset)
        numbers = {file: number for number, file in enumerate(files, start=1)}
        mot = output.directory / distinct_from_others(["tracks.txt"], [followed], output.directory, journal)[0]

        def tracks() -> None:
            with MotWriter(mot) as writer:
                for file, entry in journal.entries.items():
                    writer.add(numbers[file], entry)

        def tables() -> None:
            journal.keep(files)  # a run that went on leaves the same file as one that was not stopped
            output.write(journal, classes)

        if tracker is not None:
            journal.record(VideoRecord(followed, (mot.name,)))
        with always(tables, *([] if tracker is None else [tracks])), progress(len(todo), "images") as advance:
            for prediction in predict.stream([Path(file) for file in todo], unreadable=reported):
                file = str(prediction.path)
                shown = prediction.above(output.score_threshold) if tracker is None else _tracked(prediction, tracker)
                drawing = drawings[file] if output.draw else None
                with in_one_go(), output.writing():
                    # The line comes first: a drawing without one would be taken for a file of the user's.
                    mask = masks[file] if shown.semantic is not None else None
                    journal.add(Entry.of(shown, file, drawing=drawing, image_id=ids[file], mask=mask))
                    if drawing is not None:
                        legend = shown.semantic is not None
                        drawn = (
                            shown.draw(score_threshold=0, alpha=output.alpha, legend=legend)
                            if tracker is None
                            else trails.draw(shown, alpha=output.alpha)
                        )
                        _save(drawn, output.directory / drawing)
                    if mask is not None:
                        _save(Image.fromarray(shown.semantic_ids()), output.directory / mask)
                advance()
            if not any(file in journal.entries for file in files):
                first = next(iter(unreadable.values()), "no images")
                raise UserError(f"none of the {len(files)} images can be read; the first: {first}")
        found = list(journal.entries.values())
    count = None if tracker is None else len({box["track_id"] for entry in found for box in entry.boxes})
    boxes = sum(len(entry.boxes) for entry in found)
    return Summary(len(found), boxes, tuple(unreadable.values()), resumed=resumed, tracks=count)


def _ids(files: Sequence[str], output: Output, offset: int = 0) -> dict[str, int]:
    """Each image's id, behind `offset` of other runs.

    Raises:
        UserError: two images would have the same.
    """
    ids: dict[str, int] = {}
    first: dict[int, str] = {}
    for number, file in enumerate(files, start=1):
        ids[file] = output.image_id(file, number, offset)
        if (other := first.setdefault(ids[file], file)) != file:
            raise UserError(
                f"ids=name: {shown(other)} and {shown(file)} both have the number {ids[file]}: take ids=running, which "
                "numbers them by their paths"
            )
    return ids


def _todo(files: Sequence[str], journal: Journal, output: Output, batch_size: int) -> list[str]:
    """The images of all batches that are not wholly done."""
    missing: list[str] = []
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        if not all(_done(journal.entries.get(file), output) for file in batch):
            missing += batch
    again = set(missing)
    journal.keep(file for file in files if file not in again)
    return missing


def _done(entry: Entry | None, output: Output) -> bool:
    if entry is None:
        return False
    return not output.draw or entry.drawing is not None and (output.directory / entry.drawing).is_file()


def _tracked(prediction: Prediction, tracker: Tracker) -> Prediction:
    return prediction.tracked(tracker.update(prediction.boxes, prediction.scores, prediction.labels))


def _save(image: Image.Image, path: Path) -> None:
    """Whole or not at all: what is there is taken for done."""
    with replacing(path) as part:
        if path.suffix == ".png":
            image.save(part, "PNG")
        else:
            image.save(part, "JPEG", quality=92)


def _refuse_overwriting(images: Sequence[Path], drawings: dict[str, str], output: Output) -> None:
    """Before any work: no drawing and no segmentation map may have the name of an image of the source, by whatever path or
    link."""
    names = list(drawings.values())
    targets = [output.directory / MASKS / f"{Path(name).stem}.png" for name in names]
    targets += [output.directory / name for name in names] if output.draw else []
    refuse_overwriting(targets, images, key=f"out={output.directory}")
