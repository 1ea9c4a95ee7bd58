"""Every kind of finding: how grave it is, what it is called, and what to do about it.

``error``: the set is wrong there; training leaves the item out, stops, or learns something false.
``warning``: likely a slip, or something that costs accuracy.
``note``: worth knowing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Kind:
    """What all findings of one name have in common."""

    level: Level
    title: str
    advice: str
    """What to do."""
    repair: str = ""
    """What ``doctor.fix=true`` does about it; empty where it can do nothing."""


_DROP = "the object is left out"
_DROP_PICTURE = "the picture is left out"

KINDS: dict[str, Kind] = {
    # --- files of annotations
    "not-json": Kind("error", "annotation file is not JSON", "Write it anew; a transfer may have been cut off."),
    "not-coco": Kind("error", "JSON without COCO's three lists", "It needs the lists images, annotations, categories."),
    "bad-xml": Kind("error", "XML that cannot be parsed", "Mend or remove the file.", _DROP_PICTURE),
    "missing-shard": Kind("error", "missing shard", "Copy it anew, or write the shards again."),
    "damaged-shard": Kind("error", "shard of another size than its index says", "Copy it anew, or write it again."),
    "bad-json": Kind("error", "JSON that cannot be used", "Write it anew in the set's form."),
    "bad-frame": Kind("error", "malformed or repeated frame", "Give each frame one entry with its name."),
    "bad-text": Kind("error", "text file in an unknown encoding", "Save the file as UTF-8.", _DROP_PICTURE),
    "skipped-file": Kind(
        "note", "files that are not images by their names", "Convert them if they are meant to be read.", "not copied"
    ),
    "link-loop": Kind("note", "link that leads back to a folder around it", "Remove it; it is not followed."),
    "bad-yaml": Kind("error", "data.yaml that cannot be used", "Mend the file: names numbered from 0, and the splits."),
    "misspelt-key": Kind("warning", "key of data.yaml that is not read", "Correct its spelling."),
    "class-count": Kind(
        "warning",
        "data.yaml says another number of classes than it names",
        "Name every class, in the order of its number.",
    ),
    "unreadable-set": Kind("error", "the split cannot be read", "Do what the message says."),
    "missing-split": Kind("note", "split that is not there", "Nothing, if the set is not to have it."),
    "outside-root": Kind(
        "warning",
        "path that leads out of data.root",
        "What lies inside data.root is read where it is there; correct the path.",
    ),
    "label-confidence": Kind(
        "warning",
        "label that ends with a confidence",
        "It is left aside: check that these are labels, not predictions.",
    ),
    "no-class-names": Kind("error", "no class names", "Add data.yaml with names, or classes.txt."),
    "missing-annotation": Kind(
        "error", "listed, but no annotation file", "Restore the file, or take the name off the list.", _DROP_PICTURE
    ),
    "no-pictures": Kind("error", "no picture at all", "Check data.root and the split's list."),
    "no-boxes": Kind("error", "no box to learn from", "Check that the annotations belong to these pictures."),
    "no-labels": Kind(
        "error", "no picture has a label file", "Labels lie in labels/ beside images/, of the same names."
    ),
    "no-categories": Kind("error", "no classes", "Name the classes."),
    "missing-pictures": Kind(
        "error", "the folder of pictures is not where it should be", "Name it with data.…_images=DIR."
    ),
    "label-without-picture": Kind(
        "warning", "label file without a picture", "Restore the picture, or remove the file.", "not copied"
    ),
    "same-name": Kind("error", "two files of one name", "Rename or remove one of them."),
    "other-filename": Kind(
        "warning", "XML names another picture", "Correct <filename>, or the file's own name.", "the name is corrected"
    ),
    # --- entries
    "bad-category": Kind(
        "error", "malformed category", "It needs a whole-number id and a name.", "the entry is left out"
    ),
    "duplicate-category": Kind(
        "error", "category twice", "Give each class one id and one name.", "merged with the first"
    ),
    "similar-classes": Kind(
        "warning",
        "class names that differ in case or spaces alone",
        "They are different classes (letters of a plate may be); if one is meant, use one spelling.",
    ),
    "placeholder-category": Kind(
        "warning",
        "category that a tool added and no annotation uses",
        "Nothing: it is left out of the classes.",
        "the entry is left out",
    ),
    "odd-number": Kind(
        "note",
        "whole number written as text, or as 1.0",
        "Nothing here; other tools want plain numbers.",
        "written as a number",
    ),
    "category-gap": Kind("note", "category ids with gaps", "Nothing: classes are numbered 0…K-1 inside."),
    "bad-image": Kind(
        "error", "malformed image entry", "It needs a whole-number id and a file_name.", "the entry is left out"
    ),
    "duplicate-image": Kind("error", "image id twice", "Give each picture an id of its own.", "the second is left out"),
    "listed-twice": Kind(
        "warning", "picture listed twice", "List each picture once, with all its objects.", "merged with the first"
    ),
    "bad-annotation": Kind("error", "malformed annotation", "Write it in the set's form.", _DROP),
    "annotation-id-0": Kind(
        "warning", "annotation id 0", "Count from 1: pycocotools takes 0 for unmatched, and AP drops.", "renumbered"
    ),
    "duplicate-annotation": Kind(
        "warning", "annotation id twice", "Give each annotation an id of its own.", "renumbered"
    ),
    "unknown-image": Kind(
        "error", "annotation of a picture that is not listed", "Restore the picture's entry, or remove it.", _DROP
    ),
    "unknown-category": Kind(
        "error", "annotation of a class that is not listed", "Add the class, or correct the id.", _DROP
    ),
    "bad-segmentation": Kind(
        "warning", "malformed polygon or mask", "Boxes are not affected; mend it before training masks."
    ),
    "bad-crowd": Kind(
        "warning", "iscrowd is neither 0 nor 1", "1 marks a group, 0 a single object.", "numbers are set to 0 or 1"
    ),
    "bad-difficult": Kind(
        "warning", "difficult is neither 0 nor 1", "1 marks an object that is not counted; it is read as 0."
    ),
    "box-from-mask": Kind(
        "warning",
        "object without a bbox, but with a polygon or mask",
        "The box around it is taken; write it into bbox.",
        "written",
    ),
    "wrong-area": Kind(
        "warning",
        "area that does not fit its box",
        "It decides small, medium, large in evaluation.",
        "set to the box's",
    ),
    "odd-path": Kind(
        "warning", "picture named by an absolute path, or from outside its folder", "Name it relative to its folder."
    ),
    "unstated-size": Kind(
        "note", "no width and height stated", "Nothing: they are read from the pictures.", "filled in"
    ),
    "no-box": Kind("warning", "object without a box", "Draw it, or remove the object."),
    # --- boxes
    "bad-number": Kind("error", "number that is not finite, or absurd", "Correct it.", _DROP),
    "zero-area": Kind("error", "box without area", "A slip of the mouse: draw it again, or remove it.", _DROP),
    "negative-area": Kind("error", "box with a negative side", "Its corners are in the wrong order.", _DROP),
    "outside-picture": Kind(
        "error", "box outside its picture", "It belongs to another picture, or to another size of it.", _DROP
    ),
    "out-of-range": Kind(
        "warning", "box leaves its picture", "It is clipped; check that sizes and boxes belong together.", "clipped"
    ),
    "not-normalised": Kind(
        "error", "pixels where shares of the picture are expected", "Divide by width and height.", _DROP
    ),
    "shares-not-pixels": Kind(
        "error", "shares where pixels are expected", "Multiply by width and height.", "multiplied"
    ),
    "corners-not-sizes": Kind(
        "error", "bbox holds corners, not x, y, width, height", "Write [x, y, width, height].", "converted"
    ),
    "tiny-box": Kind(
        "warning", "box of less than two pixels", "Nothing can be seen there: draw it again, or remove it."
    ),
    "whole-picture-box": Kind("note", "box of the whole picture", "Check that it is an object, not a default."),
    "thin-box": Kind("note", "box over 20 times longer than wide", "Check it; anchors do not reach such shapes."),
    "duplicate-box": Kind(
        "warning",
        "same box twice in a picture",
        "Remove one: the second can only be a false alarm.",
        "the second is left out",
    ),
    "two-class-box": Kind("note", "same box with two classes", "Check which is meant; both are taught."),
    "box-off-polygon": Kind(
        "warning", "box that does not fit its polygon", "One of the two was changed without the other."
    ),
    "zero-based": Kind("note", "corner at 0 where VOC counts from 1", "Nothing, if a pixel does not matter."),
    # --- pictures
    "missing-picture": Kind("error", "missing picture", "Restore it, or remove its entry.", _DROP_PICTURE),
    "unreadable-picture": Kind(
        "error", "not a picture that can be read", "Restore it, or remove its entry.", _DROP_PICTURE
    ),
    "truncated-picture": Kind("error", "picture that is cut off", "Copy it anew.", _DROP_PICTURE),
    "corrupt-picture": Kind("error", "picture that cannot be decoded", "Copy it anew.", _DROP_PICTURE),
    "decompression-bomb": Kind("error", "picture of too many pixels", "Make it smaller.", _DROP_PICTURE),
    "wrong-size": Kind(
        "error", "stated size is not the file's", "The boxes belong to another size of the picture.", _DROP_PICTURE
    ),
    "swapped-size": Kind("error", "width and height exchanged", "Exchange them in the annotation.", "exchanged"),
    "exif-frame": Kind(
        "error",
        "boxes drawn without the EXIF rotation",
        "Rotate the pixels and drop the note, or draw the boxes again.",
        _DROP_PICTURE,
    ),
    "exif-rotation": Kind(
        "warning", "EXIF rotation", "Tools differ in heeding it: rotate the pixels and drop the note."
    ),
    "duplicate-picture": Kind("warning", "same picture twice in a split", "Remove one: it counts double."),
    "similar-picture": Kind("note", "almost the same picture twice in a split", "Look at them: it may count double."),
    "split-leak": Kind(
        "error", "same picture in two splits", "Remove it from one: results on it say nothing.", "left out of train"
    ),
    "near-leak": Kind(
        "warning",
        "nearly the same picture in two splits",
        "Another shot of the scene, or the next frame: keep such pictures in one split.",
    ),
    "grey-picture": Kind("note", "grey picture", "Nothing: it is widened to three channels."),
    "alpha-picture": Kind(
        "note", "picture with transparency", "Nothing: transparency is dropped; check what lies under it."
    ),
    "deep-picture": Kind("note", "16-bit picture", "Nothing: it is scaled to 8 bits; check that its range is full."),
    "cmyk-picture": Kind("note", "picture in printing colours", "Convert it to RGB: converters differ."),
    "animated-picture": Kind("note", "several frames in one file", "Nothing: the first is taken."),
    "wrong-suffix": Kind("note", "name says another format than the content", "Rename it."),
    "small-picture": Kind(
        "warning", "picture smaller than 32 pixels", "Check it: the coarsest levels see less than a cell."
    ),
    "unlisted-picture": Kind("note", "pictures that no annotation names", "Nothing, if they are meant to be left out."),
    "unlabelled-picture": Kind("note", "pictures without any object", "Nothing, if there is nothing on them."),
    # --- masks
    "no-masks": Kind("error", "no mask to learn from", "Check that the masks belong to these pictures."),
    "missing-mask": Kind("error", "picture without its mask", "Restore it."),
    "unreadable-mask": Kind("error", "not a mask that can be read", "One channel of 8 bits, an id a pixel."),
    "unknown-id": Kind(
        "error", "mask with an id that is not listed", "Correct the mask, or list the id (data.values, data.ignored)."
    ),
    "missing-instances": Kind("error", "picture without its instance map", "Restore it."),
    "unreadable-instances": Kind("error", "not an instance map that can be read", "One channel of 8 or 16 bits."),
    "empty-mask": Kind("warning", "mask in which every pixel is ignored", "Nothing is learnt from it: check it."),
    # --- classes
    "empty-class": Kind("warning", "folder of a class without pictures", "Find examples, or remove the folder."),
    "unused-class": Kind("warning", "class that is never used", "Nothing can learn it: find examples, or drop it."),
    "class-not-in-train": Kind("warning", "class in val, not in train", "It will score 0: move examples to train."),
    "class-not-in-val": Kind("note", "class in train, not in val", "It is not measured."),
    "rare-class": Kind(
        "note", "class with under 10 examples", "Find more, or let data.repeat_threshold show them more often."
    ),
    "class-imbalance": Kind(
        "note",
        "classes over 100 times as frequent as others",
        "Show the rare ones more often (data.repeat_threshold), or find more.",
    ),
    # --- anchors
    "anchor-coverage": Kind(
        "warning", "boxes that no anchor fits", "Raise image_size, or fit the anchors: see what would help."
    ),
    "lost-box": Kind("warning", "boxes whose anchors all went to others", "Raise image_size: they share their cells."),
}


def kind_of(name: str, level: str) -> Kind:
    """The kind called `name`; for one that is not listed, what its finder says of it."""
    known = KINDS.get(name)
    if known is not None:
        return known
    return Kind("error" if level == "error" else "warning", name.replace("-", " "), "Do what the message says.")
