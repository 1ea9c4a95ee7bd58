"""What doctor says of a set: every kind of finding with its level and advice, and the findings, counted and kept up to a bound.

``error``: the set is wrong there; training leaves the item out, stops, or learns something false.
``warning``: likely a slip, or something that costs accuracy.
``note``: worth knowing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from effdet.data.checks import Finding

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class IssueType:
    """What all findings of one name have in common."""

    level: Level
    title: str
    advice: str
    """What to do."""
    repair: str = ""
    """What ``doctor.fix=true`` does about it; empty where it can do nothing."""


_error, _warning, _note = (partial(IssueType, level) for level in LEVELS)
_DROP, _DROP_IMAGE = "the object is left out", "the image is left out"

ISSUE_TYPES: dict[str, IssueType] = {
    # --- files of annotations
    "not-json": _error("annotation file is not JSON", "Write it anew; a transfer may have been cut off."),
    "not-coco": _error("JSON without COCO's three lists", "It needs the lists images, annotations, categories."),
    "bad-xml": _error("XML that cannot be parsed", "Mend or remove the file.", _DROP_IMAGE),
    "missing-shard": _error("missing shard", "Copy it anew, or write the shards again."),
    "damaged-shard": _error("shard of another size than its index says", "Copy it anew, or write it again."),
    "bad-json": _error("JSON that cannot be used", "Write it anew in the set's form."),
    "bad-frame": _error("malformed or repeated frame", "Give each frame one entry with its name."),
    "bad-text": _error("text file in an unknown encoding", "Save the file as UTF-8.", _DROP_IMAGE),
    "skipped-file": _note(
        "files that are not images by their names", "Convert them if they are meant to be read.", "not copied"
    ),
    "link-loop": _note("link that leads back to a folder around it", "Remove it; it is not followed."),
    "bad-yaml": _error("data.yaml that cannot be used", "Mend the file: names numbered from 0, and the splits."),
    "misspelt-key": _warning("key of data.yaml that is not read", "Correct its spelling."),
    "class-count": _warning(
        "data.yaml says another number of classes than it names", "Name every class, in the order of its number."
    ),
    "unreadable-set": _error("the split cannot be read", "Do what the message says."),
    "missing-split": _note("split that is not there", "Nothing, if the set is not to have it."),
    "outside-root": _warning(
        "path that leads out of data.root", "What lies inside data.root is read where it is there; correct the path."
    ),
    "label-confidence": _warning(
        "label that ends with a confidence", "It is left aside: check that these are labels, not predictions."
    ),
    "no-class-names": _error("no class names", "Add data.yaml with names, or classes.txt."),
    "missing-annotation": _error(
        "listed, but no annotation file", "Restore the file, or take the name off the list.", _DROP_IMAGE
    ),
    "no-images": _error("no image at all", "Check data.root and the split's list."),
    "no-boxes": _error("no box to learn from", "Check that the annotations belong to these images."),
    "no-labels": _error("no image has a label file", "Labels lie in labels/ beside images/, of the same names."),
    "no-categories": _error("no classes", "Name the classes."),
    "missing-images": _error("the folder of images is not where it should be", "Name it with data.…_images=DIR."),
    "label-without-image": _warning(
        "label file without an image", "Restore the image, or remove the file.", "not copied"
    ),
    "same-name": _error("two files of one name", "Rename or remove one of them."),
    "other-filename": _warning(
        "XML names another image", "Correct <filename>, or the file's own name.", "the name is corrected"
    ),
    # --- entries
    "bad-category": _error("malformed category", "It needs a whole-number id and a name.", "the entry is left out"),
    "duplicate-category": _error("category twice", "Give each class one id and one name.", "merged with the first"),
    "similar-classes": _warning(
        "class names that differ only in case or spaces",
        "They are different classes (letters of a plate may be); if one is meant, use one spelling.",
    ),
    "placeholder-category": _warning(
        "category that a tool added and no annotation uses",
        "Nothing: it is left out of the classes.",
        "the entry is left out",
    ),
    "odd-number": _note(
        "whole number written as text, or as 1.0",
        "Nothing here; other tools want plain numbers.",
        "written as a number",
    ),
    "category-gap": _note("category ids with gaps", "Nothing: classes are numbered 0…K-1 inside."),
    "bad-image": _error(
        "malformed image entry", "It needs a whole-number id and a file_name.", "the entry is left out"
    ),
    "duplicate-image-id": _error("image id twice", "Give each image a unique id.", "the second is left out"),
    "listed-twice": _warning(
        "image listed twice", "List each image once, with all its objects.", "merged with the first"
    ),
    "bad-annotation": _error("malformed annotation", "Write it in the set's form.", _DROP),
    "bad-mask-value": _error("a mask holds an id of no class", "Write class ids, and 255 where nothing is labelled."),
    "annotation-id-0": _warning(
        "annotation id 0", "Count from 1: pycocotools takes 0 for unmatched, and AP drops.", "renumbered"
    ),
    "duplicate-annotation": _warning("annotation id twice", "Give each annotation a unique id.", "renumbered"),
    "unknown-image": _error(
        "annotation of an image that is not listed", "Restore the image's entry, or remove it.", _DROP
    ),
    "unknown-category": _error("annotation of a class that is not listed", "Add the class, or correct the id.", _DROP),
    "bad-segmentation": _warning("malformed polygon or mask", "Boxes are not affected; mend it before training masks."),
    "bad-crowd": _warning(
        "iscrowd is neither 0 nor 1", "1 marks a group, 0 a single object.", "numbers are set to 0 or 1"
    ),
    "bad-difficult": _warning(
        "difficult is neither 0 nor 1", "1 marks an object that is not counted; it is read as 0."
    ),
    "box-from-mask": _warning(
        "object without a bbox, but with a polygon or mask",
        "The box around it is taken; write it into bbox.",
        "written",
    ),
    "wrong-area": _warning(
        "area that does not fit its box", "It decides small, medium, large in evaluation.", "set to the box's"
    ),
    "odd-path": _warning(
        "image named by an absolute path, or from outside its folder", "Name it relative to its folder."
    ),
    "unstated-size": _note("no width and height stated", "Nothing: they are read from the images.", "filled in"),
    "no-box": _warning("object without a box", "Draw it, or remove the object."),
    # --- boxes
    "bad-number": _error("number that is not finite, or absurd", "Correct it.", _DROP),
    "zero-area": _error("box without area", "A slip of the mouse: draw it again, or remove it.", _DROP),
    "negative-area": _error("box with a negative side", "Its corners are in the wrong order.", _DROP),
    "outside-image": _error("box outside its image", "It belongs to another image, or to another size of it.", _DROP),
    "out-of-range": _warning(
        "box leaves its image", "It is clipped; check that sizes and boxes belong together.", "clipped"
    ),
    "not-normalised": _error("pixels where shares of the image are expected", "Divide by width and height.", _DROP),
    "shares-not-pixels": _error("shares where pixels are expected", "Multiply by width and height.", "multiplied"),
    "corners-not-sizes": _error(
        "bbox holds corners, not x, y, width, height", "Write [x, y, width, height].", "converted"
    ),
    "tiny-box": _warning("box of less than two pixels", "Nothing can be seen there: draw it again, or remove it."),
    "whole-image-box": _note("box of the whole image", "Check that it is an object, not a default."),
    "thin-box": _note("box over 20 times longer than wide", "Check it; anchors do not reach such shapes."),
    "duplicate-box": _warning(
        "same box twice in an image", "Remove one: the second can only be a false alarm.", "the second is left out"
    ),
    "two-class-box": _note("same box with two classes", "Check which is meant; both are trained on."),
    "box-off-polygon": _warning("box that does not fit its polygon", "One of the two was changed without the other."),
    "zero-based": _note("corner at 0 where VOC counts from 1", "Nothing, if a pixel does not matter."),
    # --- images
    "missing-image": _error("missing image", "Restore it, or remove its entry.", _DROP_IMAGE),
    "unreadable-image": _error("not an image that can be read", "Restore it, or remove its entry.", _DROP_IMAGE),
    "truncated-image": _error("image that is cut off", "Copy it anew.", _DROP_IMAGE),
    "corrupt-image": _error("image that cannot be decoded", "Copy it anew.", _DROP_IMAGE),
    "decompression-bomb": _error("image of too many pixels", "Make it smaller.", _DROP_IMAGE),
    "wrong-size": _error(
        "stated size is not the file's", "The boxes belong to another size of the image.", _DROP_IMAGE
    ),
    "swapped-size": _error("width and height exchanged", "Exchange them in the annotation.", "exchanged"),
    "exif-frame": _error(
        "boxes drawn without the EXIF rotation",
        "Rotate the pixels and drop the note, or draw the boxes again.",
        _DROP_IMAGE,
    ),
    "exif-rotation": _warning("EXIF rotation", "Tools differ in heeding it: rotate the pixels and drop the note."),
    "duplicate-images": _warning("same image twice in a split", "Remove one: it counts double."),
    "similar-image": _note("almost the same image twice in a split", "Look at them: it may count double."),
    "split-leak": _error(
        "same image in two splits", "Remove it from one: results on it say nothing.", "left out of train"
    ),
    "near-leak": _warning(
        "nearly the same image in two splits",
        "Another shot of the scene, or the next frame: keep such images in one split.",
    ),
    "grey-image": _note("grey image", "Nothing: it is widened to three channels."),
    "alpha-image": _note("image with transparency", "Nothing: transparency is dropped; check what lies under it."),
    "deep-image": _note("16-bit image", "Nothing: it is scaled to 8 bits; check that its range is full."),
    "cmyk-image": _note("image in printing colours", "Convert it to RGB: converters differ."),
    "animated-image": _note("several frames in one file", "Nothing: the first is taken."),
    "wrong-suffix": _note("name says another format than the content", "Rename it."),
    "small-image": _warning("image smaller than 32 pixels", "Check it: the coarsest levels see less than a cell."),
    "unlisted-image": _note("images that no annotation names", "Nothing, if they are meant to be left out."),
    "unlabelled-image": _note("images without any object", "Nothing, if there is nothing on them."),
    # --- masks
    "no-masks": _error("no mask to learn from", "Check that the masks belong to these images."),
    "missing-mask": _error("image without its mask", "Restore it."),
    "unreadable-mask": _error("not a mask that can be read", "One channel of 8 bits, an id a pixel."),
    "unknown-id": _error(
        "mask with an id that is not listed", "Correct the mask, or list the id (data.values, data.ignored)."
    ),
    "missing-instances": _error("image without its instance map", "Restore it."),
    "unreadable-instances": _error("not an instance map that can be read", "One channel of 8 or 16 bits."),
    "empty-mask": _warning("mask in which every pixel is ignored", "Nothing is learnt from it: check it."),
    # --- classes
    "empty-class": _warning("folder of a class without images", "Find examples, or remove the folder."),
    "unused-class": _warning("class that is never used", "Nothing can learn it: find examples, or drop it."),
    "class-not-in-train": _warning("class in val, not in train", "It will score 0: move examples to train."),
    "class-not-in-val": _note("class in train, not in val", "It is not measured."),
    "rare-class": _note(
        "class with under 10 examples", "Find more, or let data.repeat_threshold show them more often."
    ),
    "class-imbalance": _note(
        "classes over 100 times as frequent as others",
        "Show the rare ones more often (data.repeat_threshold), or find more.",
    ),
    # --- anchors
    "anchor-coverage": _warning(
        "boxes that no anchor fits", "Raise image_size, or fit the anchors: see what would help."
    ),
    "lost-box": _warning("boxes whose anchors all went to others", "Raise image_size: they share their cells."),
}


def kind_of(name: str, level: str) -> IssueType:
    """The kind called `name`; for one that is not listed, what its finder says of it."""
    known = ISSUE_TYPES.get(name)
    if known is not None:
        return known
    return IssueType("error" if level == "error" else "warning", name.replace("-", " "), "Do what the message says.")


KEPT = 10_000
"""Findings of one kind that are kept; more of them are only counted."""


@dataclass(frozen=True)
class Issue(Finding):
    """A finding in a split; its level is that of its kind, where the kind is one of :data:`ISSUE_TYPES`."""

    split: str = ""
    other: str = ""
    """A second image, for those that are alike."""

    def to_dict(self) -> dict[str, Any]:
        """For doctor.json."""
        known = kind_of(self.kind, self.level)
        values = vars(self) | {"level": known.level, "advice": known.advice}
        keys = ("level", "kind", "split", "file", "item", "text", "advice", "image", "box", "other")
        return {key: values[key] for key in keys if values[key] not in ("", None)}


class Issues:
    """All findings, by kind in the order in which they were met."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Issue]] = {}
        self._seen: set[tuple[str, str, str, str]] = set()
        self.counts: Counter[str] = Counter()

    def add(self, issue: Issue) -> None:
        """Adds one; the same fault of the same object is not reported twice."""
        key = (issue.kind, issue.file, issue.item, issue.text)
        if key in self._seen:
            return
        self.counts[issue.kind] += 1
        kept = self._kept.setdefault(issue.kind, [])
        if len(kept) < KEPT:
            self._seen.add(key)
            kept.append(issue)

    def note(self, kind: str, file: str | Path, text: str, *, item: str = "", **rest: Any) -> None:
        """Adds a finding of a `kind` that is one of :data:`ISSUE_TYPES`."""
        self.add(Issue("", kind, str(file), item, text, **rest))

    def __iter__(self) -> Iterator[Issue]:
        for kept in self._kept.values():
            yield from kept

    def of(self, kind: str) -> list[Issue]:
        return list(self._kept.get(kind, ()))

    def kind(self, name: str) -> IssueType:
        return kind_of(name, self._kept[name][0].level if self._kept.get(name) else "")

    def issue_types(self) -> list[str]:
        """Names of the kinds found, the grave and the frequent ones first."""
        return sorted(self.counts, key=lambda name: (LEVELS.index(self.kind(name).level), -self.counts[name], name))

    def total(self, level: str) -> int:
        """How many findings of a level there are."""
        return sum(count for name, count in self.counts.items() if self.kind(name).level == level)
